"""Fakes that Trunkline ships for its own tests and for those of its users, and a pytest plugin.

They stand at the seams: the clock, the media port, the leg, the engine session. Nothing here opens a socket
except ``wire``, which speaks a real WebSocket for engine tests; nothing here is imported by the rest of Trunkline.
"""

from trunkline.testing.clock import VirtualClock
from trunkline.testing.engine import Close, Emit, ScriptedEngine, Speak, Wait
from trunkline.testing.events import Collector, Journal
from trunkline.testing.leg import (
    TRANSFER_BUSY,
    TRANSFER_REFUSED,
    TRANSFER_SILENT,
    TRANSFER_SUCCEEDS,
    FakeLeg,
    TransferStep,
    leg_info,
)
from trunkline.testing.loop import settle, wait_until
from trunkline.testing.media import FakeMediaFactory, FakeMediaPort
from trunkline.testing.playout import Playout

__all__ = [
    "TRANSFER_BUSY",
    "TRANSFER_REFUSED",
    "TRANSFER_SILENT",
    "TRANSFER_SUCCEEDS",
    "Close",
    "Collector",
    "Emit",
    "FakeLeg",
    "FakeMediaFactory",
    "FakeMediaPort",
    "Journal",
    "Playout",
    "ScriptedEngine",
    "Speak",
    "TransferStep",
    "VirtualClock",
    "Wait",
    "leg_info",
    "settle",
    "wait_until",
]
