"""The four transaction state machines as data (RFC 3261 section 17, RFC 6026 section 7, RFC 4320).

All transitions live here; ``transactions`` carries out the actions and knows no state by itself. A pair that
is missing is a bug of ours and raises ``LocalProtocolError``; what a peer may send at a wrong moment is
listed with the actions that ignore it.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """States of all four machines."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    ACCEPTED = auto()
    TERMINATED = auto()


class Input(Enum):
    """What can happen to a transaction."""

    PROVISIONAL = auto()
    """1xx, received by a client or given by the user of a server."""
    SUCCESS = auto()
    FAILURE = auto()
    REQUEST = auto()
    """The request again."""
    ACK = auto()
    RETRANSMIT = auto()
    """Timers A, E and G."""
    TIMEOUT = auto()
    """Timers B, F and H, and the guard of a server whose user never answers."""
    LINGER = auto()
    """Timers D, I, J, K, L and M: the end of a transaction that is kept to absorb retransmissions."""
    ERROR = auto()
    """The transport could not send."""


class Action(Enum):
    """What a transition asks for."""

    PASS = auto()
    """Give the message to the user."""
    SEND = auto()
    """Send the response that the user gave, and keep it."""
    RESEND = auto()
    """Send again what was sent last, if anything."""
    SEND_ACK = auto()
    BACK_OFF = auto()
    """Set the retransmission timer again, at the next interval."""
    RETRANSMIT_OFF = auto()
    TIMEOUT_OFF = auto()
    ARM_RETRANSMIT = auto()
    ARM_TIMEOUT = auto()
    ARM_LINGER = auto()
    TELL_TIMEOUT = auto()
    TELL_ERROR = auto()


Row = dict[Input, tuple[State, tuple[Action, ...]]]
Table = dict[State, Row]

_S = State
_I = Input
_A = Action
_END: Final = (_S.TERMINATED, ())
_FAILED: Final = (_S.TERMINATED, (_A.TELL_ERROR,))

INVITE_CLIENT: Final[Table] = {
    _S.CALLING: {
        _I.RETRANSMIT: (_S.CALLING, (_A.RESEND, _A.BACK_OFF)),
        _I.PROVISIONAL: (_S.PROCEEDING, (_A.RETRANSMIT_OFF, _A.TIMEOUT_OFF, _A.PASS)),
        _I.SUCCESS: (_S.ACCEPTED, (_A.RETRANSMIT_OFF, _A.TIMEOUT_OFF, _A.ARM_LINGER, _A.PASS)),
        _I.FAILURE: (_S.COMPLETED, (_A.RETRANSMIT_OFF, _A.TIMEOUT_OFF, _A.SEND_ACK, _A.ARM_LINGER, _A.PASS)),
        _I.TIMEOUT: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.ERROR: _FAILED,
    },
    _S.PROCEEDING: {
        _I.PROVISIONAL: (_S.PROCEEDING, (_A.PASS,)),
        _I.SUCCESS: (_S.ACCEPTED, (_A.ARM_LINGER, _A.PASS)),
        _I.FAILURE: (_S.COMPLETED, (_A.SEND_ACK, _A.ARM_LINGER, _A.PASS)),
        _I.ERROR: _FAILED,
    },
    _S.ACCEPTED: {
        _I.PROVISIONAL: (_S.ACCEPTED, ()),
        _I.SUCCESS: (_S.ACCEPTED, (_A.PASS,)),
        _I.FAILURE: (_S.ACCEPTED, ()),
        _I.LINGER: _END,
        _I.ERROR: (_S.ACCEPTED, ()),
    },
    _S.COMPLETED: {
        _I.PROVISIONAL: (_S.COMPLETED, ()),
        _I.SUCCESS: (_S.COMPLETED, ()),
        _I.FAILURE: (_S.COMPLETED, (_A.SEND_ACK,)),
        _I.LINGER: _END,
        _I.ERROR: _FAILED,
    },
}
"""RFC 6026 figure 3. Timer A retransmits, B times out, D (Completed) and M (Accepted) linger."""

