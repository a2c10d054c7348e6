"""The settings as tables for the documentation, from the models themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trunkline.config.documents import Root


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its path with ``NAME`` for names the user chooses, its default as YAML, what it means."""

    path: str
    default: str
    meaning: str


def settings(model: type[BaseModel] = Root, prefix: str = "") -> Iterator[Setting]:
    """Every setting of ``model``, in the order of the document; sections before what they hold."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        yield Setting(path, _default(field), field.description or "")
        for step, inner in _models(field.annotation):
            yield from settings(inner, f"{path}{step}.")


def tables() -> str:
    """Markdown: one table per top-level section."""
    sections: dict[str, list[Setting]] = {}
    for setting in settings():
        sections.setdefault(setting.path.split(".")[0].removesuffix("[]"), []).append(setting)
    return "\n".join(_table(name, rows) for name, rows in sections.items())


def _table(name: str, rows: list[Setting]) -> str:
    unique = list({row.path: row for row in rows}.values())
    lines = [f"## {name}", "", "| setting | default | meaning |", "|---|---|---|"]
    lines.extend(
        f"| `{row.path}` | {_code(row.default)} | {row.meaning.replace('|', chr(92) + '|')} |"
        for row in unique
    )
    return "\n".join(lines) + "\n"


def _code(default: str) -> str:
    return f"`{default}`" if default not in {"", "required"} else default


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return _yaml(value)


def _yaml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case None:
            return ""
        case Enum():
            return str(value.value)
        case BaseModel():
            return ""
        case tuple() | list():
            return f"[{', '.join(_yaml(item) for item in value)}]"
        case dict():
            return "{}" if not value else str(value).replace("'", "")
        case str():
            return f'"{value}"' if not value or " " in value else value
        case float() if value.is_integer():
            return str(int(value))
        case _ if value is PydanticUndefined:
            return "required"
        case _:
            return str(value)


def _models(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Models inside a field's type, with how one gets to them: ``[]`` for lists, ``.NAME`` for mappings."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    elif origin is Annotated:
        yield from _models(get_args(annotation)[0])
    elif origin in {Union, UnionType}:
        for part in get_args(annotation):
            yield from _models(part)
    elif origin is tuple:
        for step, model in _models(get_args(annotation)[0]):
            yield f"[]{step}", model
    elif origin is dict:
        for step, model in _models(get_args(annotation)[1]):
            yield f".NAME{step}", model
