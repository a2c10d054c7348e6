"""Arguments against their JSON Schema (2020-12), with messages an engine can act on."""

from collections.abc import Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from trunkline.model import LocalError

MAX_PROBLEMS: Final = 5
MAX_TEXT: Final = 4096
"""Longest text an argument may hold; a model that writes more has lost its way."""
MAX_VALUES: Final = 256
"""Most values (of any depth) arguments may hold together."""


class ArgumentsInvalid(LocalError):  # noqa: N818 - reads as what it says
    """The arguments do not fit their schema; the text lists what is wrong, for the engine."""


class ArgumentRules:
    """A compiled schema. ``ArgumentRules.mistake`` tells why a schema cannot be used."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = Draft202012Validator(dict(schema))

    @staticmethod
    def mistake(schema: Mapping[str, Any]) -> str:
        """What is wrong with ``schema``, or nothing. References are refused: nothing is ever fetched."""
        if _has_reference(schema):
            return "$ref is not supported; write the schema out"
        try:
            Draft202012Validator.check_schema(dict(schema))
        except SchemaError as bad:
            where = ".".join(str(part) for part in bad.absolute_path)
            return f"{where}: {bad.message}" if where else str(bad.message)
        return ""

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raises ``ArgumentsInvalid`` with up to five problems."""
        problem = _too_much(arguments)
        if problem:
            raise ArgumentsInvalid(problem)
        errors = sorted(
            self._validator.iter_errors(dict(arguments)), key=lambda e: list(map(str, e.absolute_path))
        )
        if errors:
            raise ArgumentsInvalid("; ".join(_say(error) for error in errors[:MAX_PROBLEMS]))


def _say(error: ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path)
    return f"{where}: {error.message}" if where else str(error.message)


def _has_reference(node: object) -> bool:
    if isinstance(node, Mapping):
        return (
            "$ref" in node or "$dynamicRef" in node or any(_has_reference(value) for value in node.values())
        )
    return isinstance(node, list) and any(_has_reference(value) for value in node)


def _too_much(arguments: Mapping[str, Any]) -> str:
    pending: list[object] = [arguments]
    seen = 0
    while pending:
        seen += 1
        if seen > MAX_VALUES:
            return f"more than {MAX_VALUES} values"
        value = pending.pop()
        if isinstance(value, str) and len(value) > MAX_TEXT:
            return f"a text longer than {MAX_TEXT} characters"
        if isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return ""
