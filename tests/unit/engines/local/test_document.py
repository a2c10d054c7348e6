"""Dialogue documents: what is accepted, and where mistakes are pointed at."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from trunkline.config.source import parse
from trunkline.engines.local.dialogue import DialogueDocument, check_dialogue, load_dialogue, schema
from trunkline.model import ConfigError

ORDERS = Path(__file__).parents[4] / "src/trunkline/demo/data/dialogues/orders.yaml"

GOOD = dedent("""\
    version: 1
    help: "Ask for an order."
    intents:
      status:
        key: "1"
        examples:
          - "where is my order"
          - "order {number}"
        steps:
          - ask: number
          - call: lookup
            arguments: {id: "{number}"}
    slots:
      number:
        kind: digits
        length: 5
        prompt: "Which?"
        confirm: "{number}?"
    """)


def check(text: str) -> DialogueDocument:
    return check_dialogue(parse(text.encode(), Path("talk.yaml")))


def test_the_demo_s_dialogue_is_sound() -> None:
    document = load_dialogue(ORDERS)
    assert document.intents["order_status"].steps[1].model_dump()["call"] == "order_status"
    assert document.person.queue == "support"


def test_a_dumped_document_is_the_same_document() -> None:
    document = load_dialogue(ORDERS)
    assert DialogueDocument.model_validate(document.model_dump()) == document
    assert DialogueDocument.model_validate(json.loads(document.model_dump_json())) == document


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("version: 1", "version: 2", 1, "version"),
        ("help:", "hlep:", 1, "help"),
        ('key: "1"', 'key: "12"', 5, "key"),
        ('key: "1"', 'key: "0"', 5, "already means a person"),
        ('"where is my order"', '"where is order 5"', 7, "'5' cannot be recognised"),
        ('"where is my order"', '"wo war die Tür"', 7, "cannot be recognised"),
        ('"where is my order"', '"?!"', 7, "has no words"),
        ('"order {number}"', '"order {nummer}"', 8, "{nummer} is not a digits slot"),
        ("ask: number", "ask: nummer", 10, "there is no slot nummer"),
        ("ask: number", "ask: number\n        retries: 3", 11, "retries"),
        ('{id: "{number}"}', '{id: "{order}"}', 12, "nothing is called {order}"),
        ("kind: digits", "kind: letters", 15, "kind"),
        ("length: 5", "length: 99", 16, "length"),
        ("length: 5", "min_length: 9\n    max_length: 3", 14, "min_length is greater"),
        ('"{number}?"', '"{nummer}?"', 18, "nothing is called {nummer}"),
        ("- ask: number", "- hang_up: Bye", 10, "remove the steps after it"),
        ("- ask: number", "- dance: tango", 10, "say"),
    ],
)
def test_mistakes_are_reported_with_their_line(old: str, new: str, line: int, message: str) -> None:
    assert GOOD.count(old) == 1, "the test changes exactly one place"
    with pytest.raises(ConfigError) as caught:
        check(GOOD.replace(old, new))
    assert message in str(caught.value)
    assert f"talk.yaml:{line}:" in str(caught.value)


def test_all_mistakes_are_reported_at_once() -> None:
    text = GOOD.replace("ask: number", "ask: nummer").replace('"{number}?"', '"{nobody}?"')
    with pytest.raises(ConfigError) as caught:
        check(text)
    assert "talk.yaml:10:" in str(caught.value)
    assert "talk.yaml:18:" in str(caught.value)


def test_an_example_belongs_to_one_intent() -> None:
    more = '  other:\n    examples: ["Where is my order?"]\n    steps: [{say: "Here."}]\nslots:'
    with pytest.raises(ConfigError, match="also an example of the intent status"):
        check(GOOD.replace("slots:", more))


def test_the_schema_names_every_key_with_its_bounds() -> None:
    described = schema()
    assert set(DialogueDocument.model_fields) == set(described["properties"])
    assert described["additionalProperties"] is False
    assert described["properties"]["silence_ms"]["minimum"] == 1000
    json.dumps(described)
