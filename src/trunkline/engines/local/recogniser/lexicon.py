"""Pronunciations: the recogniser's dictionary, and letter-to-sound rules for words it does not have."""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from trunkline.model import LocalError, Missing

Pronounce = Callable[[str], list[str]]
"""Phones of a word in CMU's set without stress; empty when it cannot be pronounced."""


@functools.cache
def dictionary(file: Path) -> Mapping[str, tuple[str, ...]]:
    """Words of a CMU-style dictionary, each with its pronunciations; read once per process.

    ``Missing`` when the file is not there.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as failed:
        raise Missing(
            f"the recogniser's dictionary cannot be read: {failed}", hint="reinstall the package pocketsphinx"
        ) from failed
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        word, _, phones = line.partition(" ")
        base = word.partition("(")[0]
        if base:
            found[base] = (*found.get(base, ()), phones)
    return found


def pronunciations(
    words: Iterable[str], known: Mapping[str, tuple[str, ...]], pronounce: Pronounce | None
) -> dict[str, tuple[str, ...]]:
    """Pronunciations of ``words``. ``LocalError`` names the first one that nobody can pronounce."""
    found: dict[str, tuple[str, ...]] = {}
    for word in sorted(words):
        phones = pronounce(word) if word not in known and pronounce is not None else []
        found[word] = known.get(word) or ((" ".join(phones),) if phones else ())
        if not found[word]:
            raise LocalError(
                f"nobody knows how to pronounce {word!r}",
                hint="use a word of the recogniser's English dictionary",
            )
    return found
