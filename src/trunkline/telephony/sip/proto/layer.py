"""The transaction layer: finds the transaction a message belongs to, and bounds how many there are.

Owns matching (RFC 3261 sections 17.1.3 and 17.2.3, RFC 2543 fallback), merged requests, Via received and
rport, and where responses go. Refuses to know dialogs.
"""

from collections import Counter
from collections.abc import Callable

from trunkline.model import Nanos
from trunkline.telephony.sip.proto.entropy import Ids
from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.headers import MAGIC_COOKIE, Via
from trunkline.telephony.sip.proto.message import Request, Response
from trunkline.telephony.sip.proto.tables import Input
from trunkline.telephony.sip.proto.timers import Timers, Timing
from trunkline.telephony.sip.proto.transactions import (
    ClientTransaction,
    ClientUser,
    InviteClientTransaction,
    InviteServerTransaction,
    Key,
    ServerTransaction,
    Transaction,
)
from trunkline.telephony.sip.proto.transport import Peer

Transmit = Callable[[Request | Response, Peer, str, Nanos], None]
RFC2543 = "rfc2543"


class TransactionLayer:
    """All transactions of an endpoint. ``limit`` bounds client and server transactions together."""

    def __init__(
        self,
        *,
        timers: Timers,
        timing: Timing,
        ids: Ids,
        transmit: Transmit,
        counters: Counter[str],
        limit: int,
    ) -> None:
        self.timers = timers
        self.timing = timing
        self.limit = limit
        self._ids = ids
        self._transmit = transmit
        self._counters = counters
        self._clients: dict[Key, ClientTransaction] = {}
        self._servers: dict[Key, ServerTransaction] = {}
        self._merged: dict[Key, Key] = {}
        self._tokens: dict[str, Transaction] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def full(self) -> bool:
        return len(self._tokens) >= self.limit

    # --- what transactions need ---------------------------------------------------------------------

    def transmit(self, message: Request | Response, peer: Peer, token: str, now: Nanos) -> None:
        self._transmit(message, peer, token, now)

    def forget(self, transaction: Transaction) -> None:
        self._tokens.pop(transaction.token, None)
        if isinstance(transaction, ServerTransaction):
            self._servers.pop(transaction.key, None)
            if self._merged.get(transaction.merge_key) == transaction.key:
                del self._merged[transaction.merge_key]
        else:
            self._clients.pop(transaction.key, None)

    # --- client side --------------------------------------------------------------------------------

    def request(self, request: Request, peer: Peer, user: ClientUser, now: Nanos) -> ClientTransaction:
        """Send a request whose top Via is complete; ``user`` hears of it. Requests of ours are not refused
        at the bound: what is already admitted must be able to finish."""
        key = _client_key(request.via.branch, request.method)
        kind = InviteClientTransaction if request.method == "INVITE" else ClientTransaction
        transaction = kind(self, key, peer, request, user, now)
        self._clients[key] = transaction
        self._tokens[transaction.token] = transaction
        transaction.start(now)
        return transaction

    def response(self, response: Response, now: Nanos) -> bool:
        """Give a response to its transaction; False when there is none. Raises ``BadMessage``."""
        if len(response.vias) != 1:
            raise BadMessage("a response that was meant for another hop", status=0)
        transaction = self._clients.get(_client_key(response.via.branch, response.cseq.method))
        if transaction is None or transaction.request.via.sent_by != response.via.sent_by:
            return False
        transaction.receive(response, now)
        return True

    def transport_failed(self, token: str, now: Nanos) -> None:
        """The shell could not send for this transaction."""
        transaction = self._tokens.get(token)
        if transaction is not None:
            self._counters["transport_failed"] += 1
            transaction.input(Input.ERROR, now)

    # --- server side --------------------------------------------------------------------------------

    def find(self, request: Request, method: str = "") -> ServerTransaction | None:
        """The server transaction of this request (or of ``method`` with the same branch)."""
        return self._servers.get(_server_key(request, method or request.method))

    def merged(self, request: Request) -> bool:
        """Whether a request outside a dialog came already by another path (RFC 3261 section 8.2.2.2)."""
        return not request.to.tag and _merge_key(request) in self._merged

    def serve(self, request: Request, peer: Peer, now: Nanos) -> ServerTransaction:
        """Open a transaction for a request that has none. The caller has looked at ``full``. Raises
        ``BadMessage``, and keeps nothing then, when the ids of the request cannot be read."""
        key = _server_key(request, request.method)
        merge_key = () if request.to.tag else _merge_key(request)
        kind = InviteServerTransaction if request.method == "INVITE" else ServerTransaction
        transaction = kind(self, key, response_peer(request.via, peer), request, now)
        self._servers[key] = transaction
        self._tokens[transaction.token] = transaction
        if merge_key:
            transaction.merge_key = merge_key
            self._merged.setdefault(merge_key, key)
        return transaction

    def stateless(self, response: Response, request: Request, peer: Peer, now: Nanos) -> None:
        """Answer without a transaction."""
        try:
            target = response_peer(request.via, peer)
        except BadMessage:
            target = peer
        self._transmit(response, target, "", now)


def note_source(request: Request, peer: Peer) -> None:
    """Fill ``received`` and ``rport`` of the top Via (RFC 3261 section 18.2.1, RFC 3581). Raises
    ``BadMessage`` when that Via is malformed."""
    via = request.via
    changed = via
    if via.wants_rport:
        changed = changed.with_param("rport", str(peer.port)).with_param("received", peer.host)
    elif via.host.lower() != peer.host.lower():
        changed = changed.with_param("received", peer.host)
    if changed is not via:
        request.headers.replace_top("Via", str(changed))


def response_peer(via: Via, source: Peer) -> Peer:
    """Where a response goes (RFC 3261 section 18.2.2, RFC 3581): over the same connection, or back to the
    source address. ``maddr`` is not followed: it would let a stranger aim our responses."""
    if source.reliable:
        return source
    port = source.port if via.wants_rport else (via.port or 5060)
    return Peer(source.transport, source.host, port, source.flow)


def _client_key(branch: str, method: str) -> Key:
    return ("c", branch.lower(), method)


def _server_key(request: Request, method: str) -> Key:
    via = request.via
    method = "INVITE" if method == "ACK" else method
    branch = via.branch
    if branch.lower().startswith(MAGIC_COOKIE.lower()) and len(branch) > len(MAGIC_COOKIE):
        return ("s", branch.lower(), via.sent_by, method)
    # RFC 3261 section 17.2.3, second half. The To tag is left out: the ACK has ours, the INVITE has none.
    cseq = request.cseq
    return (RFC2543, request.call_id, request.from_.tag, str(cseq.number), str(via), method)


def _merge_key(request: Request) -> Key:
    cseq = request.cseq
    return (request.from_.tag, request.call_id, str(cseq.number), cseq.method)
