"""Checks that the rooms make of their own documents, composed for ``load_config``.

``trunkline check`` and ``trunkline serve`` use the same list, so that what was checked is what runs.
"""

from trunkline.config import Check


def room_checks() -> tuple[Check, ...]:
    """Every room's check, in the order their mistakes are reported."""
    return ()
