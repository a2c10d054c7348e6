"""The composition root: from a checked ``Config`` to a house with everything in it, opened in order and closed
in reverse.

Owns which object is given to which. Refuses to hold state of its own, and to import a room that the
configuration does not use (so that a missing speech library matters only to those who want speech).
"""

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Final

from trunkline.calls import Admission, Desk, Engine, Switchboard
from trunkline.config import Config, Environ, is_loopback
from trunkline.config import Trunk as TrunkSettings
from trunkline.config.source import load
from trunkline.engines.contract import Brief, ToolSpec
from trunkline.integration.tools import Tools, open_tools
from trunkline.model import CallId, Clock, ConfigError, LocalError, seconds
from trunkline.model.ids import make_id
from trunkline.operations.metrics import CONTENT_TYPE, Metrics, Reading
from trunkline.runtime.engines import Engines, open_engines
from trunkline.telephony.legs.sip import DtmfMode, SipLegs, Strangers, Trunk, TrunkTable
from trunkline.telephony.media import Codec, MediaConfig, MediaEngine, MediaFactory
from trunkline.telephony.sip.aio import SipListen, SipStack
from trunkline.telephony.sip.proto import Health as SipHealth
from trunkline.trust.ledger import Ledger
from trunkline.web.api import Health, Part, Sources
from trunkline.web.api import build as build_api
from trunkline.web.api import serve as serve_api

log = logging.getLogger(__name__)

LEDGER: Final = "ledger.sqlite"

OpenMedia = Callable[[Config], AbstractAsyncContextManager["MediaHouse"]]


@dataclass(frozen=True, slots=True)
class MediaHouse:
    """The media core of a process: where ports are opened, whether it works, and its counters."""

    factory: MediaFactory
    problem: Callable[[], str]
    """Why no call can be carried, or empty."""
    readings: Callable[[], Iterator[Reading]]


@dataclass(frozen=True, slots=True)
class House:
    """A running Trunkline."""

    config: Config
    board: Switchboard
    ledger: Ledger
    metrics: Metrics
    sip: SipStack
    legs: SipLegs
    http_port: int
    health: Callable[[], Health]


@asynccontextmanager
async def open_house(
    config: Config,
    *,
    clock: Clock,
    open_media: OpenMedia,
    environ: Mapping[str, str] | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
    log_dropped: Callable[[], int] = lambda: 0,
) -> AsyncIterator[House]:
    """Open everything; calls are taken from the moment it yields. On leaving, calls are ended first, sockets and
    the ledger last. Raises ``TrunklineError`` in one sentence when something cannot be opened."""
    secrets = Environ(dict(environ if environ is not None else os.environ))
    server = config.root.server
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(Ledger.open(config.data_dir / LEDGER, clock))
        tools = await stack.enter_async_context(open_tools(config, clock=clock, record=ledger.append))
        engines = await stack.enter_async_context(open_engines(config, secrets))
        media = await stack.enter_async_context(open_media(config))
        metrics = Metrics()
        desk = _desk(config, clock, ledger, tools, engines, metrics, entropy)
        admission = Admission(limit=server.limits.calls, retry_after_s=server.limits.retry_after_s)
        trunks = trunk_table(config)

        def health() -> Health:
            return _health(ledger, media, sip, admission)

        sip = SipStack(
            SipListen(
                host=server.sip.host,
                port=server.sip.port,
                transports=tuple(transport.value for transport in server.sip.transports),
                advertise=server.sip.advertised_host or "",
            ),
            clock=clock,
            entropy=entropy,
            screen=trunks.screen,
            health=lambda: _sip_health(health(), server.limits.retry_after_s),
        )
        legs = SipLegs(sip, media_factory=media.factory, trunks=trunks, entropy=entropy, clock=clock)
        sip.on_event = legs.handle
        sources = Sources(health=health, metrics=metrics.render, metrics_type=CONTENT_TYPE, calls=ledger)
        metrics.add_source(lambda: _readings(ledger, media, sip, admission, log_dropped))
        http_port = await stack.enter_async_context(
            serve_api(build_api(sources, hosts=_hosts(config)), host=server.http.host, port=server.http.port)
        )
        await _start_sip(sip)
        stack.push_async_callback(sip.close)
        stack.push_async_callback(legs.close)
        board = await stack.enter_async_context(Switchboard(desk, admission))
        legs.set_handler(board.accept)
        yield House(
            config=config,
            board=board,
            ledger=ledger,
            metrics=metrics,
            sip=sip,
            legs=legs,
            http_port=http_port,
            health=health,
        )


@asynccontextmanager
async def native_media(config: Config) -> AsyncIterator[MediaHouse]:
    """The Rust media core. Raises ``Missing`` when it is not built."""
    settings = config.root.server.media
    media = MediaConfig(
        host=settings.host,
        port_low=settings.ports.first,
        port_high=settings.ports.last,
        threads=settings.threads,
        advertised_host=settings.advertised_host or "",
    )
    async with MediaEngine(media) as engine:
        yield MediaHouse(
            factory=engine, problem=lambda: _no_ports(engine), readings=lambda: _media_readings(engine)
        )


