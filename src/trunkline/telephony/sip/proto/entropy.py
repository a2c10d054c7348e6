"""Randomness as an argument: tags, branches, Call-IDs and random delays are made from injected bytes."""

import hashlib
from collections.abc import Callable
from typing import Final

from trunkline.model import Nanos
from trunkline.telephony.sip.proto.headers import MAGIC_COOKIE

Entropy = Callable[[int], bytes]
"""Gives that many unpredictable bytes: ``os.urandom`` in production, a seeded source in tests."""

_TAG_BYTES: Final = 8


class Ids:
    """Identifiers of SIP, from one source of entropy."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._secret = entropy(16)

    def branch(self) -> str:
        """A Via branch of RFC 3261 (at least 64 random bits)."""
        return MAGIC_COOKIE + self._entropy(10).hex()

    def tag(self) -> str:
        """A From or To tag (RFC 3261 section 19.3 asks for 32 bits)."""
        return self._entropy(_TAG_BYTES).hex()

    def call_id(self) -> str:
        return self._entropy(16).hex()

    def number(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1."""
        return int.from_bytes(self._entropy(6), "big") % limit

    def between(self, low: Nanos, high: Nanos) -> Nanos:
        """A span between two others, in steps of 10 ms (as RFC 3261 section 14.1 wants)."""
        step = 10_000_000
        return Nanos(low + step * self.number(max(1, (high - low) // step + 1)))

    def stateless_tag(self, *parts: str) -> str:
        """A tag that is the same for every retransmission of a request, without keeping state."""
        digest = hashlib.blake2b("\n".join(parts).encode("utf-8", "surrogateescape"), key=self._secret)
        return digest.hexdigest()[: _TAG_BYTES * 2]
