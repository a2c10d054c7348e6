"""Checks that the rooms make of their own documents, composed for ``load_config``.

``trunkline check`` and ``trunkline serve`` use the same list, so that what was checked is what runs. A room is
imported only when the configuration uses it.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from trunkline.config import Agent, Check, Config, LocalEngine, RealtimeEngine, is_loopback
from trunkline.config.source import Document, Path_, load
from trunkline.integration.tools import check_tools
from trunkline.model import ConfigError


def room_checks() -> tuple[Check, ...]:
    """Every room's check, in the order their mistakes are reported."""
    return (check_engines, check_dialogues, check_tools)


def check_engines(config: Config) -> Iterator[ConfigError]:
    """Settings of every engine, by the engine's own model."""
    for name, engine in config.root.engines.items():
        path: Path_ = ("engines", name, "settings")
        yield from _settings(config.document, path, engine.settings, _settings_model(engine))


def _settings_model(engine: LocalEngine | RealtimeEngine) -> type[BaseModel]:
    match engine:
        case LocalEngine():
            from trunkline.engines.local import LocalSettings

            return LocalSettings
        case RealtimeEngine():
            from trunkline.engines.realtime import RealtimeSettings

            return RealtimeSettings


def _settings(
    document: Document, path: Path_, settings: dict[str, Any], model: type[BaseModel]
) -> Iterator[ConfigError]:
    try:
        model.model_validate(settings)
    except ValidationError as invalid:
        yield from document.explain(invalid, model, under=path)


def check_dialogues(config: Config) -> Iterator[ConfigError]:
    """Dialogue documents of the local engine, and that they use only what their agent has."""
    for name, agent in config.root.agents.items():
        if agent.dialogue is None:
            continue
        from trunkline.engines.local import check_dialogue

        file = config.path(agent.dialogue)
        try:
            source = load(file)
        except ConfigError as unreadable:
            if unreadable.line:
                yield unreadable
            else:
                yield config.document.error(
                    ("agents", name, "dialogue"), f"{agent.dialogue}: {unreadable.what}"
                )
            continue
        try:
            check_dialogue(source)
        except ConfigError as wrong:
            yield wrong
            continue
        yield from _references(source, name, agent)


def _references(source: Document, name: str, agent: Agent) -> Iterator[ConfigError]:
    """Tools and queues that the dialogue names but the agent does not have."""
    for intent, content in source.data.get("intents", {}).items():
        for index, step in enumerate(content.get("steps", [])):
            where: Path_ = ("intents", intent, "steps", index)
            if (tool := step.get("call")) is not None and tool not in agent.tools:
                hint = f"add it to agents.{name}.tools"
                yield source.error((*where, "call"), f"agent {name!r} has no tool {tool!r}", hint=hint)
            if step.get("hand_over"):
                queue = step["hand_over"].get("queue", "")
                yield from _queue(source, (*where, "hand_over", "queue"), queue, name, agent)
    person = source.data.get("person") or {}
    yield from _queue(source, ("person", "queue"), person.get("queue", ""), name, agent)


def _queue(source: Document, path: Path_, queue: str, name: str, agent: Agent) -> Iterator[ConfigError]:
    if queue and queue not in agent.queues:
        hint = f"add it to agents.{name}.queues"
        yield source.error(path, f"agent {name!r} has no queue {queue!r}", hint=hint)


def remarks(config: Config) -> Iterator[str]:
    """What is allowed but probably not meant."""
    root = config.root
    if not root.trunks:
        yield "there is no trunk: every call is refused, whoever it comes from"
    if not root.routes:
        yield "there is no route: every call is refused with 404"
    if not is_loopback(root.server.http.host):
        host = root.server.http.host
        yield f"the HTTP API on {host} has no authentication: only a proxy that has may reach it"
    used = {name for agent in root.agents.values() for name in (agent.engine, *agent.fallback)}
    routed = {route.agent for route in root.routes}
    for name in root.agents.keys() - routed:
        yield f"no route leads to agent {name!r}"
    for name in root.engines.keys() - used:
        yield f"no agent uses engine {name!r}"
    for name, agent in root.agents.items():
        if not agent.queues:
            yield f"agent {name!r} has no queue: when its engine fails, callers are told so and hung up"
