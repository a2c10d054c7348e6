"""Conversations by document: the YAML's models, meaning of words, grammars for each moment, and the sans-IO core.

Owns what is said next. Refuses audio, threads and clocks.
"""

from trunkline.engines.local.dialogue.core import Dialogue, Script
from trunkline.engines.local.dialogue.document import DialogueDocument, check_dialogue, load_dialogue, schema
from trunkline.engines.local.dialogue.events import (
    Answer,
    Begin,
    CallerStarted,
    CallTool,
    Cut,
    Expectation,
    HandOver,
    HangUp,
    Heard,
    Input,
    Mode,
    Output,
    Pressed,
    Quiet,
    Say,
    Tick,
)

__all__ = [
    "Answer",
    "Begin",
    "CallTool",
    "CallerStarted",
    "Cut",
    "Dialogue",
    "DialogueDocument",
    "Expectation",
    "HandOver",
    "HangUp",
    "Heard",
    "Input",
    "Mode",
    "Output",
    "Pressed",
    "Quiet",
    "Say",
    "Script",
    "Tick",
    "check_dialogue",
    "load_dialogue",
    "schema",
]
