"""YAML documents with line numbers, and Pydantic validation whose errors point at the line.

Every document of every room is loaded through here, so that each mistake is reported as
``file:line: path: what (hint)``, and all mistakes of one document are reported at once.
"""

import difflib
import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trunkline.model import ConfigError

Path_ = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

MAX_DOCUMENT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file: plain data, the line of every node, and the hash of the bytes."""

    file: Path
    data: Any
    lines: Mapping[Path_, int]
    sha256: str

    def line(self, path: Path_) -> int:
        """Line (from 1) of the node at ``path`` or of its nearest parent that exists."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def error(self, path: Path_, what: str, *, hint: str = "") -> ConfigError:
        """A ``ConfigError`` that points at the node at ``path``."""
        dotted = ".".join(str(part) for part in path)
        return ConfigError(
            f"{dotted}: {what}" if dotted else what, file=self.file, line=self.line(path), hint=hint
        )

    def validate(self, model: type[M]) -> M:
        """The data as ``model``; raises one ``ConfigError`` that lists every mistake with its line."""
        try:
            return model.model_validate(self.data)
        except ValidationError as invalid:
            raise combine(self.explain(invalid, model)) from None

    def explain(
        self, invalid: ValidationError, model: type[BaseModel], *, under: Path_ = ()
    ) -> list[ConfigError]:
        """Pydantic's findings in our words, each with its line. ``under`` is where the validated part lies."""
        errors = invalid.errors(include_url=False)
        inner = [tuple(e["loc"]) for e in errors]
        told = [e for e in errors if not _follows(e["type"], tuple(e["loc"]), inner)]
        return [self._explain(e, model, under) for e in told]

    def _explain(self, error: ErrorDetails, model: type[BaseModel], under: Path_) -> ConfigError:
        """Pydantic's finding in our words. Its location may name union members; those are left out."""
        message, context = error["msg"], error.get("ctx", {})
        path = self._written((*under, *error["loc"]))
        match error["type"]:
            case "extra_forbidden":
                close = difflib.get_close_matches(str(path[-1]), _keys(model), n=1)
                return self.error(path, "unknown setting", hint=f"did you mean {close[0]}?" if close else "")
            case "missing":
                return self.error(path, "is required")
            case "union_tag_not_found":
                return self.error(path, f"{context['discriminator']} is required")
            case "union_tag_invalid":
                key = str(context["discriminator"]).strip("'")
                return self.error(
                    (*path, key), f"there is no {context['tag']!r}", hint=f"use {context['expected_tags']}"
                )
            case "string_type":
                return self.error(path, "must be text", hint="put it in quotes")
            case "value_error":
                return self.error(path, message.removeprefix("Value error, "))
            case _:
                return self.error(path, message[:1].lower() + message[1:])

    def _written(self, location: Path_) -> Path_:
        """The part of ``location`` that the document has, and its last step."""
        found: list[str | int] = []
        node = self.data
        for index, step in enumerate(location):
            inside = isinstance(node, dict) and step in node
            inside = inside or (isinstance(node, list) and isinstance(step, int) and step < len(node))
            if inside:
                node = node[step]
                found.append(step)
            elif index == len(location) - 1 and isinstance(node, dict) and step != "[key]":
                found.append(step)
        return tuple(found)


def _follows(kind: str, path: Path_, others: Sequence[Path_]) -> bool:
    """Whether a finding only repeats another one: a list is too short because its items are wrong."""
    return kind == "too_short" and any(
        len(other) > len(path) and other[: len(path)] == path for other in others
    )


def _keys(model: type[BaseModel]) -> list[str]:
    """Names that the model has anywhere: candidates for a misspelt one."""
    names: list[str] = []
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        names.extend(name for name in part.get("properties", {}) if name not in names)
    return names


class CombinedConfigError(ConfigError):
    """Several mistakes at once. ``errors`` has each; the text lists them one per line."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        first, rest = errors[0], errors[1:]
        super().__init__(
            first.what + (f" ({first.hint})" if first.hint else "") + "".join(f"\n{error}" for error in rest),
            file=first.file,
            line=first.line,
        )
        self.errors = tuple(errors)


def combine(errors: Sequence[ConfigError]) -> ConfigError:
    """One error for all ``errors`` (at least one), ordered by file and line."""
    flat = [
        one
        for error in errors
        for one in (error.errors if isinstance(error, CombinedConfigError) else (error,))
    ]
    if len(flat) == 1:
        return flat[0]
    return CombinedConfigError(sorted(flat, key=lambda error: (error.file, error.line)))


def load(file: Path) -> Document:
    """Read and parse one YAML file. Raises ``ConfigError`` when it is missing, too large or not YAML."""
    try:
        raw = file.read_bytes()
    except OSError as failed:
        raise ConfigError(f"cannot read: {failed.strerror}", file=file) from failed
    return parse(raw, file)


def parse(raw: bytes, file: Path) -> Document:
    """Parse YAML text; ``file`` is used in messages only."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise ConfigError(f"larger than {MAX_DOCUMENT_BYTES} bytes", file=file)
    try:
        loader = yaml.SafeLoader(raw)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as bad:
        line = bad.problem_mark.line + 1 if bad.problem_mark else 0
        raise ConfigError(f"not valid YAML: {bad.problem}", file=file, line=line) from bad
    except (yaml.YAMLError, UnicodeDecodeError) as bad:
        raise ConfigError(f"not valid YAML: {bad}", file=file) from bad
    lines: dict[Path_, int] = {}
    data = _construct(node, (), lines, file, depth=0) if node is not None else {}
    return Document(file=file, data=data, lines=lines, sha256=hashlib.sha256(raw).hexdigest())


MAX_DEPTH = 40
_PLAIN_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


def _construct(node: yaml.Node, path: Path_, lines: dict[Path_, int], file: Path, *, depth: int) -> Any:
    line = node.start_mark.line + 1
    lines[path] = line
    if depth > MAX_DEPTH or len(lines) > 200_000:
        raise ConfigError("nested too deeply or too large", file=file, line=line)
    if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
        raise ConfigError(f"not a plain value: the tag {node.tag}", file=file, line=line)
    if isinstance(node, yaml.MappingNode):
        result: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node, file)
            if key in result:
                raise ConfigError(
                    f"{key!r} is given twice",
                    file=file,
                    line=key_node.start_mark.line + 1,
                    hint="remove one of them",
                )
            child = (*path, key)
            result[key] = _construct(value_node, child, lines, file, depth=depth + 1)
            lines[child] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(item, (*path, index), lines, file, depth=depth + 1)
            for index, item in enumerate(node.value)
        ]
    return _scalar(node, file)


def _scalar(node: yaml.Node, file: Path) -> Any:
    constructor = yaml.SafeLoader("")
    try:
        return constructor.construct_object(node)
    except yaml.YAMLError as bad:
        raise ConfigError(f"not a plain value: {bad}", file=file, line=node.start_mark.line + 1) from bad
    finally:
        constructor.dispose()
