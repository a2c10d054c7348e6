"""The configuration file: what it may hold, and what is said about what it may not."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from trunkline.config import (
    CombinedConfigError,
    Config,
    DnisPattern,
    Environ,
    LocalEngine,
    PatternKind,
    PortRange,
    RealtimeEngine,
    Root,
    SecretRef,
    combine,
    json_schema,
    load_config,
)
from trunkline.model import ConfigError, Secret

GOOD = """\
version: 1
trunks:
  - {name: pbx, sources: ["127.0.0.0/8"], codecs: [PCMU, PCMA]}
queues:
  support: {target: "sip:human@127.0.0.1:5090"}
engines:
  local: {kind: local}
  openai: {kind: realtime, url: "wss://api.example/v1", model: m, api_key: "secret://env/KEY"}
connectors:
  erp: {kind: sql, settings: {url: "sqlite:///legacy.db"}}
tools:
  order_status:
    connector: erp
    operation: find_order
    description: Look up an order.
    parameters: {type: object, required: [n], properties: {n: {type: string}}}
agents:
  orders:
    engine: local
    fallback: [openai]
    dialogue: orders.yaml
    tools: [order_status]
    queues: [support]
routes:
  - {name: orders, trunk: pbx, dnis: "1000", agent: orders}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trunkline.yaml"


def load(file: Path, text: str = GOOD) -> Config:
    file.write_text(text)
    return load_config(file)


def mistakes(file: Path, text: str) -> list[str]:
    """``line: message`` of every mistake."""
    with pytest.raises(ConfigError) as refused:
        load(file, text)
    error = refused.value
    errors = error.errors if isinstance(error, CombinedConfigError) else (error,)
    assert {one.file for one in errors} == {str(file)}
    return [f"{one.line}: {one.what}" for one in errors]


def test_a_good_document(file: Path) -> None:
    config = load(file)
    assert isinstance(config.root.engines["local"], LocalEngine)
    assert isinstance(config.root.engines["openai"], RealtimeEngine)
    assert config.root.server.sip.port == 5060
    assert config.root.server.media.ports == PortRange(20000, 29999)
    assert config.data_dir == file.parent / ".trunkline"
    assert config.root.agents["orders"].fallback == ("openai",)
    assert len(config.sha256) == 64


def test_the_hash_is_of_the_bytes(file: Path) -> None:
    first = load(file).sha256
    assert load(file, GOOD + "# a comment\n").sha256 != first
    assert load(file).sha256 == first


def test_an_empty_file_says_what_is_missing(file: Path) -> None:
    assert mistakes(file, "") == ["1: version: is required"]


def test_all_mistakes_at_once_each_with_its_line(file: Path) -> None:
    text = """\
version: 1
server:
  sip: {host: localhost, prot: 5060}
  media: {ports: 9-1}
trunks:
  - {name: pbx, sources: ["10.0.0.0/99"]}
engines:
  local: {kind: locl}
routes:
  - {name: orders, dnis: 1000, agent: orders}
"""
    found = mistakes(file, text)
    assert [line.split(": ", 2)[:2] for line in found] == [
        ["3", "server.sip.host"],
        ["3", "server.sip.prot"],
        ["4", "server.media.ports"],
        ["6", "trunks.0.sources.0"],
        ["8", "engines.local.kind"],
        ["10", "routes.0.dnis"],
    ]


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("agent: orders}", "agent: nobody}", 25, "routes.0.agent: there is no agent 'nobody'"),
        ("trunk: pbx", "trunk: none", 25, "routes.0.trunk: there is no trunk 'none'"),
        ("engine: local", "engine: gone", 19, "agents.orders.engine: there is no engine 'gone'"),
        ("fallback: [openai]", "fallback: [gone]", 20, "agents.orders.fallback.0: there is no engine 'gone'"),
        (
            "tools: [order_status]",
            "tools: [nothing]",
            22,
            "agents.orders.tools.0: there is no tool 'nothing'",
        ),
        ("queues: [support]", "queues: [nobody]", 23, "agents.orders.queues.0: there is no queue 'nobody'"),
        ("connector: erp", "connector: crm", 13, "tools.order_status.connector: there is no connector 'crm'"),
        (
            "    dialogue: orders.yaml\n",
            "",
            18,
            "agents.orders: engine 'local' runs a dialogue, and this agent has none",
        ),
        ('"secret://env/KEY"', "sk-plain", 8, "engines.openai.api_key: write where the secret is kept"),
        ("wss://api.example", "https://api.example", 8, "engines.openai.url: write a WebSocket URL"),
        (
            "wss://api.example",
            "wss://me:pw@api.example",
            8,
            "engines.openai.url: credentials do not belong in a URL",
        ),
        ("sip:human@", "human@", 5, "queues.support.target: write a sip:, sips: or tel: URI"),
        ("sip:human@", "sip:hu man@", 5, "queues.support.target: a URI has no spaces"),
        ("type: object", "type: string", 12, "tools.order_status: parameters: the JSON Schema"),
        ("codecs: [PCMU, PCMA]", "codecs: []", 3, "trunks.0.codecs: "),
        ("codecs: [PCMU, PCMA]", "codecs: [G722]", 3, "trunks.0.codecs.0: "),
        ("version: 1", "version: 2", 1, "version: "),
        ("  - {name: orders, trunk", "  - {name: Orders!, trunk", 25, "routes.0.name: "),
        ("agent: orders}", "agent: orders, agnt: x}", 25, "routes.0.agnt: unknown setting"),
        ('dnis: "1000"', 'dnis: "/[/"', 25, "routes.0.dnis: not a regular expression"),
    ],
)
def test_what_is_said_about_a_mistake(file: Path, before: str, after: str, line: int, message: str) -> None:
    assert before in GOOD
    text = GOOD.replace(before, after, 1)
    assert any(found.startswith(f"{line}: {message}") for found in mistakes(file, text)), mistakes(file, text)


