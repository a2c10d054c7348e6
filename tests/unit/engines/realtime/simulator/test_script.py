import pytest

from trunkline.engines.realtime.simulator import DEFAULT_SCRIPT, parse_script
from trunkline.engines.realtime.simulator.script import END_CALL, TRANSFER
from trunkline.model import ConfigError


def test_a_script_with_everything() -> None:
    script = parse_script("""
        version: 1
        first_audio_ms: 300
        pace: 5
        handshakes: [{status: 503, retry_after_s: 1}, {delay_ms: 200}]
        turns:
          - {expect: request, say: "Hello.", first_audio_ms: 100}
          - {heard: "order 4711", calls: [{name: a, arguments: {n: 1}}, {name: b, raw: "{"}]}
          - {say: "One moment.", transfer: {queue: support, summary: "angry"}}
          - {tone: {hz: 440, ms: 1000}, hang_up: done}
          - {say: "x", fault: {close: 1011, after_ms: 50}}
    """)
    assert script.handshakes[0].retry_after_s == 1
    assert [call.name for call in script.turns[1].all_calls()] == ["a", "b"]
    assert script.turns[2].all_calls()[0].arguments["queue"] == "support"
    assert [turn.all_calls()[0].name for turn in script.turns[2:4]] == [TRANSFER, END_CALL]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("turns:\n- {}", 2, "at least one of say"),
        ("turns:\n- say: a\n- {say: b, tone: {hz: 100, ms: 100}}", 3, "exclude"),
        ("turns:\n- say: a\n  fault: {close: 1011, drop: true}", 3, "exactly one"),
        ("turns:\n- say: a\n  fault: {}", 3, "exactly one"),
        ("turns:\n- sya: a", 2, "sya"),
        ("handshakes:\n- status: 200", 2, "101"),
        ("pace: 0", 1, "pace"),
        ("turns: [", 1, "YAML"),
    ],
)
def test_mistakes_are_reported_with_their_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as mistake:
        parse_script(text)
    assert mistake.value.line == line
    assert words in str(mistake.value)


def test_the_default_script_greets_and_answers() -> None:
    assert len(DEFAULT_SCRIPT.turns) == 2