CLIENT: Final[Table] = {
    _S.TRYING: {
        _I.RETRANSMIT: (_S.TRYING, (_A.RESEND, _A.BACK_OFF)),
        _I.PROVISIONAL: (_S.PROCEEDING, (_A.PASS,)),
        _I.SUCCESS: (_S.COMPLETED, (_A.RETRANSMIT_OFF, _A.TIMEOUT_OFF, _A.ARM_LINGER, _A.PASS)),
        _I.FAILURE: (_S.COMPLETED, (_A.RETRANSMIT_OFF, _A.TIMEOUT_OFF, _A.ARM_LINGER, _A.PASS)),
        _I.TIMEOUT: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.ERROR: _FAILED,
    },
    _S.PROCEEDING: {
        _I.RETRANSMIT: (_S.PROCEEDING, (_A.RESEND, _A.BACK_OFF)),
        _I.PROVISIONAL: (_S.PROCEEDING, (_A.PASS,)),
        _I.SUCCESS: (_S.COMPLETED, (_A.RETRANSMIT_OFF, _A.TIMEOUT_OFF, _A.ARM_LINGER, _A.PASS)),
        _I.FAILURE: (_S.COMPLETED, (_A.RETRANSMIT_OFF, _A.TIMEOUT_OFF, _A.ARM_LINGER, _A.PASS)),
        _I.TIMEOUT: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.ERROR: _FAILED,
    },
    _S.COMPLETED: {
        _I.PROVISIONAL: (_S.COMPLETED, ()),
        _I.SUCCESS: (_S.COMPLETED, ()),
        _I.FAILURE: (_S.COMPLETED, ()),
        _I.LINGER: _END,
        _I.ERROR: (_S.COMPLETED, ()),
    },
}
"""RFC 3261 figure 6. Timer E retransmits, F times out, K lingers."""

INVITE_SERVER: Final[Table] = {
    _S.PROCEEDING: {
        _I.REQUEST: (_S.PROCEEDING, (_A.RESEND,)),
        _I.PROVISIONAL: (_S.PROCEEDING, (_A.SEND,)),
        _I.SUCCESS: (_S.ACCEPTED, (_A.SEND, _A.ARM_LINGER)),
        _I.FAILURE: (_S.COMPLETED, (_A.SEND, _A.ARM_RETRANSMIT, _A.ARM_TIMEOUT)),
        _I.ACK: (_S.PROCEEDING, ()),
        _I.ERROR: _FAILED,
    },
    _S.ACCEPTED: {
        _I.REQUEST: (_S.ACCEPTED, ()),
        _I.SUCCESS: (_S.ACCEPTED, (_A.SEND,)),
        _I.ACK: (_S.ACCEPTED, (_A.PASS,)),
        _I.LINGER: _END,
        _I.ERROR: (_S.ACCEPTED, (_A.TELL_ERROR,)),
    },
    _S.COMPLETED: {
        _I.REQUEST: (_S.COMPLETED, (_A.RESEND,)),
        _I.ACK: (_S.CONFIRMED, (_A.RETRANSMIT_OFF, _A.TIMEOUT_OFF, _A.ARM_LINGER)),
        _I.RETRANSMIT: (_S.COMPLETED, (_A.RESEND, _A.BACK_OFF)),
        _I.TIMEOUT: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.ERROR: _FAILED,
    },
    _S.CONFIRMED: {
        _I.REQUEST: (_S.CONFIRMED, ()),
        _I.ACK: (_S.CONFIRMED, ()),
        _I.LINGER: _END,
        _I.ERROR: (_S.CONFIRMED, ()),
    },
}
"""RFC 6026 figure 4. Timer G retransmits, H times out, I (Confirmed) and L (Accepted) linger.

The 2xx itself is retransmitted by the dialog, over every transport (RFC 3261 section 13.3.1.4)."""

SERVER: Final[Table] = {
    _S.TRYING: {
        _I.REQUEST: (_S.TRYING, ()),
        _I.PROVISIONAL: (_S.PROCEEDING, (_A.SEND,)),
        _I.SUCCESS: (_S.COMPLETED, (_A.TIMEOUT_OFF, _A.SEND, _A.ARM_LINGER)),
        _I.FAILURE: (_S.COMPLETED, (_A.TIMEOUT_OFF, _A.SEND, _A.ARM_LINGER)),
        _I.TIMEOUT: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.ERROR: _FAILED,
    },
    _S.PROCEEDING: {
        _I.REQUEST: (_S.PROCEEDING, (_A.RESEND,)),
        _I.PROVISIONAL: (_S.PROCEEDING, (_A.SEND,)),
        _I.SUCCESS: (_S.COMPLETED, (_A.TIMEOUT_OFF, _A.SEND, _A.ARM_LINGER)),
        _I.FAILURE: (_S.COMPLETED, (_A.TIMEOUT_OFF, _A.SEND, _A.ARM_LINGER)),
        _I.TIMEOUT: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.ERROR: _FAILED,
    },
    _S.COMPLETED: {
        _I.REQUEST: (_S.COMPLETED, (_A.RESEND,)),
        _I.LINGER: _END,
        _I.ERROR: _FAILED,
    },
}
"""RFC 3261 figure 8. Timer J lingers. The guard drops a request whose user gave no answer for 64·T1, when
the client has given up anyway (RFC 4320 section 4.1: never a late 408)."""
