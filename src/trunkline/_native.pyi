# The Rust media engine. Only ``trunkline.telephony.media`` imports it.
#
# PCM is signed 16-bit little-endian mono. Times are nanoseconds of ``time.monotonic_ns()``.
# Bad arguments raise ``ValueError`` and change nothing.

from collections.abc import Sequence
from os import PathLike
from typing import Any, final

__all__ = [
    "Call",
    "Engine",
    "NoPortError",
    "Resampler",
    "abi_version",
    "debug_build",
    "g711_decode",
    "g711_encode",
    "resample",
    "rms_dbfs",
    "version",
]

abi_version: int
version: str
debug_build: bool

# Every RTP port pair is in use, resting or taken by another process.
class NoPortError(Exception): ...

@final
class Engine:
    # Reactor threads, port range and event queue.

    def __new__(
        cls,
        *,
        host: str,
        port_low: int,
        port_high: int,
        threads: int,
        quarantine_ms: int,
        rtp_silence_ms: int,
    ) -> Engine: ...
    # Descriptor that is readable while events wait.
    def event_fd(self) -> int: ...
    # Up to ``limit`` events in order: ``(call, kind, at, *fields)``.
    def drain(self, limit: int = 256) -> list[tuple[Any, ...]]: ...
    # A new call. Raises ``NoPortError``, ``OSError``, or ``RuntimeError`` after ``shut_down``.
    def open(self) -> Call: ...
    # Counters of the whole engine; ``worst_lag_us`` begins anew with each call.
    def totals(self) -> dict[str, int]: ...
    # Close every call, seal recordings, end the threads. A second time does nothing.
    def shut_down(self) -> None: ...

@final
class Call:
    # One call's media session. Commands never block; after ``close`` they are ignored.

    @property
    def id(self) -> int: ...
    @property
    def port(self) -> int: ...
    def connect(
        self,
        *,
        host: str,
        port: int,
        codec: str,
        payload_type: int,
        clock_rate: int,
        ptime_ms: int,
        dtmf_payload_type: int | None,
        rtcp_port: int | None,
        rtcp_mux: bool,
        direction: str,
    ) -> None: ...
    # ``json``: type key, types, audio key, item key, prefix and suffix; None for binary frames.
    def open_socket(
        self,
        *,
        url: str,
        headers: Sequence[tuple[str, str]],
        subprotocols: Sequence[str],
        json: tuple[str, Sequence[str], str, str, str, str] | None,
        up_encoding: str,
        up_rate: int,
        down_encoding: str,
        down_rate: int,
        batch_ms: int,
        connect_timeout_ms: int,
        max_message_bytes: int,
        ca_file: str | PathLike[str] | None,
    ) -> None: ...
    def close_engine(self) -> None: ...
    def open_tap(self, rate: int, batch_ms: int) -> None: ...
    def send_text(self, text: str) -> None: ...
    def play(self, item: str, pcm: bytes, rate: int) -> None: ...
    def end_item(self, item: str) -> None: ...
    def drop_item(self, item: str) -> None: ...
    def flush(self, fade_ms: int) -> None: ...
    def mask(self, name: str, pcm: bytes, rate: int, mode: str, looped: bool) -> None: ...
    def unmask(self, fade_ms: int) -> None: ...
    def send_dtmf(self, digits: str, duration_ms: int, gap_ms: int) -> None: ...
    # Raises ``OSError`` when the file cannot be created.
    def record(self, path: str | PathLike[str]) -> None: ...
    # The fields of ``MediaStats``, as of the last 20 ms.
    def stats(self) -> dict[str, Any]: ...
    def close(self) -> None: ...

@final
class Resampler:
    # Converts between 8000, 16000 and 24000 Hz, keeping its state from call to call.

    def __new__(cls, from_rate: int, to_rate: int) -> Resampler: ...
    def process(self, pcm: bytes) -> bytes: ...
    def reset(self) -> None: ...

# G.711 of PCM; ``law`` is ``PCMU`` or ``PCMA``.
def g711_encode(pcm: bytes, law: str) -> bytes: ...

# PCM of G.711.
def g711_decode(codes: bytes, law: str) -> bytes: ...

# Convert a whole piece of audio.
def resample(pcm: bytes, from_rate: int, to_rate: int) -> bytes: ...

# Level of the whole piece; 0 dBFS is a square wave of full scale.
def rms_dbfs(pcm: bytes) -> float: ...
