"""Finds the compiled media engine and says one clear sentence when it is not there."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Final

from trunkline.model import Missing

if TYPE_CHECKING:
    from trunkline import _native

ABI_VERSION: Final = 1
"""What ``_native.abi_version`` must be for this Python code."""

_HINT: Final = "run `make build`"


def check(module: ModuleType) -> None:
    """Raise ``Missing`` when the build is older or newer than this code."""
    found = getattr(module, "abi_version", None)
    if found != ABI_VERSION:
        what = (
            f"the native media engine was built for another version of Trunkline ({found}, not {ABI_VERSION})"
        )
        raise Missing(what, hint=_HINT)


def _import() -> ModuleType:
    from trunkline import _native

    return _native


@dataclass(frozen=True, slots=True)
class Native:
    """What this room uses of the compiled module."""

    engine: "type[_native.Engine]"
    no_port: type[Exception]


def load(find: Callable[[], ModuleType] = _import) -> Native:
    """The compiled module. Raises ``Missing``; imports only now, so that the absence of the build is a
    sentence of whoever needs it and not a traceback of whoever imports this room."""
    try:
        module = find()
    except ImportError as error:
        raise Missing("the native media engine is not built", hint=_HINT) from error
    check(module)
    return Native(module.Engine, module.NoPortError)
