"""``when``: a small total language of tests on source fields, compiled to functions."""

from collections.abc import Callable
from typing import Any

from trunkline.integration.mapping.document import Condition
from trunkline.integration.mapping.record import Source

Holds = Callable[[Source], bool]


def compile_condition(condition: Condition) -> Holds:
    """A function that tells whether ``condition`` holds for a source record; it never raises."""
    if condition.all is not None:
        parts = tuple(compile_condition(part) for part in condition.all)
        return lambda source: all(part(source) for part in parts)
    if condition.any is not None:
        parts = tuple(compile_condition(part) for part in condition.any)
        return lambda source: any(part(source) for part in parts)
    if condition.negate is not None:
        inner = compile_condition(condition.negate)
        return lambda source: not inner(source)
    return _test(condition)


def _test(condition: Condition) -> Holds:
    name = condition.field or ""
    if condition.present is not None:
        wanted = condition.present
        return lambda source: (_text(source.get(name)) != "") is wanted
    if condition.equals is not None:
        equal = _text(condition.equals)
        return lambda source: _text(source.get(name)) == equal
    if condition.one_of is not None:
        allowed = frozenset(_text(value) for value in condition.one_of)
        return lambda source: _text(source.get(name)) in allowed
    if condition.less_than is not None:
        upper = condition.less_than
        return lambda source: (n := _number(source.get(name))) is not None and n < upper
    lower = condition.greater_than if condition.greater_than is not None else 0.0
    return lambda source: (n := _number(source.get(name))) is not None and n > lower


def _text(value: Any) -> str:
    """Values are compared as trimmed text, so that ``4``, ``"4"`` and ``"4 "`` are the same code."""
    return "" if value is None else str(value).strip()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def sources_of(condition: Condition) -> frozenset[str]:
    """Every source field the condition looks at."""
    if condition.field is not None:
        return frozenset({condition.field})
    parts = condition.all or condition.any or ((condition.negate,) if condition.negate else ())
    return frozenset().union(*(sources_of(part) for part in parts))
