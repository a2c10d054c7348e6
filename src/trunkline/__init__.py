"""Trunkline puts conversational AI onto the phone networks and business systems you already have."""

__version__ = "0.1.0.dev0"
