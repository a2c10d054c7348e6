"""The connector: settings to operations, operations to statements."""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from trunkline.config.source import Document, combine
from trunkline.integration.connectors.contract import (
    Answer,
    Connector,
    Context,
    Health,
    Operation,
    OperationKind,
)
from trunkline.integration.connectors.sql.client import (
    Driver,
    Session,
    Shape,
    SqliteDriver,
    StatementRefused,
)
from trunkline.integration.connectors.sql.pool import Pool, Stop
from trunkline.integration.connectors.sql.settings import SqlSettings, Statement
from trunkline.integration.mapping import MappingDocument, RecordMapping, load_mapping
from trunkline.model import ConfigError, LocalProtocolError, RemoteError, TrunklineError

log = logging.getLogger(__name__)

_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)
_PARAMETER: Final = re.compile(r"(?<![:\w]):([A-Za-z_]\w*)")
INTEGER_BOUND: Final = 2**63
_SCALAR: Final[Mapping[str, Any]] = {
    "type": ["string", "number", "boolean", "null"],
    "minimum": -INTEGER_BOUND,
    "maximum": INTEGER_BOUND - 1,
}


def create(settings: Document) -> "SqlConnector":
    """A connector from its settings. Statements are verified now when the database is there; otherwise a warning
    is logged and the database refuses bad ones when it is asked."""
    model = settings.validate(SqlSettings)
    base = settings.file.parent
    mapping = None if model.mapping is None else _mapping_file(settings, base / model.mapping)
    driver = SqliteDriver(base / model.path)
    mistakes: list[ConfigError] = []
    records = dict(_mappings(settings, model, mapping, mistakes))
    shapes = _shapes(settings, model, driver, mistakes)
    operations = {
        name: _operation(name, statement, shapes.get(name), records.get(name))
        for name, statement in model.statements.items()
    }
    mistakes.extend(_misfits(settings, model, shapes, records))
    if mistakes:
        raise combine(mistakes)
    return SqlConnector(model, operations, driver)


class SqlConnector(Connector):
    """Named read-only statements on one database."""

    def __init__(self, settings: SqlSettings, operations: Mapping[str, Operation], driver: Driver) -> None:
        self._statements = settings.statements
        self._operations = operations
        self._pool = Pool(driver, size=settings.pool.size, waiting=settings.pool.waiting)

    @property
    def running(self) -> int:
        """Questions the database works on, including cancelled ones that have not stopped."""
        return self._pool.running

    def operations(self) -> Mapping[str, Operation]:
        return self._operations

    async def call(self, operation: str, arguments: Mapping[str, Any], ctx: Context) -> Answer:
        statement = self._statements.get(operation)
        if statement is None:
            raise LocalProtocolError(f"the connector has no operation {operation!r}")
        values = self._bound(operation, arguments)
        limit = 1 if statement.single else statement.max_rows

        def ask(session: Session, stop: Stop) -> Answer:
            rows = session.run(statement.sql, values, limit=limit, stop=stop)
            return Answer(rows.records, truncated=rows.more)

        return await self._pool.run(ask, Stop(ctx.deadline, ctx.clock))

    async def probe(self, ctx: Context) -> Health:
        def ask(session: Session, stop: Stop) -> Health:
            session.run("SELECT 1", {}, limit=1, stop=stop)
            return Health(True)

        try:
            return await self._pool.run(ask, Stop(ctx.deadline, ctx.clock))
        except TrunklineError as bad:
            return Health(False, str(bad))

    async def close(self) -> None:
        await self._pool.close()

    def _bound(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Values for exactly the parameters of the statement."""
        schema = self._operations[operation].parameters
        values = {name: arguments.get(name) for name in schema["properties"]}
        for name in schema["required"]:
            if name not in arguments:
                raise LocalProtocolError(f"{operation} was called without {name}")
        for name, value in values.items():
            if value is not None and not isinstance(value, str | int | float | bool):
                raise LocalProtocolError(f"{operation} was called with a {type(value).__name__} for {name}")
        return values


def _operation(
    name: str, statement: Statement, shape: Shape | None, mapping: RecordMapping | None
) -> Operation:
    names = shape.parameters if shape is not None else tuple(statement.parameters)
    return Operation(
        name=name,
        kind=OperationKind.READ,
        parameters={
            "type": "object",
            "properties": {one: statement.parameters.get(one, dict(_SCALAR)) for one in names},
            "required": [one for one in names if one not in statement.optional],
        },
        single=statement.single,
        mapping=mapping,
    )


def _mapping_file(settings: Document, file: Path) -> MappingDocument:
    if not file.is_file():
        raise settings.error(("mapping",), f"{file.name} cannot be read", hint=f"looked for {file}")
    return load_mapping(file)


def _mappings(
    settings: Document, model: SqlSettings, mapping: MappingDocument | None, mistakes: list[ConfigError]
) -> Iterator[tuple[str, RecordMapping]]:
    for name, statement in model.statements.items():
        if statement.mapping is None:
            continue
        here = ("statements", name, "mapping")
        if mapping is None:
            mistakes.append(settings.error(here, "there is no mapping file", hint="add mapping: FILE"))
        elif statement.mapping not in mapping.records:
            known = ", ".join(sorted(mapping.records))
            mistakes.append(
                settings.error(
                    here,
                    f"the mapping has no record {statement.mapping!r}",
                    hint=f"{model.mapping} has: {known}",
                )
            )
        else:
            yield name, mapping.records[statement.mapping]


def _shapes(
    settings: Document, model: SqlSettings, driver: SqliteDriver, mistakes: list[ConfigError]
) -> dict[str, Shape]:
    """What each statement takes and gives, as the database itself tells."""
    try:
        session = driver.open()
    except RemoteError as away:
        _warn(settings.file, away)
        return {name: Shape(_named(one.sql), ()) for name, one in model.statements.items()}
    shapes: dict[str, Shape] = {}
    try:
        for name, statement in model.statements.items():
            try:
                shapes[name] = session.verify(statement.sql)
            except StatementRefused as bad:
                mistakes.append(settings.error(("statements", name, "sql"), str(bad)))
    finally:
        session.close()
    return shapes


def _named(sql: str) -> tuple[str, ...]:
    """Parameters of a statement the database could not be asked about: ``:name`` outside of quotes."""
    return tuple(dict.fromkeys(_PARAMETER.findall(_QUOTED.sub(" ", sql))))


def _warn(file: Path, away: RemoteError) -> None:
    log.warning("%s: statements were not verified: %s", file, away)


def _misfits(
    settings: Document,
    model: SqlSettings,
    shapes: Mapping[str, Shape],
    records: Mapping[str, RecordMapping],
) -> Iterator[ConfigError]:
    for name, shape in shapes.items():
        statement = model.statements[name]
        here = ("statements", name)
        for given in (*statement.parameters, *statement.optional):
            if given not in shape.parameters:
                yield settings.error(
                    (*here, "parameters", given),
                    "the statement has no such parameter",
                    hint=f"write :{given} in it",
                )
        mapping = records.get(name)
        if mapping is not None and shape.columns:
            absent = sorted(mapping.sources - set(shape.columns))
            if absent:
                yield settings.error(
                    (*here, "mapping"),
                    f"{statement.mapping} reads {', '.join(absent)}, which the statement does not give",
                    hint=f"it gives: {', '.join(shape.columns)}",
                )
