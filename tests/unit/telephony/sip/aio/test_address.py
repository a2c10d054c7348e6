"""Addresses, names and which of ours a peer sees."""

import pytest

from trunkline.model import Nanos, seconds
from trunkline.telephony.sip.aio.address import (
    CACHE_SIZE,
    LocalAddresses,
    Resolver,
    is_literal,
    is_wildcard,
    system_lookup,
)


def test_kinds_of_hosts() -> None:
    assert is_literal("10.0.0.1")
    assert is_literal("::1")
    assert not is_literal("localhost")
    assert is_wildcard("0.0.0.0")
    assert not is_wildcard("127.0.0.1")


async def test_names_are_looked_up_once_in_a_while() -> None:
    now = [Nanos(0)]
    asked: list[str] = []

    async def lookup(host: str) -> str:
        asked.append(host)
        return "192.0.2.1"

    resolver = Resolver(lambda: now[0], lookup)
    assert resolver.cached("10.0.0.1") == "10.0.0.1"
    assert resolver.cached("h") is None
    assert await resolver.resolve("H") == "192.0.2.1"
    assert await resolver.resolve("h") == "192.0.2.1"
    assert asked == ["H"]
    now[0] = seconds(31)
    await resolver.resolve("h")
    assert asked == ["H", "h"]
    for number in range(CACHE_SIZE + 5):
        await resolver.resolve(f"h{number}")
    assert len(resolver._cache) == CACHE_SIZE


async def test_a_slow_look_up_is_an_os_error() -> None:
    async def slow(host: str) -> str:
        raise TimeoutError

    with pytest.raises(OSError, match="in time"):
        await Resolver(lambda: Nanos(0), slow).resolve("h")


async def test_the_system_knows_localhost() -> None:
    assert await system_lookup("localhost") == "127.0.0.1"


def test_our_address_towards_a_peer() -> None:
    assert LocalAddresses("127.0.0.1").towards("10.9.9.9") == "127.0.0.1"
    assert LocalAddresses("127.0.0.1", "203.0.113.5").towards("10.9.9.9") == "203.0.113.5"
    anywhere = LocalAddresses("0.0.0.0")
    assert anywhere.towards("127.0.0.1") == "127.0.0.1"
    assert is_literal(anywhere.towards("some.name.example"))
    assert LocalAddresses("::").towards("::1") == "::1"
    for number in range(CACHE_SIZE + 5):
        anywhere.towards(f"127.1.{number // 250}.{number % 250}")
    assert len(anywhere._routes) == CACHE_SIZE
