"""The composed house: real SIP, ledger, tools, HTTP and engine dialect; only the media core is in memory."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from trunkline.config import Config, load_config
from trunkline.engines.realtime.simulator import Simulator
from trunkline.model import Clock, ConfigError, LocalError
from trunkline.runtime.checks import room_checks
from trunkline.runtime.clock import RealClock
from trunkline.runtime.compose import House, MediaHouse, open_house
from trunkline.runtime.serve import Phase, Signals, serve
from trunkline.telephony.legs.contract import LegAnswered, LegEnded, LegEvent
from trunkline.telephony.legs.sip import SipLegs, anyone
from trunkline.telephony.sip.aio import SipListen, SipStack
from trunkline.testing import Collector, FakeMediaFactory, wait_until
from trunkline.testing.wire import SocketMediaPort

DOCUMENT = """
version: 1
server:
  sip: {{port: 0}}
  http: {{port: 0}}
  data_dir: data
  limits: {{calls: 2, drain_s: 1}}
trunks:
  - {{name: pbx, sources: ["127.0.0.0/8"]}}
queues:
  support: {{target: "sip:human@127.0.0.1:9"}}
engines:
  sim: {{kind: realtime, url: "{url}", model: sim}}
connectors:
  erp:
    kind: sql
    settings:
      url: "sqlite:///erp.db"
      statements:
        find: {{sql: "SELECT status FROM orders WHERE number = :order_number", single: true}}
tools:
  order_status:
    connector: erp
    operation: find
    description: Look up an order.
    parameters: {{type: object, required: [order_number], properties: {{order_number: {{type: string}}}}}}
agents:
  orders: {{engine: sim, greeting: "Thank you for calling.", queues: [support], tools: [order_status]}}
routes:
  - {{name: main, dnis: "1000", agent: orders}}
"""


class Media:
    """Media ports in memory whose engine sockets are real."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ports: list[SocketMediaPort] = []

    async def open(self, name: str) -> SocketMediaPort:
        port = SocketMediaPort(self._clock, name=name)
        self.ports.append(port)
        return port


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(clock=RealClock()) as simulator:
        yield simulator


@pytest.fixture
def config(tmp_path: Path, simulator: Simulator) -> Config:
    with contextlib.closing(sqlite3.connect(tmp_path / "erp.db")) as erp:
        erp.execute("CREATE TABLE orders (number TEXT, status TEXT)")
    file = tmp_path / "trunkline.yaml"
    file.write_text(DOCUMENT.format(url=simulator.url))
    return load_config(file, checks=room_checks())


def media_house(media: Media) -> Any:
    @contextlib.asynccontextmanager
    async def opened(_: Config) -> AsyncIterator[MediaHouse]:
        yield MediaHouse(factory=media, problem=lambda: "", readings=lambda: iter(()))

    return opened


class Caller:
    """Someone with a SIP phone."""

    def __init__(self, clock: Clock) -> None:
        self.stack = SipStack(SipListen(port=0), clock=clock, entropy=os.urandom)
        self.legs = SipLegs(
            self.stack,
            media_factory=FakeMediaFactory(clock),
            trunks=anyone(),
            entropy=os.urandom,
            clock=clock,
        )
        self.stack.on_event = self.legs.handle

    async def __aenter__(self) -> Self:
        await self.stack.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.legs.close()
        await self.stack.close()

    async def dial(self, house: House, number: str = "1000") -> tuple[Any, Collector[LegEvent]]:
        heard: Collector[LegEvent] = Collector()
        leg = await self.legs.dial(f"sip:{number}@127.0.0.1:{house.sip.port}", caller="alice", listener=heard)
        return leg, heard


