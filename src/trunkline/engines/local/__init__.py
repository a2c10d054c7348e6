"""The offline engine: recogniser, dialogue document and voice in this process. No key, no download, no language model.

``voice`` speaks, ``vad`` finds turns, ``recogniser`` makes words of them, ``dialogue`` decides what happens next;
``session`` joins them for one call and ``engine`` shares them between calls.
"""

from trunkline.engines.local.dialogue import DialogueDocument, check_dialogue, load_dialogue
from trunkline.engines.local.engine import LocalEngine, LocalSettings
from trunkline.engines.local.session import LocalEngineSession
from trunkline.engines.local.voice import DEFAULT_VOICE, VOICES, Voices

__all__ = [
    "DEFAULT_VOICE",
    "VOICES",
    "DialogueDocument",
    "LocalEngine",
    "LocalEngineSession",
    "LocalSettings",
    "Voices",
    "check_dialogue",
    "load_dialogue",
]
