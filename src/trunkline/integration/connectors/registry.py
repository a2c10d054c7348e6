"""Which kinds of connectors there are: our own, and those that installed packages offer by entry point."""

import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from trunkline.config.source import Document, Path_
from trunkline.integration.connectors.contract import Connector, Factory
from trunkline.model import ConfigError

GROUP: Final = "trunkline.connectors"
"""Entry point group: name is the kind, value a ``Factory``."""

BUILT_IN: Final[Mapping[str, str]] = {"sql": "trunkline.integration.connectors.sql:create"}


def kinds() -> tuple[str, ...]:
    """Names of all kinds, for messages and ``trunkline check``."""
    return tuple(sorted({*BUILT_IN, *_installed()}))


def create_connector(kind: str, settings: Document) -> Connector:
    """A connector of ``kind`` from its settings. Raises ``ConfigError`` for a kind nobody offers, for one that
    cannot be loaded, and for settings it does not accept."""
    return _factory(kind, settings)(settings)


def settings_of(document: Document, path: Path_) -> Document:
    """The part of a document at ``path`` as a document of its own, with the lines of the whole."""
    data = document.data
    for step in path:
        data = data.get(step, {}) if isinstance(data, dict) else {}
    depth = len(path)
    lines = {place[depth:]: line for place, line in document.lines.items() if place[:depth] == path}
    lines.setdefault((), document.line(path))
    return Document(file=document.file, data=data, lines=lines, sha256=document.sha256)


def _factory(kind: str, settings: Document) -> Factory:
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        built_in: Factory = getattr(importlib.import_module(module), name)
        return built_in
    found = _installed().get(kind)
    if found is None:
        raise settings.error(
            (), f"there is no connector of kind {kind!r}", hint=f"installed: {', '.join(kinds())}"
        )
    try:
        loaded: Factory = found.load()
    except ImportError as missing:
        raise ConfigError(
            f"connector {kind!r} cannot be loaded: {missing}",
            file=settings.file,
            line=settings.line(()),
            hint=f"it comes from {found.value}; install what it needs",
        ) from missing
    return loaded


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in BUILT_IN}
