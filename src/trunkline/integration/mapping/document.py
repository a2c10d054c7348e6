"""The mapping document's shape. ``docs/integration/mapping.md`` is its reference."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = str | int | float | bool
FIELD_PATTERN = r"^[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63}){0,3}$"
FieldName = Annotated[str, Field(pattern=FIELD_PATTERN)]
SourceName = Annotated[str, Field(min_length=1, max_length=128)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class Condition(_Strict):
    """When a field is computed. Exactly one test on one source field, or a combination of conditions."""

    field: SourceName | None = None
    present: bool | None = None
    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = Field(None, min_length=1, max_length=500, strict=False)
    less_than: float | None = Field(None, strict=False)
    greater_than: float | None = Field(None, strict=False)
    all: tuple["Condition", ...] | None = Field(None, min_length=1, max_length=50, strict=False)
    any: tuple["Condition", ...] | None = Field(None, min_length=1, max_length=50, strict=False)
    negate: "Condition | None" = Field(None, alias="not")

    @model_validator(mode="after")
    def _one_test(self) -> "Condition":
        tests = [
            name
            for name in ("present", "equals", "one_of", "less_than", "greater_than")
            if getattr(self, name) is not None
        ]
        groups = [name for name in ("all", "any", "negate") if getattr(self, name) is not None]
        if self.field is not None:
            if groups or len(tests) != 1:
                raise ValueError(
                    "a condition on a field has exactly one of present, equals, one_of, less_than, greater_than"
                )
        elif tests or len(groups) != 1:
            raise ValueError("a condition has either field and one test, or one of all, any, not")
        return self


class Table(_Strict):
    """Codes and their words."""

    codes: dict[str | int, str] = Field(min_length=1, max_length=5000)
    unknown: str | None = None
    """Word for a code that is not listed; absent: such a code does not fit."""
    keep_unknown: bool = False
    """Pass an unlisted code on as it is."""

    @model_validator(mode="after")
    def _one_policy(self) -> "Table":
        if self.unknown is not None and self.keep_unknown:
            raise ValueError("unknown and keep_unknown exclude each other")
        return self


class Number(_Strict):
    """How a number is written."""

    implied_decimals: int = Field(0, ge=0, le=12)
    """The last so many digits are decimals: ``12990`` with 2 is 129.90."""
    decimal_mark: Literal[".", ","] = "."
    group_mark: Literal[",", ".", " ", "'", ""] = ""
    trailing_sign: bool = False
    """The sign stands behind, as in ``12990-``."""
    integer: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "Number":
        if self.group_mark and self.group_mark == self.decimal_mark:
            raise ValueError("group_mark and decimal_mark must differ")
        if self.integer and self.implied_decimals:
            raise ValueError("an integer has no implied_decimals")
        return self


class Boolean(_Strict):
    """Which values mean yes and no; compared as text."""

    true_values: tuple[str | int | bool, ...] = Field(min_length=1, strict=False)
    false_values: tuple[str | int | bool, ...] = Field(min_length=1, strict=False)


class FieldRule(_Strict):
    """One output field: where it comes from (one of from, first, concat, constant), how it is read (at most one
    of name, table, date, number, boolean), and what happens when it does not fit."""

    source: SourceName | None = Field(None, alias="from")
    first: tuple[SourceName, ...] | None = Field(None, min_length=2, max_length=20, strict=False)
    concat: tuple[SourceName, ...] | None = Field(None, min_length=2, max_length=20, strict=False)
    separator: str = Field(" ", max_length=20)
    constant: Scalar | None = None

    trim: bool = True
    name: Literal["full", "given", "middle", "family"] | None = None
    table: str | None = None
    date: str | None = Field(None, min_length=1, max_length=40)
    century_from: int = Field(40, ge=0, le=99)
    """Two-digit years below it are 20xx, others 19xx."""
    number: Number | None = None
    boolean: Boolean | None = None
    case: Literal["lower", "upper", "title", "name"] | None = None

    when: Condition | None = None
    required: bool = False
    default: Scalar | None = None
    on_error: Literal["empty", "default", "reject"] = "empty"

    @model_validator(mode="after")
    def _consistent(self) -> "FieldRule":
        origins = [n for n in ("source", "first", "concat", "constant") if getattr(self, n) is not None]
        if len(origins) != 1:
            raise ValueError("a field has exactly one of from, first, concat, constant")
        readings = [n for n in ("name", "table", "date", "number", "boolean") if getattr(self, n) is not None]
        if len(readings) > 1:
            raise ValueError(f"{' and '.join(readings)} exclude each other")
        if self.constant is not None and (readings or self.case or self.required):
            raise ValueError("a constant is taken as it is")
        if self.case and readings and readings[0] not in {"name", "table"}:
            raise ValueError(f"case has no meaning for a {readings[0]}")
        if self.on_error == "default" and self.default is None:
            raise ValueError("on_error: default needs a default")
        if self.required and self.default is not None:
            raise ValueError("a field with a default is never missing: leave out required")
        return self


class Record(_Strict):
    """One kind of record."""

    description: str = Field("", max_length=500)
    fields: dict[FieldName, FieldRule] = Field(min_length=1, max_length=500)


class MappingModel(_Strict):
    """A mapping file."""

    version: Literal[1]
    tables: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Table] = Field(
        default_factory=dict
    )
    records: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Record] = Field(min_length=1)
