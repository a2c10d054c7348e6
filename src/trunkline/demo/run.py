"""The demonstration from start to verdict.

Prepares a folder, starts a person's phone and a server, has a scripted caller phone in, gathers what the phones and
the ledger have, judges it, shows it and writes ``report.json``. Everything it starts is stopped, whatever happens.
"""

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console

from trunkline.demo.actors import Actor, Event, acting
from trunkline.demo.checks import METRICS, Check, judge, metrics
from trunkline.demo.evidence import NOTHING, Evidence, Expected, Heard, Stereo
from trunkline.demo.legacy import ORDER, build_legacy
from trunkline.demo.server import CallView, ServerView
from trunkline.demo.show import Stage, how_to_phone, phone_line, results, timeline_line, verdict
from trunkline.demo.waterfall import Entry
from trunkline.model import MS, SECOND, Clock, LocalError, Nanos
from trunkline.operations.phone.audio import read_wav
from trunkline.operations.phone.report import CallReport, PhoneReport
from trunkline.operations.phone.script import load_script

ORDER_STATUS: Final = "shipped"
GREETING: Final = "Support desk. How can I help you?"
START_WITHIN_S: Final = 40.0
CALL_WITHIN_S: Final = 90.0
OWN: Final = ("config", "caller.wav", "caller-both.wav", "person.wav", "person-both.wav", "report.json")
"""What an earlier demonstration left in its folder and this one replaces."""


async def run_demo(folder: Path, console: Console, clock: Clock, *, keep: bool) -> int:
    """Run it; returns the exit code: 0 only when every check holds.

    Raises ``LocalError`` when something could not even be started.
    """
    show = Play(folder, console, clock)
    with Stage(console) as stage:
        show.stage = stage
        show.prepare()
        async with contextlib.AsyncExitStack() as stack:
            try:
                evidence = await show.play(stack)
            except LocalError as failed:
                show.write_report([Check("played", ok=False, detail=str(failed))], dict.fromkeys(METRICS))
                raise
            checks = judge(evidence)
            figures = metrics(evidence)
            show.write_report(checks, figures)
            stage.rest()
            results(
                console,
                timeline=evidence.timeline,
                checks=checks,
                figures=figures,
                files=show.files(evidence),
            )
            verdict(console, checks)
            if keep:
                await show.keep(stack)
    return 0 if all(check.ok for check in checks) else 1


