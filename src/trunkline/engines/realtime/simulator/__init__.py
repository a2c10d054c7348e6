"""The server side of the OpenAI Realtime protocol, scripted: an engine to develop and test against, offline.

``trunkline engine-sim openai`` runs it; tests use ``async with Simulator(script, clock=clock) as sim``. It speaks
babble unless it is given a voice. It refuses to be intelligent: what it says is in the script.
"""

from trunkline.engines.realtime.simulator.conversation import Conversation
from trunkline.engines.realtime.simulator.script import DEFAULT_SCRIPT, Script, load_script, parse_script
from trunkline.engines.realtime.simulator.server import Simulator
from trunkline.engines.realtime.simulator.sound import Voice

__all__ = ["DEFAULT_SCRIPT", "Conversation", "Script", "Simulator", "Voice", "load_script", "parse_script"]
