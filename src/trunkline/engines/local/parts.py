"""What all calls of the local engine share: voices, detectors, decoders, and compiled dialogue documents."""

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from trunkline.engines.local.dialogue import DialogueDocument, Script
from trunkline.engines.local.listener import Listener
from trunkline.engines.local.recogniser import Decoders, Grammar
from trunkline.engines.local.vad import Detectors
from trunkline.engines.local.voice import DEFAULT_VOICE, VOICES, Voices
from trunkline.model import ConfigError

MAX_SCRIPTS: Final = 64
"""Dialogue documents kept compiled."""

log = logging.getLogger(__name__)


class Parts:
    """Safe for threads."""

    def __init__(
        self, *, voices: Voices, detectors: Detectors, decoders: Decoders, voice: str = DEFAULT_VOICE
    ) -> None:
        self.voices = voices
        self.detectors = detectors
        self.decoders = decoders
        self._default_voice = voice
        self._lock = threading.Lock()
        self._scripts: OrderedDict[str, Script] = OrderedDict()

    def script(self, document: Mapping[str, Any]) -> Script:
        """A document compiled, from the cache where possible. ``ConfigError`` when it is none."""
        key = json.dumps(document, sort_keys=True, default=str)
        with self._lock:
            known = self._scripts.get(key)
            if known is not None:
                self._scripts.move_to_end(key)
                return known
        try:
            script = Script(DialogueDocument.model_validate(document))
        except ValidationError as invalid:
            raise ConfigError(
                f"the agent's dialogue document cannot be used: {invalid.errors()[0]['msg']}",
                hint="give the agent a dialogue: see the local engine's documentation",
            ) from None
        _ = script.listening.grammars
        with self._lock:
            self._scripts[key] = script
            while len(self._scripts) > MAX_SCRIPTS:
                self._scripts.popitem(last=False)
        return script

    def listener(self, script: Script) -> Listener:
        """Ears for one call."""
        return Listener(self.detectors.detector(), self.decoders, script.listening.grammars)

    def voice(self, name: str) -> str:
        """``name`` when there is such a voice, else the default."""
        if name in VOICES:
            return name
        if name:
            log.warning(
                "there is no voice %r; %s speaks instead (voices: %s)", name, self._default_voice, VOICES
            )
        return self._default_voice

    def grammars(self) -> tuple[Grammar, ...]:
        """Grammars of all documents compiled so far."""
        with self._lock:
            scripts = list(self._scripts.values())
        return tuple(grammar for script in scripts for grammar in script.listening.grammars.values())
