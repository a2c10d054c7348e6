"""A compiled mapping: applying it, what it reports, where each field came from."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from trunkline.model import ConfigError, RemoteError

MAX_SHOWN: Final = 40
"""Characters of a bad value that an issue shows."""


class BadValue(Exception):  # noqa: N818 - a rule's finding, turned into an Issue by its field
    """A value does not fit its rule; the text says why, without the value."""


class OnError(StrEnum):
    """What becomes of a field whose value does not fit."""

    EMPTY = "empty"
    DEFAULT = "default"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Issue:
    """A value that did not fit. ``value`` may be personal data: keep it out of logs."""

    record: str
    field: str
    rule: str
    problem: str
    value: str = dataclasses.field(repr=False)
    action: OnError

    def __str__(self) -> str:
        return f"{self.record}.{self.field} ({self.rule}): {self.problem}"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a field's value comes from. The same for every record of a mapping."""

    sources: tuple[str, ...]
    rule: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """A record in our words: plain values (text, int, Decimal, bool, None), nested as the document says."""

    record: dict[str, Any] = dataclasses.field(repr=False)
    issues: tuple[Issue, ...] = ()


class RecordRejected(RemoteError):  # noqa: N818 - reads as what it says
    """The system sent a record that the mapping does not accept. ``issues`` has everything found."""

    def __init__(self, issues: tuple[Issue, ...]) -> None:
        super().__init__("; ".join(str(issue) for issue in issues if issue.action is OnError.REJECT))
        self.issues = issues


Source = Mapping[str, Any]
Compute = Callable[[Source], Any]
"""A field's value from the source record; ``None``: it has none. Raises ``BadValue``."""


@dataclass(frozen=True, slots=True)
class CompiledField:
    """One output field, ready to run."""

    name: str
    path: tuple[str, ...]
    compute: Compute
    lineage: Lineage
    required: bool
    default: Any
    on_error: OnError
    condition: Callable[[Source], bool] | None
    kind: str
    """``text``, ``integer``, ``decimal``, ``date``, ``boolean`` or ``constant``: what it holds when not null."""


class RecordMapping:
    """One record of a mapping document. Stateless; safe to share."""

    def __init__(self, name: str, version: str, fields: tuple[CompiledField, ...]) -> None:
        self.name = name
        self.version = version
        """Hash of the document the mapping was compiled from."""
        self._fields = fields
        self.lineage: Mapping[str, Lineage] = {f.name: f.lineage for f in fields}
        self.sources = frozenset(source for f in fields for source in f.lineage.sources)
        """Every source field it reads."""
        self.kinds: Mapping[str, str] = {f.name: f.kind for f in fields}
        """What each output field holds."""

    def __repr__(self) -> str:
        return f"<mapping {self.name}@{self.version[:12]}>"

    def apply(self, source: Source) -> Mapped:
        """Map one record. Raises ``RecordRejected`` when a field whose policy is ``reject`` does not fit."""
        record: dict[str, Any] = {}
        issues: list[Issue] = []
        for compiled in self._fields:
            value = compiled.default
            if compiled.condition is None or compiled.condition(source):
                try:
                    found = compiled.compute(source)
                    if found is not None:
                        value = found
                    elif compiled.required:
                        raise BadValue("is required and has no value")
                except BadValue as bad:
                    issues.append(self._issue(compiled, source, bad))
                    if compiled.on_error is OnError.EMPTY:
                        value = None
            path = compiled.path
            if len(path) == 1:
                record[path[0]] = value
            else:
                _put(record, path, value)
        rejected = issues and any(issue.action is OnError.REJECT for issue in issues)
        if rejected:
            raise RecordRejected(tuple(issues))
        return Mapped(record, tuple(issues))

    def _issue(self, compiled: CompiledField, source: Source, bad: BadValue) -> Issue:
        values = ", ".join(str(source.get(name)) for name in compiled.lineage.sources)
        return Issue(
            record=self.name,
            field=compiled.name,
            rule=compiled.lineage.rule,
            problem=str(bad),
            value=values[:MAX_SHOWN],
            action=compiled.on_error,
        )


def _put(record: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for step in path[:-1]:
        record = record.setdefault(step, {})
    record[path[-1]] = value


@dataclass(frozen=True, slots=True)
class MappingDocument:
    """All records of one mapping file."""

    file: str
    sha256: str
    records: Mapping[str, RecordMapping]

    def record(self, name: str) -> RecordMapping:
        """The mapping called ``name``. Raises ``ConfigError`` that lists what there is."""
        if name not in self.records:
            raise ConfigError(
                f"the mapping has no record {name!r}",
                file=self.file,
                hint=f"it has: {', '.join(sorted(self.records))}",
            )
        return self.records[name]
