import base64
import json
from typing import Any

import pytest

from trunkline.engines.realtime.simulator import Conversation, parse_script
from trunkline.engines.realtime.simulator.conversation import CloseSocket, SendText
from trunkline.engines.realtime.simulator.sound import babble, encode
from trunkline.model import Nanos, ms

START = Nanos(5_000_000_000)


class Client:
    def __init__(self, script: str = "turns: [{say: Hello there my friend.}]") -> None:
        self.server = Conversation(parse_script(script))
        self.now = START
        self.got: list[dict[str, Any]] = []
        self.closed: CloseSocket | None = None
        self.server.opened()
        self._read()

    def send(self, kind: str, **fields: Any) -> None:
        self.raw(json.dumps({"type": kind, "event_id": "me_1", **fields}))

    def raw(self, text: str) -> None:
        self.server.receive(text, self.now)
        self._read()

    def wait(self, span_ms: float = 60_000) -> None:
        end = Nanos(self.now + ms(span_ms))
        while (due := self.server.due()) is not None and due <= end:
            self.now = due
            self.server.tick(due)
            self._read()
        self.now = end

    def _read(self) -> None:
        while (output := self.server.poll()) is not None:
            match output:
                case SendText(text):
                    self.got.append(json.loads(text))
                case CloseSocket():
                    self.closed = output

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.got]

    def last(self, kind: str) -> dict[str, Any]:
        return [message for message in self.got if message["type"] == kind][-1]

    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.last("error")["error"]
        return error

    def update(self, **session: Any) -> None:
        self.send("session.update", session={"type": "realtime", **session})
        self.wait(0)

    def says(self, words: str = "where is my order", quiet_ms: int = 600) -> None:
        self.send(
            "input_audio_buffer.append", audio=base64.b64encode(encode(babble(words, 24_000), "pcm")).decode()
        )
        self.send("input_audio_buffer.append", audio=base64.b64encode(bytes(48 * quiet_ms)).decode())


def test_an_answer_has_the_shape_of_the_real_one() -> None:
    client = Client()
    client.send("response.create", response={"metadata": {"trunkline": "7"}})
    assert client.got[-1]["response"]["metadata"] == {"trunkline": "7"}
    client.wait()
    kinds = [kind for kind in client.kinds() if not kind.endswith("delta")]
    assert kinds == [
        "session.created",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    words = "".join(m["delta"] for m in client.got if m["type"] == "response.output_audio_transcript.delta")
    assert words == "Hello there my friend."
    done = client.last("response.done")["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hello there my friend."}]
    assert client.server.problems == []


def test_audio_comes_faster_than_real_time_and_after_its_delay() -> None:
    client = Client("{first_audio_ms: 400, pace: 5, turns: [{say: Hello there my dear friend.}]}")
    client.send("response.create")
    client.wait(399)
    assert "response.output_audio.delta" not in client.kinds()
    client.wait(1)
    assert "response.output_audio.delta" in client.kinds()
    span = len(babble("Hello there my dear friend.", 24_000)) / 24
    client.wait(span / 5 - 10)
    assert "response.done" not in client.kinds()
    client.wait(20)
    assert "response.done" in client.kinds()


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"voise": 1}, "unknown_parameter", "session.voise"),
        ({"audio": {"input": {"fromat": {}}}}, "unknown_parameter", "session.audio.input.fromat"),
        ({"audio": 5}, "invalid_type", "session.audio"),
        (
            {"audio": {"input": {"format": {"type": "g711_ulaw"}}}},
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.output.format.rate",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "energy"}}}},
            "invalid_value",
            "session.audio.input.turn_detection.type",
        ),
        ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
        ({"model": "another"}, "cannot_update_model", "session.model"),
    ],
)
def test_a_wrong_configuration_is_refused_as_the_real_server_does(
    session: dict[str, Any], code: str, param: str
) -> None:
    client = Client()
    client.update(**session)
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "me_1")
    assert "session.updated" not in client.kinds()


def test_a_configuration_needs_its_type() -> None:
    client = Client()
    client.send("session.update", session={"instructions": "x"})
    assert client.error()["code"] == "missing_required_parameter"
    client.send("session.update")
    assert client.error()["param"] == "session"


def test_the_voice_is_frozen_by_the_first_audio() -> None:
    client = Client()
    client.update(audio={"output": {"voice": "cedar"}})
    assert client.last("session.updated")["session"]["audio"]["output"]["voice"] == "cedar"
    client.send("response.create")
    client.wait()
    client.update(audio={"output": {"voice": "cedar"}})
    client.update(audio={"output": {"voice": "marin"}})
    assert client.error()["code"] == "cannot_update_voice"


def test_one_response_at_a_time() -> None:
    client = Client()
    client.send("response.create")
    client.send("response.create")
    assert client.error()["code"] == "conversation_already_has_active_response"
    assert client.kinds().count("response.created") == 1


def test_truncation_beyond_the_audio_is_refused() -> None:
    client = Client()
    client.send("response.create")
    client.wait()
    item = client.last("response.output_audio.done")["item_id"]
    total = int(len(babble("Hello there my friend.", 24_000)) / 24)
    client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=total + 2)
    assert client.error()["message"] == f"Audio content of {total}ms is already shorter than {total + 2}ms"
    client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=total - 5)
    assert client.last("conversation.item.truncated")["audio_end_ms"] == total - 5
    client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=total - 4)
    assert "already shorter" in client.error()["message"]
    client.send("conversation.item.truncate", item_id="nobody", content_index=0, audio_end_ms=1)
    client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms="1")
    assert client.kinds().count("error") == 4


