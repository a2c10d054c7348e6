"""G.711 on the wire and WAV files."""

from pathlib import Path

import numpy as np
import pytest

from trunkline.model import LocalError
from trunkline.operations.phone.audio import decode, read_playable, read_wav, write_wav
from trunkline.telephony.media.port import Codec


@pytest.mark.parametrize(
    ("codec", "code", "sample"),
    [
        (Codec.PCMU, 0xFF, 0),
        (Codec.PCMU, 0x7F, 0),
        (Codec.PCMU, 0x80, 32124),
        (Codec.PCMU, 0x00, -32124),
        (Codec.PCMU, 0xEF, 132),
        (Codec.PCMA, 0xD5, 8),
        (Codec.PCMA, 0x55, -8),
        (Codec.PCMA, 0xAA, 32256),
        (Codec.PCMA, 0x2A, -32256),
        (Codec.PCMA, 0xC5, 264),
    ],
)
def test_g711_codes_expand_as_the_tables_of_itu_t_g711_say(codec: Codec, code: int, sample: int) -> None:
    assert decode(codec, bytes([code])).tolist() == [sample]


def test_l16_is_big_endian_and_a_torn_last_byte_is_ignored() -> None:
    assert decode(Codec.L16, b"\x01\x02\xff\xfe\x07").tolist() == [0x0102, -2]


def test_two_channels_of_unequal_length_come_back_as_written(tmp_path: Path) -> None:
    left, right = np.arange(100, dtype=np.int16), np.full(40, -5, dtype=np.int16)
    write_wav(tmp_path / "new" / "both.wav", left, right)
    samples, rate = read_wav(tmp_path / "new" / "both.wav")
    assert rate == 8000
    assert samples[:, 0].tolist() == left.tolist()
    assert samples[:, 1].tolist() == right.tolist() + [0] * 60


def test_a_playable_file_is_mono_at_a_rate_the_media_core_knows(tmp_path: Path) -> None:
    write_wav(tmp_path / "ok.wav", np.array([1, -2], dtype=np.int16), rate=16000)
    assert read_playable(tmp_path / "ok.wav") == (b"\x01\x00\xfe\xff", 16000)


def test_files_that_cannot_be_played_are_refused_with_what_to_do(tmp_path: Path) -> None:
    write_wav(tmp_path / "cd.wav", np.zeros(4, np.int16), np.zeros(4, np.int16), rate=44100)
    with pytest.raises(LocalError, match=r"2 channel\(s\) at 44100 Hz.*sox"):
        read_playable(tmp_path / "cd.wav")
    (tmp_path / "text.wav").write_text("no audio at all")
    with pytest.raises(LocalError, match="not a WAV file"):
        read_wav(tmp_path / "text.wav")
    with pytest.raises(LocalError, match="cannot read: No such file"):
        read_wav(tmp_path / "missing.wav")
