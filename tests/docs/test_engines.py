"""The page about Realtime engines names every setting, and its examples are valid."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from trunkline.engines.realtime.settings import RealtimeSettings, SemanticVad, ServerVad, Transcription
from trunkline.engines.realtime.simulator import parse_script
from trunkline.engines.realtime.simulator.script import (
    Fault,
    Handshake,
    Script,
    ServerFailure,
    Tone,
    Transfer,
    Turn,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/engines/realtime.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "model",
    [
        RealtimeSettings,
        ServerVad,
        SemanticVad,
        Transcription,
        Script,
        Handshake,
        Turn,
        Fault,
        Tone,
        Transfer,
        ServerFailure,
    ],
)
def test_every_setting_is_documented(model: type[BaseModel]) -> None:
    documented = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    assert model.model_fields.keys() - {"version"} <= documented
    assert all(field.description for field in model.model_fields.values())


def test_defaults_in_the_table_are_the_real_ones() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE, re.MULTILINE))
    for name in ("speed", "audio", "max_output_tokens", "tool_choice", "auth", "batch_ms", "session_limit_s"):
        assert rows[name].strip().strip("`") == str(RealtimeSettings.model_fields[name].default)
    for name in ("first_audio_ms", "delta_ms", "speech_db", "update_delay_ms"):
        assert float(rows[name]) == Script.model_fields[name].default


def test_the_script_on_the_page_is_valid() -> None:
    (script,) = [parse_script(example) for example in EXAMPLES if "turns:" in example]
    assert len(script.turns) == 4


def test_the_engine_on_the_page_is_valid() -> None:
    engines = [
        engine for example in EXAMPLES for engine in yaml.safe_load(example).get("engines", {}).values()
    ]
    assert len(engines) == 2
    for engine in engines:
        assert engine["kind"] == "realtime"
        RealtimeSettings.model_validate(engine.get("settings", {}))
