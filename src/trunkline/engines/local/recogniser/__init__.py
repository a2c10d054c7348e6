"""Telephone speech to words, offline: pocketsphinx behind a learned bandwidth extension.

Owns grammars, pronunciations, features and the decoder pool. Refuses threads, time and meaning: callers run it on
worker threads and interpret the words.
"""

from trunkline.engines.local.recogniser.decoder import NOTHING, START_CMN, Decoders, Hypothesis, Utterance
from trunkline.engines.local.recogniser.features import Network
from trunkline.engines.local.recogniser.grammar import (
    DIGIT_WORDS,
    Grammar,
    Search,
    digits,
    heard_digits,
    language_model,
    phrases,
    spoken_words,
)

__all__ = [
    "DIGIT_WORDS",
    "NOTHING",
    "START_CMN",
    "Decoders",
    "Grammar",
    "Hypothesis",
    "Network",
    "Search",
    "Utterance",
    "digits",
    "heard_digits",
    "language_model",
    "phrases",
    "spoken_words",
]
