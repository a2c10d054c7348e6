"""Real third-party SIP peers for tests: Asterisk in its own directory, SIPp, baresip, and Trunkline itself as a process.

Each is a ``Program`` in a process group of its own that leaves nothing behind when stopped. They are installed by
``scripts/peers/install``; nothing here installs or downloads anything.
"""

from trunkline.testing.peers.asterisk import Asterisk
from trunkline.testing.peers.baresip import Baresip
from trunkline.testing.peers.program import Program, free_port, free_ports
from trunkline.testing.peers.sipp import Sipp
from trunkline.testing.peers.trunkline import COMMAND, TrunklineServer, entries, sockets_of

__all__ = [
    "COMMAND",
    "Asterisk",
    "Baresip",
    "Program",
    "Sipp",
    "TrunklineServer",
    "entries",
    "free_port",
    "free_ports",
    "sockets_of",
]