def test_speech_makes_a_turn_and_an_answer() -> None:
    client = Client("turns: [{expect: speech, heard: 'Where is it?', say: Here.}]")
    client.update(audio={"input": {"transcription": {"model": "x"}}})
    client.says()
    client.wait()
    kinds = client.kinds()
    order = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "response.created",
        "conversation.item.input_audio_transcription.completed",
        "response.done",
    ]
    assert [kinds.index(kind) for kind in order] == sorted(kinds.index(kind) for kind in order)
    assert client.last(order[5])["transcript"] == "Where is it?"
    assert client.server.problems == []


def test_speech_cancels_the_answer_and_reports_calls_that_must_not_be_made() -> None:
    client = Client("turns: [{say: A long sentence that goes on, calls: [{name: x}]}, {say: Yes.}]")
    client.send("response.create")
    client.wait(400)
    client.says(quiet_ms=0)
    done = client.last("response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert done["output"][0]["status"] == "incomplete"
    assert "response.function_call_arguments.done" in client.kinds()
    count = len(client.got)
    client.wait()
    assert len(client.got) == count


def test_a_client_may_cancel() -> None:
    client = Client()
    client.send("response.cancel")
    assert client.error()["code"] == "response_cancel_not_active"
    client.send("response.create")
    client.send("response.cancel", response_id="resp_other")
    client.send("response.cancel")
    assert client.last("response.done")["response"]["status_details"]["reason"] == "client_cancelled"
    assert client.kinds().count("error") == 2


def test_tool_results_are_checked_and_used() -> None:
    client = Client(
        "turns: [{calls: [{name: find, arguments: {n: 1}}]}, {expect: tool, say: 'It is {status}, {who}.'}]"
    )
    client.send("response.create")
    client.wait()
    call = client.last("response.done")["response"]["output"][0]
    assert json.loads(call["arguments"]) == {"n": 1}

    def answer(call_id: str) -> None:
        item = {"type": "function_call_output", "call_id": call_id, "output": '{"status":"late"}'}
        client.send("conversation.item.create", item=item)

    answer("call_unknown")
    assert client.error()["code"] == "invalid_tool_call_id"
    answer(call["call_id"])
    answer(call["call_id"])
    assert client.kinds().count("error") == 2
    client.send("response.create")
    client.wait()
    assert client.last("response.output_audio_transcript.done")["transcript"] == "It is late, {who}."


def test_what_led_to_a_turn_is_checked() -> None:
    client = Client("turns: [{expect: speech, say: Hello.}]")
    client.send("response.create")
    assert client.server.problems == ["turn 1 expected speech, but request led to it"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"type":"nothing.known"}', '{"type":7}'])
def test_junk_is_refused_and_survived(text: str) -> None:
    client = Client()
    client.raw(text)
    assert client.error()["type"] == "invalid_request_error"
    client.send("response.create")
    assert client.kinds()[-1] == "response.created"


@pytest.mark.parametrize("audio", ["***", 7, "QQ"])
def test_audio_that_is_not_base64(audio: Any) -> None:
    client = Client()
    client.send("input_audio_buffer.append", audio=audio)
    assert ("error" in client.kinds()) == (audio != 7)


def test_faults() -> None:
    closing = Client("turns: [{say: Hello., fault: {close: 1011, reason: why}}]")
    closing.send("response.create")
    closing.wait()
    assert closing.closed == CloseSocket(1011, "why")
    count = len(closing.got)
    closing.send("response.create")
    assert len(closing.got) == count
    failing = Client("turns: [{say: Hello., fault: {fail: {code: rate_limit_exceeded}}}]")
    failing.send("response.create")
    failing.wait()
    done = failing.last("response.done")["response"]
    assert done["status_details"]["error"]["code"] == "rate_limit_exceeded"
    silent = Client("turns: [{say: Hello., fault: {silence: true}}, {say: Back.}]")
    silent.send("response.create")
    silent.wait()
    assert "response.done" not in silent.kinds()
    silent.send("response.cancel")
    assert silent.last("response.done")["response"]["status"] == "cancelled"


def test_items_of_the_client() -> None:
    client = Client()
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    client.send("conversation.item.create", item={**message, "id": "mine"})
    assert client.last("conversation.item.added")["item"]["id"] == "mine"
    client.send("conversation.item.create", item={**message, "id": "mine"})
    client.send("conversation.item.create", item={"type": "poem"})
    client.send("conversation.item.delete", item_id="mine")
    client.send("conversation.item.delete", item_id="mine")
    assert client.kinds().count("error") == 3
    assert "conversation.item.deleted" in client.kinds()


def test_manual_turns() -> None:
    client = Client()
    client.send("input_audio_buffer.commit")
    assert client.error()["code"] == "input_audio_buffer_commit_empty"
    client.update(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    client.says()
    client.wait()
    assert "response.created" not in client.kinds()
    client.send("input_audio_buffer.commit")
    client.send("input_audio_buffer.clear")
    assert client.kinds()[-1] == "input_audio_buffer.cleared"
