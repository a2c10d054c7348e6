"""What happens during a call: admission, routing, turns, tools, transfer, failover, record.

``flow.run_call`` is one call, top to bottom. Owns every decision about a call and its timeline. Refuses to
speak any protocol: legs, engines, media, tools and the ledger are reached through their contracts.
"""

from trunkline.calls.admission import Admission
from trunkline.calls.flow import run_call
from trunkline.calls.ports import Desk, Engine, Meter, Speech, Tools, Voice
from trunkline.calls.switchboard import CallView, Switchboard

__all__ = [
    "Admission",
    "CallView",
    "Desk",
    "Engine",
    "Meter",
    "Speech",
    "Switchboard",
    "Tools",
    "Voice",
    "run_call",
]
