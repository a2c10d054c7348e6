"""The tools an agent may use: what they are called, who may call them, and how a call runs.

``invoke.py`` is the tool flow, top to bottom. Owns the registry, permission, the spoken sentence and the
outcome an engine understands. Refuses to know engines and calls (they adapt), and to let an engine's text
decide what is allowed: an agent's tools are configuration.
"""

from trunkline.integration.tools.contract import ToolOutcome, ToolRequest, ToolStatus
from trunkline.integration.tools.registry import Registry, Tool
from trunkline.integration.tools.service import Tools, check_tools, open_tools

__all__ = [
    "Registry",
    "Tool",
    "ToolOutcome",
    "ToolRequest",
    "ToolStatus",
    "Tools",
    "check_tools",
    "open_tools",
]
