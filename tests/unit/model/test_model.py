"""The words: ids, units, errors and private values."""

import copy
import traceback

import pytest

from trunkline import model
from trunkline.model import ConfigError, Pii, RemoteError, Secret, TrunklineError, ms, seconds, to_ms
from trunkline.model.ids import make_id


def test_exports_are_exactly_what_is_listed() -> None:
    assert len(set(model.__all__)) == len(model.__all__)
    assert all(hasattr(model, name) for name in model.__all__)


def test_units_convert_both_ways() -> None:
    assert ms(20) == 20_000_000
    assert seconds(1.5) == ms(1500)
    assert to_ms(ms(12.5)) == 12.5


def test_an_id_shows_what_it_names_and_needs_entropy() -> None:
    assert make_id("call", bytes.fromhex("00112233445566ff")) == "call-00112233445566ff"
    with pytest.raises(ValueError, match="8 bytes"):
        make_id("call", b"short")


@pytest.mark.parametrize("wrapper", [Pii, Secret])
def test_private_values_never_print_themselves(wrapper: type[Pii[str]] | type[Secret[str]]) -> None:
    value = wrapper("4111111111111111")
    shown = f"{value} {value!r} {[value]}"
    assert "4111" not in shown
    assert value.reveal() == "4111111111111111"
    try:
        raise RuntimeError(value)
    except RuntimeError as failed:
        assert "4111" not in "".join(traceback.format_exception(failed))


def test_private_values_compare_within_their_kind_only() -> None:
    assert Pii("a") == Pii("a")
    assert Pii("a") != Pii("b")
    assert Pii("a") != Secret("a")
    assert len({Pii("a"), Pii("a"), Secret("a")}) == 2
    assert copy.copy(Pii("a")) == Pii("a")


def test_a_configuration_error_says_where_what_and_how() -> None:
    error = ConfigError("port: must be below 65536", file="trunkline.yaml", line=7, hint="use 5060")
    assert str(error) == "trunkline.yaml:7: port: must be below 65536 (use 5060)"
    assert str(ConfigError("unreadable", file="a.yaml")) == "a.yaml: unreadable"
    assert str(ConfigError("empty")) == "empty"


def test_every_error_has_one_root() -> None:
    exported = [getattr(model, name) for name in model.__all__]
    errors = [kind for kind in exported if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(errors) >= 9
    assert all(issubclass(kind, TrunklineError) for kind in errors)
    assert str(RemoteError("gone", hint="wait")) == "gone (wait)"
