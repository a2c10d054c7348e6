"""From the mapping document to functions: each field becomes one closure, rules run in a fixed order.

The order: take the value (from, first, concat, constant), trim, empty means missing, read it (name, table,
date, number, boolean), then case.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.config.source import Document, Path_, combine, load
from trunkline.integration.mapping.conditions import compile_condition, sources_of
from trunkline.integration.mapping.dates import compile_date
from trunkline.integration.mapping.document import Boolean, FieldRule, MappingModel, Table
from trunkline.integration.mapping.names import case_name, split_name
from trunkline.integration.mapping.numbers import compile_number
from trunkline.integration.mapping.record import (
    BadValue,
    CompiledField,
    Compute,
    Lineage,
    MappingDocument,
    OnError,
    RecordMapping,
    Source,
)
from trunkline.model import ConfigError

Step = Callable[[Any], Any]
"""From a present value to another, or ``None`` for none; raises ``BadValue``."""


def load_mapping(file: Path) -> MappingDocument:
    """Read and compile a mapping file. Raises one ``ConfigError`` with every mistake and its line."""
    return compile_mapping(load(file))


def compile_mapping(document: Document) -> MappingDocument:
    """Compile a parsed mapping document."""
    model = document.validate(MappingModel)
    mistakes = list(_mistakes(document, model))
    if mistakes:
        raise combine(mistakes)
    records = {
        name: RecordMapping(
            name,
            document.sha256,
            tuple(_field(field, rule, model.tables) for field, rule in record.fields.items()),
        )
        for name, record in model.records.items()
    }
    return MappingDocument(file=str(document.file), sha256=document.sha256, records=records)


def _mistakes(document: Document, model: MappingModel) -> Iterator[ConfigError]:
    for name, record in model.records.items():
        for field, rule in record.fields.items():
            here: Path_ = ("records", name, "fields", field)
            if rule.table is not None and rule.table not in model.tables:
                known = ", ".join(sorted(model.tables)) or "none"
                yield document.error(
                    (*here, "table"), f"there is no table {rule.table!r}", hint=f"defined: {known}"
                )
            if rule.date is not None:
                try:
                    compile_date(rule.date, rule.century_from)
                except ValueError as bad:
                    yield document.error((*here, "date"), str(bad).removeprefix("date: "))
            parents = [other for other in record.fields if field.startswith(f"{other}.")]
            if parents:
                yield document.error(here, f"{parents[0]!r} is a value and cannot hold {field!r}")


@dataclass(frozen=True, slots=True)
class _Origin:
    take: Compute
    sources: tuple[str, ...]
    words: str


def _field(name: str, rule: FieldRule, tables: Mapping[str, Table]) -> CompiledField:
    origin = _origin(rule)
    steps, words, kind = _reading(rule, tables)
    if rule.case is not None:
        steps.append(_CASES[rule.case])
        words.append(f"case {rule.case}")
    condition = None if rule.when is None else compile_condition(rule.when)
    tested = () if rule.when is None else tuple(sorted(sources_of(rule.when)))
    sources = tuple(dict.fromkeys((*origin.sources, *tested)))
    return CompiledField(
        name=name,
        path=tuple(name.split(".")),
        compute=_chain(origin.take, tuple(steps)),
        lineage=Lineage(sources, ", ".join([origin.words, *words, *(["conditional"] if tested else [])])),
        required=rule.required,
        default=rule.default,
        on_error=OnError(rule.on_error),
        condition=condition,
        kind=kind,
    )


def _origin(rule: FieldRule) -> _Origin:
    if rule.constant is not None:
        constant = rule.constant
        return _Origin(lambda _: constant, (), "constant")
    clean = _trimmed if rule.trim else _untouched
    if rule.source is not None:
        source = rule.source
        return _Origin(lambda record: clean(_get(record, source)), (source,), f"from {source}")
    if rule.first is not None:
        names = rule.first

        def first(record: Source) -> Any:
            for name in names:
                if (value := clean(_get(record, name))) is not None:
                    return value
            return None

        return _Origin(first, names, f"first of {', '.join(names)}")
    parts, separator = rule.concat or (), rule.separator

    def joined(record: Source) -> Any:
        values = [clean(_get(record, name)) for name in parts]
        return separator.join(str(value) for value in values if value is not None) or None

    return _Origin(joined, parts, f"concat of {', '.join(parts)}")


def _reading(rule: FieldRule, tables: Mapping[str, Table]) -> tuple[list[Step], list[str], str]:
    """Steps, their words for the lineage, and the kind of value they give."""
    if rule.constant is not None:
        return [], [], "constant"
    if rule.name is not None:
        part = rule.name
        return [lambda value: getattr(split_name(str(value)), part) or None], [f"name {part}"], "text"
    if rule.table is not None:
        return [_lookup(tables[rule.table])], [f"table {rule.table}"], "text"
    if rule.date is not None:
        return [_date(rule.date, rule.century_from)], [f"date {rule.date}"], "date"
    if rule.number is not None:
        kind = "integer" if rule.number.integer else "decimal"
        implied = rule.number.implied_decimals
        words = f"{kind} with {implied} implied decimals" if implied else kind
        return [compile_number(rule.number)], [words], kind
    if rule.boolean is not None:
        return [_boolean(rule.boolean)], ["boolean"], "boolean"
    return [_as_text], [], "text"


def _chain(take: Compute, steps: tuple[Step, ...]) -> Compute:
    if len(steps) == 1:
        only = steps[0]

        def one(record: Source) -> Any:
            value = take(record)
            return None if value is None else only(value)

        return one

    def run(record: Source) -> Any:
        value = take(record)
        for step in steps:
            if value is None:
                return None
            value = step(value)
        return value

    return run


def _get(record: Source, name: str) -> Any:
    try:
        return record[name]
    except KeyError:
        raise BadValue(f"the source has no field {name}") from None


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip() or None
    return value


def _untouched(value: Any) -> Any:
    return None if value == "" else value


def _as_text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        raise BadValue("is binary data")
    return str(value)


def _lookup(table: Table) -> Step:
    words = {str(code): word for code, word in table.codes.items()}
    unknown, keep = table.unknown, table.keep_unknown

    def look(value: Any) -> Any:
        code = str(value)
        word = words.get(code, unknown)
        if word is not None:
            return word
        if keep:
            return code
        raise BadValue("is a code that the table does not have")

    return look


def _date(pattern: str, century_from: int) -> Step:
    read = compile_date(pattern, century_from)

    def date(value: Any) -> Any:
        text = str(value)
        return read(text) if text.strip("0") else None

    return date


def _boolean(rule: Boolean) -> Step:
    words = {str(value).lower(): True for value in rule.true_values} | {
        str(value).lower(): False for value in rule.false_values
    }

    def read(value: Any) -> bool:
        try:
            return words[str(value).lower()]
        except KeyError:
            raise BadValue("is neither of the values for true nor for false") from None

    return read


_CASES: Mapping[str, Step] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
    "name": case_name,
}
