"""The four machines against RFC 3261 and RFC 6026, with exact times."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from trunkline.model import LocalProtocolError, Nanos, seconds
from trunkline.telephony.sip.proto.message import Request, Response, parse_head, response_to
from trunkline.telephony.sip.proto.tables import Action, Input, State
from trunkline.telephony.sip.proto.timers import Timers, Timing
from trunkline.telephony.sip.proto.transactions import (
    ClientTransaction,
    InviteClientTransaction,
    InviteServerTransaction,
    ServerTransaction,
    Transaction,
    ack_for_failure,
)
from trunkline.telephony.sip.proto.transport import Peer

UDP = Peer("UDP", "10.0.0.2", 5060)
ZERO = Nanos(0)
TCP = Peer("TCP", "10.0.0.2", 5060)


def request(method: str = "INVITE") -> Request:
    message = parse_head(
        f"{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
        f"Route: <sip:p;lr>\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 5 {method}".encode()
    )
    assert isinstance(message, Request)
    return message


@dataclass
class World:
    """Host and user of one transaction, with a clock."""

    timers: Timers = field(default_factory=Timers)
    timing: Timing = field(default_factory=Timing)
    now: Nanos = ZERO
    sent: list[tuple[float, Request | Response]] = field(default_factory=list)
    told: list[tuple[float, object]] = field(default_factory=list)
    forgotten: Counter[str] = field(default_factory=Counter)

    def transmit(self, message: Request | Response, peer: Peer, token: str, now: Nanos) -> None:
        self.sent.append((now / 1e9, message))

    def forget(self, transaction: Transaction) -> None:
        self.forgotten["it"] += 1

    def response(self, response: Response, now: Nanos) -> None:
        self.told.append((now / 1e9, response.status))

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        self.told.append((now / 1e9, "timeout" if timeout else "transport"))

    def acknowledged(self, ack: Request, now: Nanos) -> None:
        self.told.append((now / 1e9, "ack"))

    def unacknowledged(self, now: Nanos) -> None:
        self.told.append((now / 1e9, "no ack"))

    def run(self, span: float) -> None:
        end = self.now + seconds(span)
        while (when := self.timers.deadline()) is not None and when <= end:
            self.now = when
            self.timers.fire(when)
        self.now = Nanos(end)

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.sent]

    def client(self, method: str = "INVITE", peer: Peer = UDP) -> ClientTransaction:
        kind = InviteClientTransaction if method == "INVITE" else ClientTransaction
        transaction = kind(self, ("k",), peer, request(method), self, self.now)
        transaction.start(self.now)
        return transaction

    def server(self, method: str = "INVITE", peer: Peer = UDP) -> ServerTransaction:
        kind = InviteServerTransaction if method == "INVITE" else ServerTransaction
        transaction = kind(self, ("k",), peer, request(method), self.now)
        transaction.user = self
        return transaction


@pytest.fixture
def world() -> World:
    return World()


def answer(transaction: ClientTransaction, status: int) -> Response:
    return response_to(transaction.request, status, to_tag="t")


# --- INVITE client ----------------------------------------------------------------------------------------


def test_timers_a_and_b_over_udp(world: World) -> None:
    transaction = world.client()
    world.run(100)
    assert world.times == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert world.told == [(32.0, "timeout")]
    assert transaction.over
    assert world.forgotten["it"] == 1
    assert len(world.timers) == 0


def test_no_timer_a_over_tcp(world: World) -> None:
    world.client(peer=TCP)
    world.run(100)
    assert world.times == [0]
    assert world.told == [(32.0, "timeout")]


def test_a_provisional_response_stops_a_and_b(world: World) -> None:
    transaction = world.client()
    world.run(1)
    transaction.receive(answer(transaction, 180), world.now)
    world.run(300)
    assert world.times == [0, 0.5]
    assert world.told == [(1.0, 180)]
    assert transaction.state is State.PROCEEDING


@pytest.mark.parametrize(("peer", "linger"), [(UDP, 32.0), (TCP, 0.0)])
def test_failure_is_acknowledged_again_during_timer_d(world: World, peer: Peer, linger: float) -> None:
    transaction = world.client(peer=peer)
    transaction.receive(answer(transaction, 486), world.now)
    assert [m.method for _, m in world.sent if isinstance(m, Request)] == ["INVITE", "ACK"]
    assert transaction.over is (linger == 0)
    transaction.receive(answer(transaction, 486), world.now)
    acks = [m for _, m in world.sent if isinstance(m, Request) and m.method == "ACK"]
    assert len(acks) == (2 if linger else 1)
    assert world.told == [(0.0, 486)], "the repeated failure is absorbed"
    world.run(linger + 1)
    assert transaction.over
    assert len(world.timers) == 0


def test_every_2xx_is_passed_up_during_timer_m(world: World) -> None:
    transaction = world.client()
    for status in (200, 180, 200, 500, 202):
        transaction.receive(answer(transaction, status), world.now)
    assert world.told == [(0.0, 200), (0.0, 200), (0.0, 202)]
    assert transaction.state is State.ACCEPTED
    world.run(31.9)
    assert not transaction.over
    world.run(0.2)
    assert transaction.over
    assert len(world.sent) == 1, "the ACK of a 2xx is not the transaction's"


@pytest.mark.parametrize("before", [None, 180])
def test_a_transport_error_ends_a_waiting_client(world: World, before: int | None) -> None:
    transaction = world.client()
    if before:
        transaction.receive(answer(transaction, before), world.now)
    transaction.input(Input.ERROR, world.now)
    assert world.told[-1] == (0.0, "transport")
    assert len(world.timers) == 0


def test_the_ack_of_a_failure_is_built_from_the_invite() -> None:
    invite = request()
    ack = ack_for_failure(invite, response_to(invite, 404, to_tag="theirs"))
    assert (ack.method, ack.uri_text, ack.cseq.number, ack.to.tag) == ("ACK", "sip:a@b", 5, "theirs")
    assert str(ack.via) == str(invite.via)
    assert ack.headers.raw("route") == b"<sip:p;lr>"


# --- non-INVITE client ------------------------------------------------------------------------------------


def test_timers_e_and_f_over_udp(world: World) -> None:
    world.client("OPTIONS")
    world.run(100)
    assert world.times == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert world.told == [(32.0, "timeout")]


def test_timer_e_runs_at_t2_once_proceeding(world: World) -> None:
    transaction = world.client("OPTIONS")
    transaction.receive(answer(transaction, 100), world.now)
    world.run(13)
    assert world.times == [0, 0.5, 4.5, 8.5, 12.5]


@pytest.mark.parametrize(("peer", "linger"), [(UDP, 5.0), (TCP, 0.0)])
@pytest.mark.parametrize("status", [200, 404])
def test_timer_k_absorbs_repeated_finals(world: World, peer: Peer, linger: float, status: int) -> None:
    transaction = world.client("BYE", peer)
    for _ in range(3):
        transaction.receive(answer(transaction, status), world.now)
    assert world.told == [(0.0, status)]
    assert transaction.over is (linger == 0)
    world.run(linger + 0.1)
    assert transaction.over


# --- INVITE server ----------------------------------------------------------------------------------------


def test_the_last_provisional_is_repeated(world: World) -> None:
    transaction = world.server()
    transaction.again(world.now)
    assert world.sent == [], "nothing has been said yet"
    for status in (100, 180):
        transaction.respond(response_to(transaction.request, status), world.now)
    transaction.again(world.now)
    assert [m.status for _, m in world.sent if isinstance(m, Response)] == [100, 180, 180]


def test_timers_g_h_over_udp(world: World) -> None:
    transaction = world.server()
    transaction.respond(response_to(transaction.request, 486), world.now)
    world.run(100)
    assert world.times == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert world.told == [(32.0, "no ack")]


def test_no_timer_g_over_tcp(world: World) -> None:
    transaction = world.server(peer=TCP)
    transaction.respond(response_to(transaction.request, 486), world.now)
    world.run(100)
    assert world.times == [0]
    assert world.told == [(32.0, "no ack")]


@pytest.mark.parametrize(("peer", "linger"), [(UDP, 5.0), (TCP, 0.0)])
def test_an_ack_confirms_a_failure_and_timer_i_absorbs_more(world: World, peer: Peer, linger: float) -> None:
    transaction = world.server(peer=peer)
    assert isinstance(transaction, InviteServerTransaction)
    transaction.respond(response_to(transaction.request, 486), world.now)
    transaction.ack(request("ACK"), world.now)
    transaction.ack(request("ACK"), world.now)
    transaction.again(world.now)
    assert transaction.over is (linger == 0)
    world.run(linger + 0.1)
    assert transaction.over
    assert world.told == []
    assert len(world.timers) == 0


def test_a_2xx_keeps_the_transaction_for_timer_l(world: World) -> None:
    transaction = world.server()
    assert isinstance(transaction, InviteServerTransaction)
    ok = response_to(transaction.request, 200, to_tag="t")
    transaction.respond(ok, world.now)
    transaction.again(world.now)
    assert len(world.sent) == 1, "a repeated INVITE is absorbed; the dialog repeats the 2xx"
    transaction.respond(ok, world.now)
    assert len(world.sent) == 2
    transaction.ack(request("ACK"), world.now)
    assert world.told == [(0.0, "ack")]
    world.run(31)
    assert not transaction.over
    world.run(2)
    assert transaction.over
    transaction.respond(ok, world.now)
    assert len(world.sent) == 2, "after the end nothing is sent"


@pytest.mark.parametrize("status", [100, 200, 486])
def test_a_transport_error_is_told_to_the_user(world: World, status: int) -> None:
    transaction = world.server()
    transaction.respond(response_to(transaction.request, status), world.now)
    transaction.input(Input.ERROR, world.now)
    assert world.told == [(0.0, "no ack")]
    assert transaction.over is (status != 200), "an accepted call may still be acknowledged over another way"


def test_without_a_user_nobody_is_told(world: World) -> None:
    transaction = world.server()
    transaction.user = None
    transaction.input(Input.ERROR, world.now)
    assert transaction.over


# --- non-INVITE server ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("peer", "linger"), [(UDP, 32.0), (TCP, 0.0)])
def test_timer_j_repeats_the_final(world: World, peer: Peer, linger: float) -> None:
    transaction = world.server("OPTIONS", peer)
    transaction.again(world.now)
    assert world.sent == []
    transaction.respond(response_to(transaction.request, 100), world.now)
    transaction.again(world.now)
    transaction.respond(response_to(transaction.request, 200), world.now)
    transaction.again(world.now)
    assert len(world.sent) == (4 if linger else 3)
    world.run(linger + 0.1)
    assert transaction.over
    assert len(world.timers) == 0


def test_a_request_whose_user_never_answers_is_dropped_in_silence(world: World) -> None:
    transaction = world.server("OPTIONS")
    world.run(33)
    assert transaction.over
    assert world.sent == []
    assert world.told == [(32.0, "no ack")]


# --- bugs of ours -----------------------------------------------------------------------------------------


def test_an_impossible_step_is_a_bug_of_ours(world: World) -> None:
    transaction = world.server("OPTIONS")
    with pytest.raises(LocalProtocolError, match="ACK in state TRYING"):
        transaction.input(Input.ACK, world.now)
    with pytest.raises(LocalProtocolError):
        transaction._act(Action.SEND_ACK, world.now, None)
    with pytest.raises(LocalProtocolError):
        world.client("OPTIONS")._act(Action.SEND_ACK, world.now, None)


def test_the_base_class_leaves_its_parts_open(world: World) -> None:
    base = Transaction(world, ("x",), UDP, State.TRYING)
    with pytest.raises(NotImplementedError):
        base._linger()
    with pytest.raises(NotImplementedError):
        base._act(Action.SEND, world.now, None)


def test_ending_a_transaction_tells_nobody(world: World) -> None:
    transaction = world.client()
    transaction.end()
    transaction.end()
    transaction.input(Input.SUCCESS, world.now)
    assert world.told == []
    assert world.forgotten["it"] == 1
    assert len(world.timers) == 0