class Play:
    """One performance."""

    def __init__(self, folder: Path, console: Console, clock: Clock) -> None:
        self.stage = Stage(console)
        self._folder = folder.resolve()
        self._config = self._folder / "config"
        self._console = console
        self._clock = clock
        self._address: dict[str, str] = {}
        self._mask_budget_ms = 0
        self._answered_at: int | None = None

    # --- before ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """An empty folder with the documents and the legacy database."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name in OWN:
                path = self._folder / name
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            for log in self._folder.glob("*.log"):
                log.unlink()
            with as_file(files("trunkline.demo") / "data") as data:
                shutil.copytree(data, self._config)
        except OSError as failed:
            raise LocalError(f"{self._folder} cannot be prepared: {failed}") from failed
        build_legacy(self._config / "legacy.db")

    def _fill_in(self, person: str) -> Path:
        """The configuration with the address of the person's phone."""
        path = self._config / "demo.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        document["queues"]["support"]["target"] = f"sip:human@{person}"
        self._mask_budget_ms = int(document["tools"]["order_status"]["budget"]["mask_ms"])
        filled = self._config / "running.yaml"
        filled.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return filled

    # --- the call -------------------------------------------------------------------------------------

    async def play(self, stack: contextlib.AsyncExitStack) -> Evidence:
        """The whole call; the server stays up until ``stack`` ends."""
        self.stage.under_way("starting the person's phone and the server")
        self._address["person"] = f"127.0.0.1:{_free_port()}"
        person = await stack.enter_async_context(acting(self._person(once=True)))
        server = await stack.enter_async_context(acting(self._server()))
        await person.event("listening", self._clock, within_s=START_WITHIN_S)
        self.stage.line("person", f"waits at sip:human@{self._address['person']}")
        api = await self._server_ready(server, stack)
        caller, code, call = await self._call(api)
        self.stage.under_way("waiting for the person's phone and the record")
        await person.leave(self._clock, within_s=5)
        call = await self._closed(api, call)
        healthy, open_calls = await api.healthy()
        report = CallReport.from_json(caller.report())
        phones = PhoneReport.from_json(person.report())
        return self.evidence(report, code, phones, call, healthy=healthy, open_calls=open_calls)

    def _server(self) -> Actor:
        arguments = ("serve", "--config", str(self._fill_in(self._address["person"])), "--json")
        return Actor("server", arguments, folder=self._folder, server=True, on_event=self._on_event)

    async def _server_ready(self, server: Actor, stack: contextlib.AsyncExitStack) -> ServerView:
        listening = await server.event("listening", self._clock, within_s=START_WITHIN_S)
        self._address["sip"] = listening["sip"][0].split(":", 1)[1]
        self._address["http"] = listening["http"]
        self.stage.line("server", f"takes calls at sip:1000@{self._address['sip']}")
        api = await stack.enter_async_context(ServerView(self._address["http"], log=server.log))
        await api.well(self._clock, within_s=START_WITHIN_S)
        return api

    async def _call(self, api: ServerView) -> tuple[Actor, int, CallView | None]:
        self.stage.under_way("starting the caller's phone")
        arguments = (
            "call",
            f"sip:1000@{self._address['sip']}",
            *("--script", str(self._config / "caller.yaml")),
            *("--save", str(self._folder / "caller.wav")),
            *("--from", "5550117", "--events", "-", "--json"),
        )
        caller = Actor("caller", arguments, folder=self._folder, server=False, on_event=self._on_event)
        async with acting(caller):
            await caller.event("dials", self._clock, within_s=START_WITHIN_S)
            watching = asyncio.get_running_loop().create_task(self._watch(api), name="watch the timeline")
            try:
                code = await caller.ended(self._clock, within_s=CALL_WITHIN_S)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        return caller, code, await api.newest_call()

    async def _watch(self, api: ServerView) -> None:
        """Show the timeline while it grows."""
        shown = 0
        items: set[str] = set()
        while True:
            try:
                call = await api.newest_call()
            except LocalError as failed:
                self.stage.line("server", str(failed))
                return
            if call is not None:
                for entry in call.timeline[shown:]:
                    self._show(entry, items, call.timeline)
                shown = len(call.timeline)
            await self._clock.sleep_until(Nanos(self._clock.now() + 250 * MS))

    def _show(self, entry: Entry, items: set[str], timeline: Sequence[Entry]) -> None:
        line = timeline_line(entry)
        if line is None:
            return
        who, text = line
        item = str(entry.data.get("item", "")) if entry.kind == "transcript" else ""
        if item in items:
            text = f"was heard until {text}"
        elif item:
            items.add(item)
        answered = next((one.at for one in timeline if one.kind == "answered"), None)
        at = (
            None if answered is None or self._answered_at is None else self._answered_at - answered + entry.at
        )
        self.stage.line(who, text, at)

    async def _closed(self, api: ServerView, call: CallView | None) -> CallView:
        """The call once its record is closed, or as it is when that takes too long: the checks will say so."""
        deadline = self._clock.now() + 10 * SECOND
        while (call is None or not call.over) and self._clock.now() < deadline:
            await self._clock.sleep_until(Nanos(self._clock.now() + 100 * MS))
            call = await api.newest_call()
        return call or CallView("", over=False, timeline=(), recordings=())

    def _person(self, *, once: bool) -> Actor:
        arguments = [
            "phone",
            "--listen",
            self._address["person"],
            "--say",
            GREETING,
            "--events",
            "-",
            "--json",
        ]
        if once:
            arguments += ["--once", "--save", str(self._folder / "person.wav")]
        return Actor("person", arguments, folder=self._folder, server=False, on_event=self._on_event)

    def _on_event(self, actor: str, event: Event) -> None:
        if event["event"] == "dials":
            self.stage.call_begins(event["at"])
        if event["event"] == "answered" and actor == "caller" and self._answered_at is None:
            self._answered_at = event["at"]
        if event["event"] == "step":
            self.stage.under_way(
                f"the caller's script, line {event['line']}: {event['name'].replace('_', ' ')}"
            )
        line = phone_line(event) if actor != "server" else None
        if line is not None:
            self.stage.line(actor, line, event.get("at"))

    # --- after ----------------------------------------------------------------------------------------

    def evidence(
        self,
        caller: CallReport,
        code: int,
        person: PhoneReport,
        call: CallView,
        *,
        healthy: bool,
        open_calls: int,
    ) -> Evidence:
        """What the reports, the recordings and the timeline say, laid on one clock."""
        answered = next((entry for entry in call.timeline if entry.kind == "answered"), None)
        heard_answer = caller.legs[0].answered_at if caller.legs else None
        started = (heard_answer or 0) - (answered.at if answered is not None else 0)
        served = person.calls[0] if person.calls else None
        caller_heard, caller_said = _recorded(caller)
        person_heard, person_said = _recorded(served)
        return Evidence(
            expected=self._expected(),
            caller=caller,
            caller_exit=code,
            caller_heard=caller_heard,
            caller_said=caller_said,
            person=served,
            person_heard=person_heard,
            person_said=person_said,
            timeline=call.timeline,
            call_started_at=started,
            server_rtp=frozenset(
                f"{entry.data['host']}:{entry.data['port']}"
                for entry in call.timeline
                if entry.kind in {"media_opened", "media_reanchored"}
            ),
            recording=self._recording(call.timeline),
            healthy=healthy,
            open_calls=open_calls,
        )

    def _expected(self) -> Expected:
        lines = _script_lines(self._config / "caller.yaml")
        return Expected(
            order_number=ORDER,
            order_status=ORDER_STATUS,
            mask_budget_ms=self._mask_budget_ms,
            interrupt_line=lines["interrupt"][0],
            hello_line=lines["say"][-1],
        )

    def _recording(self, timeline: Sequence[Entry]) -> Stereo | None:
        started = next((entry for entry in timeline if entry.kind == "recording_started"), None)
        if started is None:
            return None
        try:
            samples, _ = read_wav(self._recording_file(started))
        except LocalError:
            return None
        if samples.ndim != 2:
            return None
        return Stereo(started.at, samples[:, 0], samples[:, 1])

    def _recording_file(self, started: Entry) -> Path:
        return self._config / "data" / str(started.data["path"])

    def files(self, evidence: Evidence) -> Mapping[str, Path]:
        """Where everything lies, relative to the working directory where that is shorter."""
        found = {
            "report": self._folder / "report.json",
            "the caller heard": self._folder / "caller.wav",
            "both sides, at the caller": self._folder / "caller-both.wav",
            "the person heard": self._folder / "person.wav",
            "both sides, at the person": self._folder / "person-both.wav",
        }
        for entry in evidence.entries("recording_started"):
            found["the server's recording"] = self._recording_file(entry)
        found |= {
            "the server's log": self._folder / "server.log",
            "configuration": self._config / "running.yaml",
        }
        return {name: _short(path) for name, path in found.items() if path.exists()}

    def write_report(self, checks: Sequence[Check], figures: Mapping[str, Any]) -> None:
        """``report.json``: ok, checks, metrics."""
        report = {
            "ok": all(check.ok for check in checks),
            "checks": [check.to_json() for check in checks],
            "metrics": dict(figures),
        }
        path = self._folder / "report.json"
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    async def keep(self, stack: contextlib.AsyncExitStack) -> None:
        """Leave the server and the person's phone running until somebody presses Ctrl-C."""
        await stack.enter_async_context(acting(self._person(once=False)))
        how_to_phone(
            self._console,
            sip=self._address["sip"],
            http=self._address["http"],
            person=f"sip:human@{self._address['person']}",
        )
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()


def _free_port() -> int:
    """A port that is free for UDP and TCP now: the person's address stands in the server's configuration before
    either is started, so that both can start at the same time."""
    for _ in range(100):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise LocalError("no port is free on 127.0.0.1")


def _recorded(call: CallReport | None) -> tuple[Heard, Heard]:
    """What a phone heard and said."""
    if call is None or call.recording is None:
        return NOTHING, NOTHING
    samples, _ = read_wav(Path(call.recording.both))
    if samples.ndim != 2:
        return NOTHING, NOTHING
    started = call.recording.started_at
    return Heard(started, samples[:, 0]), Heard(started, samples[:, 1])


def _script_lines(path: Path) -> dict[str, list[int]]:
    """Line numbers of the script's steps, by name."""
    found: dict[str, list[int]] = {}
    for line in load_script(path).lines:
        found.setdefault(line.name, []).append(line.number)
    return found


def _short(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
