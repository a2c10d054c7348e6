"""The transaction machines: carry out the tables of ``tables``.

A transaction sends through its layer, sets its timers in the endpoint's heap and talks to one user.
"""

from collections.abc import Callable
from typing import Protocol

from trunkline.model import LocalProtocolError, Nanos
from trunkline.telephony.sip.proto import tables
from trunkline.telephony.sip.proto.message import Headers, Request, Response
from trunkline.telephony.sip.proto.tables import Action, Input, State, Table
from trunkline.telephony.sip.proto.timers import Timer, Timers, Timing
from trunkline.telephony.sip.proto.transport import Peer

Key = tuple[str, ...]


class ClientUser(Protocol):
    """Who sent a request."""

    def response(self, response: Response, now: Nanos) -> None:
        """A response that is not a retransmission absorbed by the transaction."""
        ...

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        """No final response will come: timer B or F, or the transport failed."""
        ...


class ServerUser(Protocol):
    """Who answers a request."""

    def acknowledged(self, ack: Request, now: Nanos) -> None:
        """An ACK with the branch of an accepted INVITE (from a peer that does not make a new one)."""
        ...

    def unacknowledged(self, now: Nanos) -> None:
        """No ACK for a failure (timer H), or the transport failed; the transaction is over."""
        ...


class Host(Protocol):
    """What a transaction needs of its layer."""

    timers: Timers
    timing: Timing

    def transmit(self, message: Request | Response, peer: Peer, token: str, now: Nanos) -> None: ...

    def forget(self, transaction: "Transaction") -> None: ...


class Transaction:
    """One transaction: state, timers, and the actions both sides share."""

    table: Table

    def __init__(self, host: Host, key: Key, peer: Peer, initial: State) -> None:
        self.key = key
        self.peer = peer
        self.state = initial
        self.token = "|".join(key)
        self._host = host
        self._timers: dict[Input, Timer] = {}
        self._interval = host.timing.t1

    @property
    def over(self) -> bool:
        return self.state is State.TERMINATED

    def input(self, what: Input, now: Nanos, message: Request | Response | None = None) -> None:
        """Take one step of the table."""
        if self.over:
            return
        row = self.table[self.state].get(what)
        if row is None:
            raise LocalProtocolError(f"{type(self).__name__}: {what.name} in state {self.state.name}")
        self.state, actions = row
        if self.over:
            self._stop()
            self._host.forget(self)
        for action in actions:
            self._do(action, now, message)

    def end(self) -> None:
        """Forget the transaction without telling anyone."""
        if not self.over:
            self.state = State.TERMINATED
            self._stop()
            self._host.forget(self)

    def _stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _arm(self, what: Input, delay: int, now: Nanos) -> None:
        self._disarm(what)
        if delay <= 0:
            self.input(what, now)
            return
        why = f"{type(self).__name__} {what.name}"
        self._timers[what] = self._host.timers.set(Nanos(now + delay), why, lambda at: self._fired(what, at))

    def _fired(self, what: Input, now: Nanos) -> None:
        self._timers.pop(what, None)
        self.input(what, now)

    def _disarm(self, what: Input) -> None:
        timer = self._timers.pop(what, None)
        if timer is not None:
            timer.cancel()

    def _do(self, action: Action, now: Nanos, message: Request | Response | None) -> None:
        match action:
            case Action.RETRANSMIT_OFF:
                self._disarm(Input.RETRANSMIT)
            case Action.TIMEOUT_OFF:
                self._disarm(Input.TIMEOUT)
            case Action.ARM_TIMEOUT:
                self._arm(Input.TIMEOUT, self._host.timing.timeout, now)
            case Action.ARM_LINGER:
                self._arm(Input.LINGER, self._linger(), now)
            case Action.ARM_RETRANSMIT:
                if not self.peer.reliable:
                    self._arm(Input.RETRANSMIT, self._interval, now)
            case Action.BACK_OFF:
                self._interval = self._next_interval()
                self._arm(Input.RETRANSMIT, self._interval, now)
            case _:
                self._act(action, now, message)

    def _linger(self) -> int:
        raise NotImplementedError

    def _next_interval(self) -> Nanos:
        return Nanos(min(2 * self._interval, self._host.timing.t2))

    def _act(self, action: Action, now: Nanos, message: Request | Response | None) -> None:
        raise NotImplementedError


