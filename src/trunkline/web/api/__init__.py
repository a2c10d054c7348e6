"""The HTTP API. Owns paths and JSON shapes; refuses to change anything: it only reads."""

from trunkline.web.api.app import PATHS, build
from trunkline.web.api.ports import CallReader, Health, Part, Sources
from trunkline.web.api.server import serve

__all__ = ["PATHS", "CallReader", "Health", "Part", "Sources", "build", "serve"]
