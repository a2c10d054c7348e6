"""Pure audio helpers of the native engine, for phones, local engines and tests.

PCM is signed 16-bit little-endian mono. Raises ``ValueError`` for an odd number of bytes or a rate
other than 8000, 16000 or 24000 Hz, ``ImportError`` when the native part is not built.
"""

from trunkline._native import Resampler, g711_decode, g711_encode, resample, rms_dbfs

__all__ = ["Resampler", "g711_decode", "g711_encode", "resample", "rms_dbfs"]
