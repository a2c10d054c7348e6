"""Tools as the composition root opens them: connectors from configuration, registry, invoker, closed together."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from trunkline.config import Config
from trunkline.config.source import combine
from trunkline.integration.connectors import Connector, Context, Health, create_connector, kinds, settings_of
from trunkline.integration.policy import ArgumentRules, Attempt, Budget, Chain, DeadlinePassed
from trunkline.integration.tools.contract import ToolOutcome, ToolRequest
from trunkline.integration.tools.invoke import Invoker, OnSlow
from trunkline.integration.tools.registry import Registry, Tool, build_registry
from trunkline.model import Clock, ConfigError, Nanos, Overloaded, TraceId, seconds, to_ms
from trunkline.trust.ledger import Record

PROBE: Final = seconds(2)
"""How long a system may take to answer a probe."""
_NO_RULES: Final = ArgumentRules({})


class Tools:
    """All tools of one configuration. Made by ``open_tools``."""

    def __init__(
        self, registry: Registry, connectors: dict[str, Connector], *, clock: Clock, record: Record
    ) -> None:
        self._registry, self._connectors, self._clock = registry, connectors, clock
        self._probes = Chain(clock)
        self._invoker = Invoker(registry, connectors, clock=clock, record=record)

    def for_agent(self, agent: str) -> tuple[Tool, ...]:
        """The agent's tools, for its engine's brief."""
        return self._registry.for_agent(agent)

    async def invoke(self, request: ToolRequest, *, on_slow: OnSlow) -> ToolOutcome:
        """See ``Invoker.invoke``."""
        return await self._invoker.invoke(request, on_slow=on_slow)

    async def probe(self, *, within: Nanos = PROBE) -> dict[str, Health]:
        """Ask every connector whether its system works, all at the same time."""
        names = list(self._connectors)
        found = await asyncio.gather(*(self._probe(name, within) for name in names))
        return dict(zip(names, found, strict=True))

    async def _probe(self, name: str, within: Nanos) -> Health:
        deadline = Budget(mask=Nanos(0), hard=within).begin(self._clock.now())
        ctx = Context(deadline.hard_at, TraceId(f"probe-{name}"), self._clock)
        attempt = Attempt({}, _NO_RULES, deadline, on_slow=lambda: None)
        try:
            return await self._probes.run(attempt, lambda _: self._connectors[name].probe(ctx))
        except DeadlinePassed:
            return Health(False, f"no answer within {to_ms(within):.0f} ms")
        except Overloaded as busy:
            return Health(False, str(busy))

    async def close(self) -> None:
        """Close the connectors, then wait for what they still run."""
        await _close(self._connectors)
        await self._invoker.close()
        await self._probes.close()


@asynccontextmanager
async def open_tools(config: Config, *, clock: Clock, record: Record) -> AsyncIterator[Tools]:
    """Connectors and tools of ``config``. Raises one ``ConfigError`` with every mistake."""
    connectors, mistakes = _connectors(config)
    try:
        if mistakes:
            raise combine(mistakes)
        tools = Tools(build_registry(config, connectors), connectors, clock=clock, record=record)
    except BaseException:
        await _close(connectors)
        raise
    try:
        yield tools
    finally:
        await tools.close()


def check_tools(config: Config) -> Iterable[ConfigError]:
    """Every mistake in the sections ``connectors`` and ``tools``. Opens no connection that stays."""
    connectors, mistakes = _connectors(config)
    yield from mistakes
    try:
        build_registry(config, connectors)
    except ConfigError as bad:
        yield bad


def _connectors(config: Config) -> tuple[dict[str, Connector], list[ConfigError]]:
    made: dict[str, Connector] = {}
    mistakes: list[ConfigError] = []
    for name, connector in config.root.connectors.items():
        if connector.kind not in kinds():
            known = ", ".join(kinds())
            what = f"there is no connector of kind {connector.kind!r}"
            mistakes.append(
                config.document.error(("connectors", name, "kind"), what, hint=f"installed: {known}")
            )
            continue
        settings = settings_of(config.document, ("connectors", name, "settings"))
        try:
            made[name] = create_connector(connector.kind, settings)
        except ConfigError as bad:
            mistakes.append(bad)
    return made, mistakes


async def _close(connectors: dict[str, Connector]) -> None:
    for connector in connectors.values():
        await connector.close()
