"""The append-only record of what happened: one row per call (CDR) and one hash-chained timeline each.

Owns the file, its schema, durability and the table of timeline kinds. Refuses to interpret a timeline
(reports, waterfalls and transcripts are made by readers) and to decide what is recorded: flows do.

A call's start row is on disk before the call may be answered; entries follow within 50 ms; the end row is on
disk when ``call_ended`` returns. What the disk does not take is kept, counted and reported, never lost
silently.
"""

from trunkline.trust.ledger.kinds import KINDS, Kind, KindSpec
from trunkline.trust.ledger.ledger import Ledger
from trunkline.trust.ledger.records import (
    CallRecord,
    CallRow,
    Entry,
    LedgerHealth,
    LedgerUnavailable,
    Record,
    Verification,
)

__all__ = [
    "KINDS",
    "CallRecord",
    "CallRow",
    "Entry",
    "Kind",
    "KindSpec",
    "Ledger",
    "LedgerHealth",
    "LedgerUnavailable",
    "Record",
    "Verification",
]
