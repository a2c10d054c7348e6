"""Tools from configuration: checked, compiled, and who may use which."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trunkline.config import Config
from trunkline.config import Tool as ToolSettings
from trunkline.config.source import Document, Path_, combine
from trunkline.integration.connectors import Connector, Operation, OperationKind
from trunkline.integration.policy import ArgumentRules, Budget
from trunkline.integration.tools.spoken import Sentence, parse_sentence, unknown_places
from trunkline.model import ConfigError, ms


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, ready to be called."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema, as the engine is shown it."""
    connector: str
    operation: Operation
    rules: ArgumentRules
    """The tool's own schema and the operation's, together."""
    budget: Budget
    mask: str
    """Phrase that bridges a slow answer; empty: none."""
    spoken: Sentence
    not_found: Sentence
    unavailable: str


class Registry:
    """All tools, and which agent may use which. Does not change."""

    def __init__(self, tools: Mapping[str, Tool], agents: Mapping[str, tuple[str, ...]]) -> None:
        self._tools = dict(tools)
        self._agents = {agent: frozenset(names) for agent, names in agents.items()}
        self._order = {agent: tuple(self._tools[name] for name in names) for agent, names in agents.items()}

    def for_agent(self, agent: str) -> tuple[Tool, ...]:
        """The agent's tools in the order of its configuration; none for an agent nobody knows."""
        return self._order.get(agent, ())

    def permitted(self, agent: str, name: str) -> Tool | None:
        """The tool, if there is one of that name and the agent may use it."""
        return self._tools[name] if name in self._agents.get(agent, frozenset()) else None


def build_registry(config: Config, connectors: Mapping[str, Connector]) -> Registry:
    """Compile every tool. Raises one ``ConfigError`` with all mistakes. Tools of connectors that are not in
    ``connectors`` are skipped: that mistake was reported elsewhere."""
    mistakes: list[ConfigError] = []
    tools: dict[str, Tool] = {}
    for name, settings in config.root.tools.items():
        connector = connectors.get(settings.connector)
        if connector is None:
            continue
        operation = connector.operations().get(settings.operation)
        found = list(_mistakes(config.document, name, settings, connector, operation))
        mistakes.extend(found)
        if operation is not None and not found:
            tools[name] = _compile(name, settings, operation)
    if mistakes:
        raise combine(mistakes)
    agents = {
        name: tuple(tool for tool in agent.tools if tool in tools)
        for name, agent in config.root.agents.items()
    }
    return Registry(tools, agents)


def _compile(name: str, settings: ToolSettings, operation: Operation) -> Tool:
    return Tool(
        name=name,
        description=settings.description,
        parameters=settings.parameters,
        connector=settings.connector,
        operation=operation,
        rules=ArgumentRules({"allOf": [settings.parameters, operation.parameters]}),
        budget=Budget(mask=ms(settings.budget.mask_ms), hard=ms(settings.budget.hard_ms)),
        mask=settings.mask,
        spoken=parse_sentence(settings.spoken),
        not_found=parse_sentence(settings.not_found),
        unavailable=settings.unavailable,
    )


def _mistakes(
    document: Document, name: str, settings: ToolSettings, connector: Connector, operation: Operation | None
) -> Iterator[ConfigError]:
    here: Path_ = ("tools", name)
    if operation is None:
        known = ", ".join(sorted(connector.operations()))
        yield document.error(
            (*here, "operation"),
            f"{settings.connector} has no operation {settings.operation!r}",
            hint=f"it has: {known}",
        )
        return
    if operation.kind is OperationKind.STREAM:
        yield document.error((*here, "operation"), "a stream cannot be a tool")
    if problem := ArgumentRules.mistake(settings.parameters):
        yield document.error((*here, "parameters"), problem)
        return
    offered = settings.parameters.get("properties", {})
    for required in operation.parameters.get("required", ()):
        if required not in offered:
            yield document.error(
                (*here, "parameters"),
                f"the operation needs {required!r}",
                hint="add it to properties and to required",
            )
        elif required not in settings.parameters.get("required", ()):
            yield document.error((*here, "parameters"), f"{required!r} must be in required")
    arguments = {field: _kind(schema) for field, schema in offered.items()}
    record = {} if operation.mapping is None else dict(operation.mapping.kinds)
    fields = arguments | record
    loose = operation.mapping is None or not operation.single
    yield from _sentence(document, (*here, "spoken"), settings.spoken, fields, loose=loose)
    yield from _sentence(document, (*here, "not_found"), settings.not_found, arguments, loose=False)


def _sentence(
    document: Document, path: Path_, text: str, fields: Mapping[str, str], *, loose: bool
) -> Iterator[ConfigError]:
    """``loose``: the record's fields are not known now, only the template's form can be checked."""
    try:
        sentence = parse_sentence(text)
    except ValueError as bad:
        yield document.error(path, str(bad))
        return
    if not loose:
        for problem in unknown_places(sentence, fields):
            yield document.error(path, problem)


def _kind(schema: Any) -> str:
    kind = schema.get("type", "") if isinstance(schema, Mapping) else ""
    return kind if isinstance(kind, str) else ""
