"""Two media engines that phone each other over loopback, and engines' sockets that tests can script."""

import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trunkline.telephony.media import (
    Codec,
    MediaConfig,
    MediaEngine,
    MediaEvent,
    MediaPort,
    RtpParameters,
    Tap,
)
from trunkline.testing import Collector

DTMF_TYPE = 101


def tone(hertz: float, ms: int, rate: int, peak: int = 8000) -> bytes:
    """A sine as PCM."""
    times = np.arange(rate * ms // 1000) / rate
    return (peak * np.sin(2 * np.pi * hertz * times)).astype("<i2").tobytes()


def samples(pcm: bytes) -> NDArray[np.float64]:
    """PCM as numbers."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float64)


def loud_ms(audio: NDArray[np.float64], rate: int, threshold: float = 500) -> float:
    """How long the audio is louder than the threshold, in blocks of 5 ms."""
    block = rate // 200
    blocks = audio[: len(audio) // block * block].reshape(-1, block)
    return float(np.count_nonzero(np.sqrt((blocks**2).mean(axis=1)) > threshold) * 5)


def pitch(audio: NDArray[np.float64], rate: int) -> float:
    """The strongest frequency."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return float(np.argmax(spectrum) * rate / len(audio))


@dataclass
class Phone:
    """One end of a call: a port and what it reported."""

    port: MediaPort
    seen: Collector[MediaEvent] = field(default_factory=Collector)

    def call(self, other: "Phone", codec: Codec = Codec.PCMU, **changes: object) -> None:
        """Send to and receive from another phone."""
        values: dict[str, object] = {
            "remote_host": other.port.local_host,
            "remote_port": other.port.local_port,
            "codec": codec,
            "payload_type": {Codec.PCMU: 0, Codec.PCMA: 8, Codec.L16: 96}[codec],
            "dtmf_payload_type": DTMF_TYPE,
        }
        self.port.connect(RtpParameters(**(values | changes)))  # type: ignore[arg-type]

    def heard(self) -> NDArray[np.float64]:
        """All audio of the taps so far."""
        return samples(b"".join(tap.pcm for tap in self.seen.of(Tap)))

    async def heard_for(self, ms: int, rate: int) -> NDArray[np.float64]:
        """Wait until the taps hold so much loud audio; returns all of it."""
        await self.seen.until(lambda: loud_ms(self.heard(), rate) >= ms, what=f"{ms} ms of audio")
        return self.heard()


@pytest.fixture
async def phones() -> AsyncIterator[tuple[Phone, Phone]]:
    """Two phones on two engines."""
    async with (
        MediaEngine(MediaConfig(port_low=12000, port_high=12999)) as here,
        MediaEngine(MediaConfig(port_low=13000, port_high=13999)) as there,
    ):
        pair = Phone(await here.open("here")), Phone(await there.open("there"))
        for phone in pair:
            phone.port.listen(phone.seen)
        yield pair


@dataclass(frozen=True)
class Certificate:
    """A self-made certificate for localhost and 127.0.0.1."""

    path: Path
    server: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Made by openssl, which ca-certificates brings on every Debian."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return Certificate(folder / "cert.pem", context)
