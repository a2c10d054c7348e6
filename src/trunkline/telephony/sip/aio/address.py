"""Addresses: literal or name, which of ours a peer can reach, and resolving names within bounds.

DNS SRV and NAPTR are not looked up here; a name means its A or AAAA record.
"""

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from trunkline.model import Nanos, seconds

Resolve = Callable[[str], Awaitable[str]]
"""A host name → one literal address; raises ``OSError`` when there is none."""

CACHE_SIZE: Final = 1024
CACHE_TIME: Final = seconds(30)
RESOLVE_TIMEOUT_S: Final = 5.0


def is_literal(host: str) -> bool:
    """Whether ``host`` is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_wildcard(host: str) -> bool:
    """Whether ``host`` means all addresses of this machine."""
    return host in {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound


class Resolver:
    """Names to addresses by the system's resolver, with a small cache for answers."""

    def __init__(self, now: Callable[[], Nanos], lookup: Resolve | None = None) -> None:
        self._now = now
        self._lookup = lookup or system_lookup
        self._cache: OrderedDict[str, tuple[Nanos, str]] = OrderedDict()

    def cached(self, host: str) -> str | None:
        """A literal address, or a fresh answer; None when a look-up is needed."""
        if is_literal(host):
            return host
        found = self._cache.get(host.lower())
        if found is None or found[0] < self._now():
            return None
        return found[1]

    async def resolve(self, host: str) -> str:
        """One address of ``host``. Raises ``OSError``, also when it takes longer than 5 s."""
        cached = self.cached(host)
        if cached is not None:
            return cached
        try:
            address = await asyncio.wait_for(self._lookup(host), RESOLVE_TIMEOUT_S)
        except TimeoutError as error:
            raise OSError(f"{host} could not be resolved in time") from error
        self._cache[host.lower()] = (Nanos(self._now() + CACHE_TIME), address)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return address


async def system_lookup(host: str) -> str:
    """First address of the system's answer, IPv4 before IPv6."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    if not found:
        raise OSError(f"{host} has no address")
    return str(found[0][4][0])


class LocalAddresses:
    """Our address as a peer sees it: the bound one, the advertised one, or that of the route to the peer."""

    def __init__(self, host: str, advertise: str = "") -> None:
        self._host = host
        self._advertise = advertise
        self._routes: OrderedDict[str, str] = OrderedDict()

    def towards(self, remote: str) -> str:
        """Address to put into Via, Contact and SDP for ``remote``."""
        if self._advertise:
            return self._advertise
        if not is_wildcard(self._host):
            return self._host
        known = self._routes.get(remote)
        if known is None:
            known = self._routes[remote] = _route_source(remote)
            while len(self._routes) > CACHE_SIZE:
                self._routes.popitem(last=False)
        return known


def _route_source(remote: str) -> str:
    """Source address the kernel would use; connecting a datagram socket sends nothing."""
    if not is_literal(remote):
        remote = "192.0.2.1"
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"
        return str(probe.getsockname()[0])
