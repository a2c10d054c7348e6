"""From a connector's answer to an outcome: mapping, JSON for the engine, the sentence for the ear."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from trunkline.integration.connectors import Answer
from trunkline.integration.mapping import Issue
from trunkline.integration.tools.contract import ToolOutcome, ToolStatus
from trunkline.integration.tools.registry import Tool
from trunkline.integration.tools.spoken import NoValue, Sentence

MAX_ISSUES: Final = 20
"""Issues of one answer that the timeline holds; the rest is counted."""


@dataclass(frozen=True, slots=True)
class MappedAnswer:
    """Records in our words, and what did not fit."""

    records: tuple[dict[str, Any], ...]
    issues: tuple[Issue, ...]


def map_answer(tool: Tool, answer: Answer) -> MappedAnswer:
    """Apply the operation's mapping. Raises ``RecordRejected``."""
    mapping = tool.operation.mapping
    if mapping is None:
        return MappedAnswer(tuple(dict(record) for record in answer.records), ())
    mapped = [mapping.apply(record) for record in answer.records]
    return MappedAnswer(
        tuple(one.record for one in mapped), tuple(issue for one in mapped for issue in one.issues)
    )


def lineage(tool: Tool, mapped: MappedAnswer) -> dict[str, Any]:
    """Where every field came from, and what did not fit, for the timeline."""
    mapping = tool.operation.mapping
    issues = [f"{issue}: {issue.action}" for issue in mapped.issues[:MAX_ISSUES]]
    if len(mapped.issues) > MAX_ISSUES:
        issues.append(f"and {len(mapped.issues) - MAX_ISSUES} more")
    if mapping is None:
        return {"mapping": "none", "lineage": {}, "issues": issues}
    return {
        "mapping": f"{mapping.name}@{mapping.version[:12]}",
        "lineage": {name: where.rule for name, where in mapping.lineage.items()},
        "issues": issues,
    }


def found(tool: Tool, arguments: Mapping[str, Any], answer: Answer, mapped: MappedAnswer) -> ToolOutcome:
    """The outcome of an answer that came."""
    records = [plain(record) for record in mapped.records]
    if tool.operation.single:
        if not records:
            return not_found(tool, arguments)
        values = {**arguments, **mapped.records[0]}
        return ToolOutcome(ToolStatus.OK, output=records[0], spoken=say(tool.spoken, values))
    output = {"records": records, "count": len(records), "truncated": answer.truncated}
    values = {**arguments, "count": len(records), "records": {}}
    return ToolOutcome(ToolStatus.OK, output=output, spoken=say(tool.spoken, values))


def not_found(tool: Tool, arguments: Mapping[str, Any]) -> ToolOutcome:
    """The system answered that there is no such record."""
    return ToolOutcome(
        ToolStatus.NOT_FOUND,
        output={"found": False, "message": "There is no such record."},
        spoken=say(tool.not_found, arguments),
    )


def refused(status: ToolStatus, message: str, spoken: str = "") -> ToolOutcome:
    """An outcome without an answer; ``message`` is for the engine and for people."""
    return ToolOutcome(
        status, output={"error": status.value, "message": message}, spoken=spoken, detail=message
    )


def say(sentence: Sentence, values: Mapping[str, Any]) -> str:
    """The sentence, or nothing when a value it needs is missing: the engine then has the record only."""
    try:
        return sentence.say(values)
    except NoValue:
        return ""


def plain(value: Any) -> Any:
    """A mapped value as JSON has it: decimals as text, so that no digit is lost; binary data is left out."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