class ClientTransaction(Transaction):
    """Sends a request until it is answered."""

    table = tables.CLIENT

    def __init__(
        self, host: Host, key: Key, peer: Peer, request: Request, user: ClientUser, now: Nanos
    ) -> None:
        super().__init__(host, key, peer, self._initial())
        self.request = request
        self.user = user
        self._started = now

    def _initial(self) -> State:
        return State.TRYING

    def start(self, now: Nanos) -> None:
        """Send the request for the first time."""
        self._do(Action.ARM_TIMEOUT, now, None)
        self._do(Action.ARM_RETRANSMIT, now, None)
        self._host.transmit(self.request, self.peer, self.token, now)

    def receive(self, response: Response, now: Nanos) -> None:
        kind = Input.PROVISIONAL if response.status < 200 else Input.SUCCESS
        self.input(Input.FAILURE if response.status >= 300 else kind, now, response)

    def _linger(self) -> int:
        return 0 if self.peer.reliable else self._host.timing.t4

    def _next_interval(self) -> Nanos:
        # Timer E runs at T2 once a provisional response came (RFC 3261 section 17.1.2.2).
        return self._host.timing.t2 if self.state is State.PROCEEDING else super()._next_interval()

    def _act(self, action: Action, now: Nanos, message: Request | Response | None) -> None:
        match action:
            case Action.PASS if isinstance(message, Response):
                self.user.response(message, now)
            case Action.RESEND:
                self._host.transmit(self.request, self.peer, self.token, now)
            case Action.TELL_TIMEOUT:
                self.user.failed(timeout=True, now=now)
            case Action.TELL_ERROR:
                self.user.failed(timeout=False, now=now)
            case _:
                raise LocalProtocolError(f"a client transaction cannot {action.name}")


class InviteClientTransaction(ClientTransaction):
    """Sends an INVITE; acknowledges failures itself."""

    table = tables.INVITE_CLIENT

    def _initial(self) -> State:
        return State.CALLING

    def _linger(self) -> int:
        if self.state is State.ACCEPTED:
            return self._host.timing.timeout
        return 0 if self.peer.reliable else self._host.timing.linger

    def _next_interval(self) -> Nanos:
        return Nanos(2 * self._interval)

    def _act(self, action: Action, now: Nanos, message: Request | Response | None) -> None:
        if action is Action.SEND_ACK and isinstance(message, Response):
            self._host.transmit(ack_for_failure(self.request, message), self.peer, self.token, now)
        else:
            super()._act(action, now, message)


class ServerTransaction(Transaction):
    """Answers a request, and answers again when it is repeated."""

    table = tables.SERVER

    def __init__(self, host: Host, key: Key, peer: Peer, request: Request, now: Nanos) -> None:
        super().__init__(host, key, peer, self._initial())
        self.request = request
        self.user: ServerUser | None = None
        self.merge_key: Key = ()
        self.last: Response | None = None
        self._guard(now)

    def _initial(self) -> State:
        return State.TRYING

    def _guard(self, now: Nanos) -> None:
        self._do(Action.ARM_TIMEOUT, now, None)

    @property
    def answered(self) -> bool:
        """Whether a final response has been given."""
        return self.over or (self.last is not None and self.last.status >= 200)

    def respond(self, response: Response, now: Nanos) -> None:
        """Send a response of the user. Ignored when the transaction has ended."""
        kind = Input.PROVISIONAL if response.status < 200 else Input.SUCCESS
        self.input(Input.FAILURE if response.status >= 300 else kind, now, response)

    def again(self, now: Nanos) -> None:
        """The same request was received again."""
        self.input(Input.REQUEST, now)

    def _linger(self) -> int:
        return 0 if self.peer.reliable else self._host.timing.timeout

    def _act(self, action: Action, now: Nanos, message: Request | Response | None) -> None:
        match action:
            case Action.SEND if isinstance(message, Response):
                self.last = message
                self._host.transmit(message, self.peer, self.token, now)
            case Action.RESEND:
                if self.last is not None:
                    self._host.transmit(self.last, self.peer, self.token, now)
            case Action.PASS if isinstance(message, Request):
                self._tell(lambda user: user.acknowledged(message, now))
            case Action.TELL_TIMEOUT | Action.TELL_ERROR:
                self._tell(lambda user: user.unacknowledged(now))
            case _:
                raise LocalProtocolError(f"a server transaction cannot {action.name}")

    def _tell(self, what: Callable[[ServerUser], None]) -> None:
        if self.user is not None:
            what(self.user)


class InviteServerTransaction(ServerTransaction):
    """Answers an INVITE. Its user retransmits a 2xx by calling ``respond`` again."""

    table = tables.INVITE_SERVER

    def _initial(self) -> State:
        return State.PROCEEDING

    def _guard(self, now: Nanos) -> None:
        """No guard: how long a call may ring is the user's business."""

    def ack(self, ack: Request, now: Nanos) -> None:
        self.input(Input.ACK, now, ack)

    def _linger(self) -> int:
        if self.state is State.ACCEPTED:
            return self._host.timing.timeout
        return 0 if self.peer.reliable else self._host.timing.t4


def ack_for_failure(invite: Request, response: Response) -> Request:
    """The ACK of RFC 3261 section 17.1.1.3: the INVITE's top Via, Route and ids, the response's To."""
    headers = Headers()
    headers.add("Via", str(invite.via))
    for name in ("route", "max-forwards", "from"):
        headers.copy_from(invite.headers, name)
    headers.copy_from(response.headers, "to")
    headers.copy_from(invite.headers, "call-id")
    headers.add("CSeq", f"{invite.cseq.number} ACK")
    headers.add("Content-Length", "0")
    return Request("ACK", invite.uri_text, headers)
