"""Identifiers from injected bytes."""

import itertools
import random

from trunkline.model import Nanos
from trunkline.telephony.sip.proto.entropy import Ids


def ids(seed: int = 1) -> Ids:
    return Ids(random.Random(seed).randbytes)


def test_ids_are_unlike_and_well_formed() -> None:
    one = ids()
    assert one.branch().startswith("z9hG4bK")
    assert len({one.branch() for _ in range(100)} | {one.tag() for _ in range(100)}) == 200
    assert len(one.tag()) >= 8
    assert len(one.call_id()) >= 16


def test_the_same_source_gives_the_same_ids() -> None:
    assert [ids(5).tag(), ids(5).call_id()] == [ids(5).tag(), ids(5).call_id()]


def test_numbers_and_spans_stay_in_range() -> None:
    source = ids()
    assert {source.number(3) for _ in range(100)} == {0, 1, 2}
    spans = [source.between(Nanos(2_100_000_000), Nanos(4_000_000_000)) for _ in range(500)]
    assert min(spans) >= 2_100_000_000
    assert max(spans) <= 4_000_000_000
    assert all(span % 10_000_000 == 0 for span in spans)
    assert source.between(Nanos(5), Nanos(5)) == 5


def test_stateless_tags_depend_on_the_request_and_on_a_secret() -> None:
    source = ids()
    assert source.stateless_tag("a", "b") == source.stateless_tag("a", "b")
    assert source.stateless_tag("a", "b") != source.stateless_tag("ab", "")
    assert source.stateless_tag("a") != ids(2).stateless_tag("a")
    assert source.stateless_tag("\udcff")


def test_entropy_is_asked_for_what_is_needed() -> None:
    counter = itertools.count()

    def source(size: int) -> bytes:
        return next(counter).to_bytes(size, "big")

    assert Ids(source).tag() == "0000000000000001"
