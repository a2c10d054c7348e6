"""From a file to a checked ``Config``: schema, references between sections, then the rooms' own checks.

Every mistake of a stage is reported at once, each with its line. Nothing is started and no secret is read.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.config.documents import Agent, LocalEngine, Root
from trunkline.config.fields import Environ, SecretRef
from trunkline.config.source import Document, Path_, combine, load
from trunkline.model import ConfigError, Secret


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration. ``root`` holds the settings, ``document`` where each of them was written."""

    document: Document
    root: Root

    @property
    def file(self) -> Path:
        """The file it came from."""
        return self.document.file

    @property
    def base_dir(self) -> Path:
        """What relative paths in it are relative to: the file's directory."""
        return self.document.file.parent

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes; a call's record pins it."""
        return self.document.sha256

    @property
    def data_dir(self) -> Path:
        """Directory of the ledger and the recordings."""
        return self.path(self.root.server.data_dir)

    def path(self, written: str) -> Path:
        """A path of the document, made absolute or relative to the process as the file itself is."""
        return self.base_dir / written

    def secret(self, reference: SecretRef, environ: Environ | None = None) -> Secret[str]:
        """Read a secret now. Raises ``ConfigError`` that names the reference."""
        found = environ if environ is not None else Environ(dict(os.environ))
        return reference.resolve(base_dir=self.base_dir, environ=found)


Check = Callable[[Config], Iterable[ConfigError]]
"""A room's look at its own part of the configuration; yields every mistake it finds."""


def load_config(file: Path, *, checks: Sequence[Check] = ()) -> Config:
    """Read and check ``file``. Raises one ``ConfigError`` that lists every mistake with file and line."""
    document = load(file)
    config = Config(document=document, root=document.validate(Root))
    mistakes = list(cross_references(config))
    for check in checks:
        mistakes.extend(check(config))
    if mistakes:
        raise combine(mistakes)
    return config


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the configuration file, for editors."""
    schema = Root.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Trunkline configuration",
    }


def cross_references(config: Config) -> Iterator[ConfigError]:
    """Mistakes between sections: names that nothing has, names given twice, what no call could reach."""
    root, document = config.root, config.document
    yield from _duplicates(document, "trunks", [trunk.name for trunk in root.trunks])
    yield from _duplicates(document, "routes", [route.name for route in root.routes])
    for name, tool in root.tools.items():
        yield from _known(
            document, ("tools", name, "connector"), tool.connector, "connector", root.connectors
        )
    for name, agent in root.agents.items():
        yield from _agent(config, name, agent)
    trunks = [trunk.name for trunk in root.trunks]
    for index, route in enumerate(root.routes):
        yield from _known(document, ("routes", index, "agent"), route.agent, "agent", root.agents)
        if route.trunk is not None:
            yield from _known(document, ("routes", index, "trunk"), route.trunk, "trunk", trunks)


def _agent(config: Config, name: str, agent: Agent) -> Iterator[ConfigError]:
    root, document = config.root, config.document
    here: Path_ = ("agents", name)
    yield from _known(document, (*here, "engine"), agent.engine, "engine", root.engines)
    for key, kind, names, known in (
        ("fallback", "engine", agent.fallback, root.engines),
        ("tools", "tool", agent.tools, root.tools),
        ("queues", "queue", agent.queues, root.queues),
    ):
        for index, wanted in enumerate(names):
            yield from _known(document, (*here, key, index), wanted, kind, known)
    local = [e for e in (agent.engine, *agent.fallback) if isinstance(root.engines.get(e), LocalEngine)]
    if local and agent.dialogue is None:
        yield document.error(
            here,
            f"engine {local[0]!r} runs a dialogue, and this agent has none",
            hint="add dialogue: FILE with the dialogue document",
        )


def _known(
    document: Document, path: Path_, name: str, kind: str, known: Iterable[str]
) -> Iterator[ConfigError]:
    names = sorted(known)
    if name not in names:
        there = ", ".join(names[:12]) if names else "none is defined"
        yield document.error(
            path, f"there is no {kind} {name!r}", hint=f"defined: {there}" if names else there
        )


def _duplicates(document: Document, section: str, names: Sequence[str]) -> Iterator[ConfigError]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield document.error(
                (section, index, "name"), f"{name!r} is used twice", hint="names must differ"
            )
        seen.add(name)
