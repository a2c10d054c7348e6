import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.model import Pii, Secret
from trunkline.trust.ledger.chain import canonical, genesis, link

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_canonical_form() -> None:
    assert canonical({"b": [1, 2.5, None, True], "a": "é"}) == '{"a":"é","b":[1,2.5,null,true]}'
    assert canonical({"who": Pii("Maria"), "key": Secret("k"), "set": {"b", "a"}}) == (
        '{"key":"<secret>","set":["a","b"],"who":"Maria"}'
    )
    with pytest.raises(TypeError, match="object cannot be written"):
        canonical({"x": object()})


def test_the_chain_as_the_documentation_describes_it() -> None:
    first = genesis({"id": "call-1"})
    assert first == hashlib.sha256(b'{"id":"call-1"}').digest()
    second = link(first, 1, 5, "held", "{}")
    assert second == hashlib.sha256(first + b'[1,5,"held",{}]').digest()


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_order_of_keys_does_not_matter(data: dict[str, object]) -> None:
    backwards = dict(reversed(list(data.items())))
    assert canonical(data) == canonical(backwards)


@given(st.integers(1, 9), st.integers(-9, 9), st.text(max_size=4), JSON, st.integers(1, 9), JSON)
def test_different_entries_have_different_links(
    seq: int, at: int, kind: str, data: object, other_seq: int, other: object
) -> None:
    one = link(b"", seq, at, kind, canonical(data))
    two = link(b"", other_seq, at, kind, canonical(other))
    assert (one == two) == ((seq, canonical(data)) == (other_seq, canonical(other)))
