"""Wrappers that keep private values out of logs, reprs and tracebacks."""

from typing import Generic, TypeVar

T = TypeVar("T")


class _Hidden(Generic[T]):
    __slots__ = ("_value",)
    _label = "hidden"

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """The value itself. Every call site is a place a reviewer looks at."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value

    def __hash__(self) -> int:
        return hash((type(self), self._value))

    def __repr__(self) -> str:
        return f"<{self._label}>"

    __str__ = __repr__


class Pii(_Hidden[T]):
    """Personal data: shown as ``<pii>`` wherever it is printed."""

    __slots__ = ()
    _label = "pii"


class Secret(_Hidden[T]):
    """A credential: shown as ``<secret>`` wherever it is printed."""

    __slots__ = ()
    _label = "secret"
