"""Driving the Realtime dialect message by message: server events of the recorded shape, and where outputs went.

For races and refusals that no running server produces on demand; the simulator is the tool for whole conversations.
"""

import json
from collections.abc import Mapping
from typing import Any

from trunkline.engines.contract import Brief, EngineCommand, EngineEvent, ToolSpec
from trunkline.engines.dialect import Fail, Report, Send
from trunkline.engines.realtime.dialect import RealtimeDialect
from trunkline.engines.realtime.settings import RealtimeSettings
from trunkline.model import Nanos, ms

BRIEF = Brief(
    agent="orders",
    instructions="You answer the phone for Acme.",
    greeting="Thank you for calling Acme.",
    voice="marin",
    tools=(ToolSpec("order_status", "Look up an order.", {"type": "object", "properties": {}}),),
    context={"ani": "5550001"},
    queues=("support",),
)


class RealtimeDriver:
    """A dialect with a clock; outputs are sorted into ``sent``, ``events`` and ``failed`` after every step."""

    def __init__(
        self, settings: RealtimeSettings | None = None, brief: Brief = BRIEF, *, ready: bool = True
    ) -> None:
        self.dialect = RealtimeDialect(settings or RealtimeSettings())
        self.now = Nanos(1_000_000_000)
        self.sent: list[dict[str, Any]] = []
        self.events: list[EngineEvent] = []
        self.failed: Fail | None = None
        self.dialect.opened(brief, self.now)
        self.drain()
        if ready:
            self.server("session.created", session={"id": "sess_1"})
            self.server("session.updated", session={"id": "sess_1"})
            self.sent.clear()
            self.events.clear()

    def server(self, kind: str, **fields: Any) -> None:
        self.raw(json.dumps({"type": kind, "event_id": "event_1", **fields}))

    def raw(self, text: str) -> None:
        self.dialect.receive(text, self.now)
        self.drain()

    def command(self, command: EngineCommand) -> None:
        self.dialect.command(command, self.now)
        self.drain()

    def wait(self, span_ms: float) -> None:
        """Let time pass, calling ``tick`` whenever the dialect wants it."""
        end = self.now + ms(span_ms)
        while (due := self.dialect.due()) is not None and due <= end:
            self.now = Nanos(max(self.now, due))
            self.dialect.tick(self.now)
            self.drain()
        self.now = Nanos(end)

    def drain(self) -> None:
        while (output := self.dialect.poll()) is not None:
            match output:
                case Send(text):
                    self.sent.append(json.loads(text))
                case Report(event):
                    self.events.append(event)
                case Fail():
                    self.failed = output

    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def last(self, kind: str) -> dict[str, Any]:
        return [message for message in self.sent if message["type"] == kind][-1]

    # --- whole exchanges ---------------------------------------------------------------------------------

    def created(self, response: str, *, ours: bool = False, tags: bool = True) -> None:
        """A response begins, by itself or as the answer to our last request; some servers return no ``tags``."""
        body: dict[str, Any] = {"id": response, "status": "in_progress"}
        if tags:
            body["metadata"] = self.last("response.create")["response"]["metadata"] if ours else None
        self.server("response.created", response=body)

    def speaks(self, response: str, item: str, words: str = "Hello there.") -> None:
        where = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        entry = {"id": item, "type": "message", "role": "assistant"}
        self.server("response.output_item.added", response_id=response, output_index=0, item=entry)
        self.server("response.content_part.added", **where, part={"type": "audio", "transcript": ""})
        self.server("response.output_audio_transcript.delta", **where, delta=words)

    def falls_silent(self, response: str, item: str, words: str = "Hello there.") -> None:
        where = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        self.server("response.output_audio.done", **where)
        self.server("response.output_audio_transcript.done", **where, transcript=words)

    def done(
        self,
        response: str,
        status: str = "completed",
        *,
        calls: tuple[Mapping[str, str], ...] = (),
        **more: Any,
    ) -> None:
        output = [
            {"type": "function_call", "id": f"item_{c['call_id']}", "status": "completed", **c} for c in calls
        ]
        body = {"id": response, "status": status, "output": output, **more}
        self.server("response.done", response=body)

    def answers(self, response: str, item: str) -> None:
        self.created(response)
        self.speaks(response, item)
        self.falls_silent(response, item)
        self.done(response)

    def confirms_items(self) -> None:
        for message in self.sent:
            if message["type"] == "conversation.item.create":
                self.server("conversation.item.added", previous_item_id=None, item=message["item"])

    def refuses(self, kind: str, code: str, message: str = "refused") -> None:
        about = self.last(kind)["event_id"]
        self.server(
            "error",
            error={"type": "invalid_request_error", "code": code, "message": message, "event_id": about},
        )


def call(
    call_id: str = "call_1", name: str = "order_status", arguments: str = '{"order_number":"4711"}'
) -> dict[str, str]:
    return {"call_id": call_id, "name": name, "arguments": arguments}
