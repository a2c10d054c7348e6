"""Pronunciations: the recogniser's dictionary, and letter-to-sound rules for words it does not have."""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from trunkline.model import LocalError, Missing

Pronounce = Callable[[str], list[str]]
"""Phones of a word in CMU's set without stress; empty when it cannot be pronounced."""


@functools.cache
def dictionary(file: Path) -> Mapping[str, str]:
    """Words and phones of a CMU-style dictionary; ``Missing`` when the file is not there. Read once per process."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as failed:
        raise Missing(
            f"the recogniser's dictionary cannot be read: {failed}", hint="reinstall the package pocketsphinx"
        ) from failed
    found: dict[str, str] = {}
    for line in text.splitlines():
        word, _, phones = line.partition(" ")
        if word and "(" not in word:
            found[word] = phones
    return found


def pronunciations(
    words: Iterable[str], known: Mapping[str, str], pronounce: Pronounce | None
) -> dict[str, str]:
    """Phones of every word that ``known`` lacks. ``LocalError`` names the first word nobody can pronounce."""
    added: dict[str, str] = {}
    for word in sorted(words):
        if word in known:
            continue
        phones = pronounce(word) if pronounce is not None else []
        if not phones:
            raise LocalError(
                f"nobody knows how to pronounce {word!r}",
                hint="use a word of the recogniser's English dictionary",
            )
        added[word] = " ".join(phones)
    return added
