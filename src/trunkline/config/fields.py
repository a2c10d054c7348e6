"""Field types that several documents share: port ranges, networks, URIs, secret references, names.

Each is parsed once, here, with a message that says what is allowed; nothing downstream parses text again.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, core_schema

from trunkline.model import ConfigError, Secret


class Strict(BaseModel):
    """Base of every document: unknown keys are mistakes, values are never coerced from another type, and a
    loaded document does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, ser_json_inf_nan="strings")


class Written:
    """A value that documents write as text: validated by the class's ``parse``, dumped by its ``str``."""

    __slots__ = ()
    json_schema: ClassVar[Mapping[str, Any]] = {}
    """What the JSON Schema says besides that it is text."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From text, or from what was parsed already. Raises ``ValueError`` with what is allowed."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", **cls.json_schema}


NAME_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,63}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""What one document calls another: a lower-case letter, then letters, digits, ``_`` and ``-``."""


@dataclass(frozen=True, slots=True)
class PortRange(Written):
    """UDP ports ``first`` to ``last``, both included. Written ``20000-29999``."""

    json_schema: ClassVar = {"pattern": r"^\d{1,5}-\d{1,5}$", "examples": ["20000-29999"]}

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @classmethod
    def parse(cls, value: Any) -> "PortRange":
        """From text. A media session takes an even port and the next one, so two ports are the least."""
        if isinstance(value, PortRange):
            return value
        match = re.fullmatch(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*", value) if isinstance(value, str) else None
        if match is None:
            raise ValueError("a port range is written FIRST-LAST, such as 20000-29999")
        first, last = int(match[1]), int(match[2])
        if not 1024 <= first <= 65535 or not 1024 <= last <= 65535:
            raise ValueError("ports lie between 1024 and 65535")
        if last - first < 1:
            raise ValueError("the range must hold at least two ports, the first being the lower")
        return cls(first, last)


@dataclass(frozen=True, slots=True)
class SecretRef(Written):
    """Where a secret is kept: ``secret://env/NAME`` or ``secret://file/PATH``. Never the secret itself."""

    json_schema: ClassVar = {"pattern": "^secret://(env|file)/.+$", "examples": ["secret://env/API_KEY"]}

    store: str
    name: str

    def __str__(self) -> str:
        return f"secret://{self.store}/{self.name}"

    @classmethod
    def parse(cls, value: Any) -> "SecretRef":
        """From text; a plain value is refused so that no credential ends up in a document."""
        if isinstance(value, SecretRef):
            return value
        match = re.fullmatch(r"secret://(env|file)/(.+)", value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(
                "write where the secret is kept: secret://env/NAME or secret://file/PATH, not its value"
            )
        if match[1] == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", match[2]):
            raise ValueError("an environment variable's name has letters, digits and _ only")
        return cls(match[1], match[2])

    def resolve(self, *, base_dir: Path, environ: "Environ") -> Secret[str]:
        """Read the secret. Files are relative to ``base_dir``; a final line break is not part of the secret.
        Raises ``ConfigError`` that names the reference when there is none."""
        if self.store == "env":
            value = environ.get(self.name, "")
            if not value:
                raise ConfigError(f"{self} is not set", hint=f"export {self.name}=… before starting")
            return Secret(value)
        path = base_dir / self.name
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as failed:
            reason = failed.strerror if isinstance(failed, OSError) else "it is not UTF-8 text"
            raise ConfigError(
                f"{self} cannot be read: {reason}", hint="check the path and its permissions"
            ) from failed
        if not (text := text.rstrip("\r\n")):
            raise ConfigError(f"{self} is empty")
        return Secret(text)


class Environ:
    """The environment as a constructor argument: what ``SecretRef.resolve`` may look into."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def get(self, name: str, default: str) -> str:
        """Value of a variable."""
        return self._values.get(name, default)

    def __repr__(self) -> str:
        return f"<environ of {len(self._values)} variables>"


def _network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        if not isinstance(value, str):
            raise ValueError
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("write an address or a network in CIDR form, such as 10.0.0.0/8") from None


Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    BeforeValidator(_network),
    Field(json_schema_extra={"examples": ["10.0.0.0/8"]}),
]
"""An address or network in CIDR form; host bits are ignored."""


def _host(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(
            "write a literal IP address, such as 127.0.0.1 (0.0.0.0 means every IPv4 address)"
        ) from None


Host = Annotated[str, AfterValidator(_host)]
"""A literal IP address to bind to."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""A port; 0 lets the system choose."""


def _phone_uri(value: str) -> str:
    if (
        len(value) > 512
        or any(ord(c) <= 32 or ord(c) == 127 for c in value)
        or any(c in value for c in '<>"')
    ):
        raise ValueError("a URI has no spaces, quotes or angle brackets and at most 512 characters")
    scheme, _, rest = value.partition(":")
    if scheme.lower() not in {"sip", "sips", "tel"} or not rest or rest.startswith("//"):
        raise ValueError("write a sip:, sips: or tel: URI, such as sip:support@10.0.0.5")
    return value


PhoneUri = Annotated[str, AfterValidator(_phone_uri)]
"""A ``sip:``, ``sips:`` or ``tel:`` URI, kept exactly as written."""


def _socket_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ValueError("write a WebSocket URL: wss://HOST/PATH (ws:// only on a network you trust)")
    if parts.username or parts.password:
        raise ValueError("credentials do not belong in a URL; use api_key: secret://…")
    return value


SocketUrl = Annotated[str, AfterValidator(_socket_url)]
"""A ``ws://`` or ``wss://`` URL without credentials."""
