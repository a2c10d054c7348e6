"""Text to speech in this process: normalisation, voices, a bounded thread pool.

Owns how things are said. Refuses what is said, and when.
"""

from trunkline.engines.local.voice.flite import VOICES, Flite
from trunkline.engines.local.voice.normalise import normalise
from trunkline.engines.local.voice.voices import DEFAULT_VOICE, RATE, Voices

__all__ = ["DEFAULT_VOICE", "RATE", "VOICES", "Flite", "Voices", "normalise"]