async def get(house: House, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{house.http_port}", trust_env=False) as client:
        return await client.get(path)


async def test_a_call_over_real_sip_through_the_whole_house(config: Config) -> None:
    clock = RealClock()
    media = Media(clock)
    async with (
        open_house(config, clock=clock, open_media=media_house(media)) as house,
        Caller(clock) as caller,
    ):
        leg, heard = await caller.dial(house)
        await heard.wait(LegAnswered)
        await wait_until(lambda: bool(media.ports and media.ports[0].playout.heard_log()), "speech")
        live = list(house.board.live())
        assert [(view.agent, view.trunk, view.dnis) for view in live] == [("orders", "pbx", "1000")]
        await leg.hangup()
        await wait_until(lambda: house.board.busy == 0, "the end of the call")
        listed = (await get(house, "/api/calls")).json()["calls"]
        assert [(call["from"], call["to"], call["outcome"]["reason"]) for call in listed] == [
            ("alice", "1000", "caller_hung_up")
        ]
        call = (await get(house, f"/api/calls/{listed[0]['id']}")).json()
        kinds = [entry["kind"] for entry in call["timeline"]]
        assert kinds[0] == "call_arrived"
        assert kinds[-1] == "call_ended"
        assert {"engine_ready", "answered", "connected", "greeting", "play_started", "leg_ended"} <= set(
            kinds
        )
        assert call["integrity"]["ok"]
        metrics = (await get(house, "/metrics")).text
        assert 'trunkline_calls_ended_total{reason="caller_hung_up",result="success"} 1.0' in metrics
        health = await get(house, "/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "ok")


async def test_a_number_without_a_route_and_a_call_too_many(config: Config) -> None:
    clock = RealClock()
    media = Media(clock)
    async with (
        open_house(config, clock=clock, open_media=media_house(media)) as house,
        Caller(clock) as caller,
    ):
        _, nowhere = await caller.dial(house, "2000")
        assert (await nowhere.wait(LegEnded)).status == 404
        for _ in range(2):
            _, heard = await caller.dial(house)
            await heard.wait(LegAnswered)
        _, refused = await caller.dial(house)
        assert (await refused.wait(LegEnded)).status == 503
        assert (await get(house, "/healthz")).status_code == 503


async def test_serve_drains_on_the_first_signal_and_ends_on_the_second(config: Config) -> None:
    clock = RealClock()
    signals, phases = Signals(), []
    houses: list[House] = []

    def announce(phase: Phase, house: House) -> None:
        phases.append(phase)
        houses.append(house)

    async with Caller(clock) as caller, asyncio.TaskGroup() as group:
        running = group.create_task(
            serve(
                config, clock=clock, open_media=media_house(Media(clock)), announce=announce, signals=signals
            )
        )
        await wait_until(lambda: phases == [Phase.LISTENING], "listening")
        _, heard = await caller.dial(houses[0])
        await heard.wait(LegAnswered)
        signals.received()
        await wait_until(lambda: Phase.DRAINING in phases, "draining")
        assert (await get(houses[0], "/healthz")).json()["status"] == "draining"
        _, refused = await caller.dial(houses[0])
        assert (await refused.wait(LegEnded)).status == 503
        signals.received()
        ended = await heard.wait(LegEnded)
        assert ended.by_peer
        await running
    assert phases == [Phase.LISTENING, Phase.DRAINING, Phase.ENDING, Phase.STOPPED]


async def test_a_drained_process_stops_by_itself(config: Config) -> None:
    clock, signals, phases = RealClock(), Signals(), []
    signals.received()
    await serve(
        config,
        clock=clock,
        open_media=media_house(Media(clock)),
        announce=lambda phase, _: phases.append(phase),
        signals=signals,
    )
    assert phases[-1] is Phase.STOPPED


async def test_a_busy_sip_port_is_one_sentence(config: Config, tmp_path: Path) -> None:
    clock = RealClock()
    async with Caller(clock) as caller:
        file = tmp_path / "busy.yaml"
        file.write_text(
            config.file.read_text().replace("sip: {port: 0}", f"sip: {{port: {caller.stack.port}}}")
        )
        busy = load_config(file)
        with pytest.raises(LocalError, match="SIP cannot listen on") as refused:
            async with open_house(busy, clock=clock, open_media=media_house(Media(clock))):
                pass
    assert not isinstance(refused.value, ConfigError)
    assert "server.sip.port" in refused.value.hint


async def test_two_processes_do_not_share_a_ledger(config: Config) -> None:
    clock = RealClock()
    async with open_house(config, clock=clock, open_media=media_house(Media(clock))):
        with pytest.raises(LocalError, match="in use by another process"):
            async with open_house(config, clock=clock, open_media=media_house(Media(clock))):
                pass


async def _one_call(config: Config) -> list[dict[str, Any]]:
    """Run a process for one call; what its API lists afterwards."""
    clock = RealClock()
    media = media_house(Media(clock))
    async with open_house(config, clock=clock, open_media=media) as house, Caller(clock) as caller:
        leg, heard = await caller.dial(house)
        await heard.wait(LegAnswered)
        await leg.hangup()
        await wait_until(lambda: house.board.busy == 0, "the end of the call")
        listed: list[dict[str, Any]] = (await get(house, "/api/calls")).json()["calls"]
        return listed


async def test_the_record_outlives_the_process(config: Config) -> None:
    assert len(await _one_call(config)) == 1
    assert len(await _one_call(config)) == 2
