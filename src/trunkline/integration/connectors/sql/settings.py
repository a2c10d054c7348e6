"""The connector's settings."""

import re
from typing import Annotated, Any, Final
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, field_validator

OperationName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_URL: Final = re.compile(r"sqlite:///(?P<path>[^?#]+)")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Statement(_Strict):
    """One operation: a single SELECT with ``:named`` parameters."""

    sql: str = Field(min_length=1, max_length=100_000)
    mapping: str | None = None
    """Record of the mapping file; absent: columns are taken as they are."""
    single: bool = False
    """The statement finds one record or none."""
    max_rows: int = Field(100, ge=1, le=10_000)
    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """JSON Schema of a parameter; absent: any text, number, boolean or null."""
    optional: tuple[str, ...] = Field((), strict=False)
    """Parameters that may be left out; they are NULL then."""


class Pool(_Strict):
    """Bounds of what the database is asked at the same time."""

    size: int = Field(4, ge=1, le=64)
    """Connections, and threads, at most."""
    waiting: int = Field(32, ge=0, le=10_000)
    """Questions that may wait for a connection; one more is refused at once."""


class SqlSettings(_Strict):
    """Settings of a connector of kind ``sql``."""

    url: str
    mapping: str | None = None
    pool: Pool = Field(default_factory=Pool)
    statements: dict[OperationName, Statement] = Field(min_length=1, max_length=1000)

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        if _URL.fullmatch(url) is None:
            raise ValueError("write sqlite:///FILE (relative to this file) or sqlite:////ABSOLUTE/FILE")
        return url

    @property
    def path(self) -> str:
        """The database file as written, absolute or relative to the configuration file."""
        match = _URL.fullmatch(self.url)
        return unquote(match["path"]) if match else ""
