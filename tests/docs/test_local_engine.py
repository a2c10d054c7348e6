"""The page about the local engine names every key and default, and its examples are valid."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from trunkline.config.source import parse
from trunkline.engines.local import LocalSettings, check_dialogue
from trunkline.engines.local.dialogue import document

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/engines/local.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ROWS = dict(reversed(re.findall(r"^\| `([\w.]+)` \| ([^|]+) \|", PAGE, re.MULTILINE)))
"""First occurrences: the tables of the settings and of the top level come first."""

MODELS = [LocalSettings] + [
    model
    for model in vars(document).values()
    if isinstance(model, type) and issubclass(model, BaseModel) and not model.__name__.startswith("_")
    if model.__module__ == document.__name__
]


def test_all_models_are_looked_at() -> None:
    assert {"DialogueDocument", "Intent", "DigitsSlot", "CallStep", "Person"} <= {m.__name__ for m in MODELS}


@pytest.mark.parametrize("model", MODELS)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    documented = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    assert model.model_fields.keys() <= documented
    assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize(
    ("prefix", "model"),
    [
        ("", LocalSettings),
        ("", document.DialogueDocument),
        ("person.", document.Person),
        ("goodbye.", document.Goodbye),
        ("anything_else.", document.AnythingElse),
        ("phrases.", document.Phrases),
    ],
)
def test_defaults_in_the_tables_are_the_real_ones(prefix: str, model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            continue
        told = ROWS[prefix + name].strip().strip("`")
        if field.default is PydanticUndefined:
            assert told in ("required", "{}"), name
        elif isinstance(field.default, tuple):
            assert told == f"[{', '.join(field.default)}]", name
        else:
            assert told == (str(field.default) or "none"), name


def test_the_examples_are_valid() -> None:
    (dialogue,) = [example for example in EXAMPLES if "intents:" in example]
    assert check_dialogue(parse(dialogue.encode(), Path("local.md"))).person.queue == "support"
    (agent,) = [yaml.safe_load(example) for example in EXAMPLES if "agents:" in example]
    LocalSettings.model_validate(agent["engines"]["local"].get("settings", {}))