def test_a_misspelt_setting_is_guessed(file: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean greeting"):
        load(file, GOOD.replace("    engine: local\n", "    engine: local\n    greting: hi\n"))


def test_names_given_twice(file: Path) -> None:
    route = "  - {name: orders, agent: orders}\n"
    assert mistakes(file, GOOD + route) == ["26: routes.1.name: 'orders' is used twice"]


def test_a_remote_api_needs_to_be_asked_for(file: Path) -> None:
    remote = GOOD + 'server: {http: {host: "0.0.0.0"}}\n'
    assert "has no authentication" in mistakes(file, remote)[0]
    allowed = GOOD + 'server: {http: {host: "0.0.0.0", allow_remote: true}}\n'
    assert load(file, allowed).root.server.http.allow_remote


def test_a_mask_after_the_deadline_is_a_mistake(file: Path) -> None:
    text = GOOD.replace(
        "    operation: find_order\n", "    operation: find_order\n    budget: {mask_ms: 900, hard_ms: 900}\n"
    )
    assert "mask_ms must be less than hard_ms" in mistakes(file, text)[0]


def test_room_checks_are_asked_and_their_mistakes_listed_together(file: Path) -> None:
    file.write_text(GOOD)
    with pytest.raises(CombinedConfigError) as refused:
        load_config(
            file,
            checks=[
                lambda c: [c.document.error(("agents", "orders"), "first")],
                lambda c: [c.document.error(("routes", 0), "second")],
            ],
        )
    assert [error.line for error in refused.value.errors] == [18, 25]


def test_checks_see_only_a_document_of_the_right_shape(file: Path) -> None:
    def unreachable(_: Config) -> list[ConfigError]:
        raise AssertionError

    file.write_text(GOOD.replace("version: 1", "version: 3"))
    with pytest.raises(ConfigError):
        load_config(file, checks=[unreachable])


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read: No such file"):
        load_config(tmp_path / "none.yaml")


# --- fields ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["20000", "20000-", "1000-2000", "30000-20000", "20000-20000", "20000-70000", ""]
)
def test_bad_port_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        PortRange.parse(text)


def test_secrets_are_read_late_and_never_shown(tmp_path: Path) -> None:
    environ = Environ({"KEY": "hunter2"})
    secret = SecretRef.parse("secret://env/KEY").resolve(base_dir=tmp_path, environ=environ)
    assert secret == Secret("hunter2")
    assert "hunter2" not in f"{secret!r} {environ!r}"
    (tmp_path / "key").write_text("filed\n")
    assert SecretRef.parse("secret://file/key").resolve(base_dir=tmp_path, environ=environ) == Secret("filed")


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("secret://env/NONE", "is not set"),
        ("secret://file/none", "cannot be read: No such file"),
        ("secret://file/empty", "is empty"),
        ("secret://file/binary", "not UTF-8"),
    ],
)
def test_a_secret_that_is_not_there(tmp_path: Path, reference: str, what: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=what):
        SecretRef.parse(reference).resolve(base_dir=tmp_path, environ=Environ({}))


@pytest.mark.parametrize("text", ["hunter2", "secret://vault/x", "secret://env/", "secret://env/A B", 7])
def test_what_is_no_reference_to_a_secret(text: object) -> None:
    with pytest.raises(ValueError, match=r"secret|environment"):
        SecretRef.parse(text)


@pytest.mark.parametrize(
    ("pattern", "kind", "yes", "no"),
    [
        ("1000", PatternKind.EXACT, ["1000"], ["10001", "100", ""]),
        ("10*", PatternKind.PREFIX, ["10", "1000"], ["1", "2010"]),
        ("*", PatternKind.PREFIX, ["", "anything"], ["9" * 200]),
        ("/10[0-9]{2}/", PatternKind.REGEX, ["1000", "1099"], ["10000", "x1000"]),
        ("+4930*", PatternKind.PREFIX, ["+493012"], ["004930"]),
    ],
)
def test_number_patterns(pattern: str, kind: PatternKind, yes: list[str], no: list[str]) -> None:
    parsed = DnisPattern.parse(pattern)
    assert (parsed.kind, str(parsed)) == (kind, pattern)
    assert [parsed.matches(number) for number in yes] == [True] * len(yes)
    assert [parsed.matches(number) for number in no] == [False] * len(no)


# --- schema ------------------------------------------------------------------------------------------------


def test_the_schema_describes_every_setting() -> None:
    schema = json_schema()
    json.dumps(schema)
    for name, part in schema["$defs"].items():
        for setting, content in part.get("properties", {}).items():
            described = content.get("description") or content.get("$ref")
            assert described, f"{name}.{setting}"


def test_every_model_refuses_what_it_does_not_know() -> None:
    def models(model: type[BaseModel]) -> set[type[BaseModel]]:
        return {model}.union(*(models(sub) for sub in model.__subclasses__()))

    from trunkline.config.fields import Strict

    for model in models(Strict):
        assert model.model_config["extra"] == "forbid"
    assert Root in models(Strict)


def test_errors_are_sorted_by_place() -> None:
    errors = [ConfigError("b", file="x", line=9), ConfigError("a", file="x", line=2)]
    combined = combine(errors)
    assert isinstance(combined, CombinedConfigError)
    assert [error.line for error in combined.errors] == [2, 9]
    assert str(combined) == "x:2: a\nx:9: b"
    assert combine(errors[:1]) is errors[0]