def _no_ports(engine: MediaEngine) -> str:
    return "" if engine.totals().free_ports else "every media port is in use"


def _media_readings(engine: MediaEngine) -> Iterator[Reading]:
    totals = asdict(engine.totals())
    yield Reading("trunkline_media_sessions", totals.pop("calls"))
    yield Reading("trunkline_media_free_ports", totals.pop("free_ports"))
    yield Reading("trunkline_media_tick_lag_seconds", totals.pop("worst_lag_us") / 1e6)
    for counter, count in totals.items():
        yield Reading("trunkline_media_total", count, (counter,))


async def _start_sip(sip: SipStack) -> None:
    try:
        await sip.start()
    except ConfigError as busy:
        # The document is right; what it asks for is taken. That is not a mistake in a file.
        raise LocalError(busy.what, hint=busy.hint) from busy


def _desk(
    config: Config,
    clock: Clock,
    ledger: Ledger,
    tools: Tools,
    engines: Engines,
    metrics: Metrics,
    entropy: Callable[[int], bytes],
) -> Desk:
    root = config.root
    timeouts = {name: seconds(engine.ready_timeout_s) for name, engine in root.engines.items()}
    return Desk(
        clock=clock,
        ledger=ledger,
        tools=tools,
        voice=engines.voice,
        meter=metrics,
        engines={
            name: Engine(root.engines[name].kind, make, timeouts[name])
            for name, make in engines.factories.items()
        },
        agents=root.agents,
        briefs={name: brief(config, name, tools) for name in root.agents},
        queues=root.queues,
        routes=root.routes,
        data_dir=config.data_dir,
        config_hash=config.sha256,
        new_id=lambda: CallId(make_id("call", entropy(8))),
        problem=lambda: (
            "" if (record := ledger.health).healthy else record.reason or "the ledger is not healthy"
        ),
    )


def brief(config: Config, name: str, tools: Tools) -> Brief:
    """What an engine is told about the agent ``name``; a call adds its own context."""
    agent = config.root.agents[name]
    dialogue = load(config.path(agent.dialogue)).data if agent.dialogue is not None else {}
    return Brief(
        agent=name,
        instructions=agent.instructions,
        greeting=agent.greeting,
        voice=agent.voice,
        language=agent.language,
        tools=tuple(ToolSpec(tool.name, tool.description, tool.parameters) for tool in tools.for_agent(name)),
        dialogue=dialogue,
        queues=agent.queues,
    )


def trunk_table(config: Config) -> TrunkTable:
    """Who may call."""
    return TrunkTable(
        tuple(_trunk(trunk) for trunk in config.root.trunks),
        strangers=Strangers(config.root.server.sip.strangers.value),
    )


def _trunk(trunk: TrunkSettings) -> Trunk:
    return Trunk(
        name=trunk.name,
        networks=trunk.sources,
        codecs=tuple(Codec(codec.value) for codec in trunk.codecs),
        dtmf=DtmfMode(trunk.dtmf.value),
        trusted=trunk.trusted,
        nat=trunk.nat,
    )


def _hosts(config: Config) -> frozenset[str] | None:
    host = config.root.server.http.host
    return frozenset({host, "localhost", "127.0.0.1", "::1"}) if is_loopback(host) else None


def _health(ledger: Ledger, media: MediaHouse, sip: SipStack, admission: Admission) -> Health:
    record = ledger.health
    problem = media.problem()
    return Health(
        parts={
            "ledger": Part(ok=record.healthy, detail=record.reason),
            "media": Part(ok=not problem, detail=problem),
            "sip": Part(ok=sip.listening, detail=f"{sip.host}:{sip.port}"),
            "calls": Part(
                ok=admission.active < admission.limit, detail=f"{admission.active}/{admission.limit}"
            ),
        },
        draining=admission.draining,
        calls=admission.active,
    )


def _sip_health(health: Health, retry_after: int) -> SipHealth:
    if health.ok:
        return SipHealth(ok=True)
    failing = [name for name, part in health.parts.items() if not part.ok]
    return SipHealth(
        ok=False, reason="draining" if health.draining else " ".join(failing), retry_after=retry_after
    )


def _readings(
    ledger: Ledger,
    media: MediaHouse,
    sip: SipStack,
    admission: Admission,
    log_dropped: Callable[[], int],
) -> Iterator[Reading]:
    record = ledger.health
    yield Reading("trunkline_calls_active", admission.active)
    yield Reading("trunkline_calls_limit", admission.limit)
    yield Reading("trunkline_calls_refused_total", admission.refused)
    yield Reading("trunkline_draining", float(admission.draining))
    yield Reading("trunkline_ledger_queued", record.queued)
    yield Reading("trunkline_ledger_healthy", float(record.healthy))
    yield Reading("trunkline_ledger_written_total", record.written)
    yield Reading("trunkline_ledger_failures_total", record.failures)
    for kind, count in record.dropped.items():
        yield Reading("trunkline_ledger_dropped_total", count, (kind,))
    for counter, count in sip.counters.items():
        yield Reading("trunkline_sip_total", count, (counter,))
    yield Reading("trunkline_log_dropped_total", log_dropped())
    yield from media.readings()
