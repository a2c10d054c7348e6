import pytest
from pydantic import ValidationError

from trunkline.engines.realtime.settings import RealtimeSettings, SemanticVad, socket_spec, with_model
from trunkline.model import Secret
from trunkline.telephony.media.port import WireProfile

KEY = Secret("sk-very-secret-key")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://api.openai.com/v1/realtime", "wss://api.openai.com/v1/realtime?model=m%2F1"),
        ("wss://x/v1/realtime?api-version=1", "wss://x/v1/realtime?api-version=1&model=m%2F1"),
        ("wss://x/realtime?model=other", "wss://x/realtime?model=other"),
        ("wss://x/realtime?deployment=d", "wss://x/realtime?deployment=d"),
    ],
)
def test_the_model_goes_into_the_url(url: str, expected: str) -> None:
    assert with_model(url, "m/1") == expected


def test_the_key_is_sent_and_not_shown() -> None:
    spec = socket_spec(url="wss://x", model="m", api_key=KEY, settings=RealtimeSettings())
    assert spec.headers["Authorization"] == "Bearer sk-very-secret-key"
    assert spec.profile is WireProfile.JSON
    assert "secret" not in repr(spec)


def test_azure_takes_its_key_in_a_header_of_its_own() -> None:
    settings = RealtimeSettings(auth="api-key", headers={"X-Trace": "1"})
    spec = socket_spec(url="wss://x", model="m", api_key=KEY, settings=settings)
    assert spec.headers == {"api-key": "sk-very-secret-key", "X-Trace": "1"}


def test_no_key_no_header() -> None:
    assert not socket_spec(url="ws://x", model="m", api_key=None, settings=RealtimeSettings()).headers


@pytest.mark.parametrize(
    ("audio", "encoding", "rate"), [("pcmu", "pcmu", 8000), ("pcma", "pcma", 8000), ("pcm", "pcm16", 24000)]
)
def test_formats_and_rates(audio: str, encoding: str, rate: int) -> None:
    settings = RealtimeSettings.model_validate({"audio": audio})
    spec = socket_spec(url="ws://x", model="m", api_key=None, settings=settings)
    assert (spec.up_encoding, spec.down_encoding, spec.up_rate, spec.down_rate) == (
        encoding,
        encoding,
        rate,
        rate,
    )


def test_turn_detection_is_chosen_by_its_type() -> None:
    chosen = RealtimeSettings.model_validate(
        {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}
    )
    assert chosen.turn_detection == SemanticVad(eagerness="high")


@pytest.mark.parametrize(
    "wrong", [{"voise": "marin"}, {"audio": "mp3"}, {"turn_detection": {"type": "none"}}, {"speed": 9}]
)
def test_mistakes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RealtimeSettings.model_validate(wrong)
