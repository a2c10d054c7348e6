"""Records of a business system, in its own words, to records in ours: declared in YAML, compiled to functions.

Owns the mapping document, its rules (names, codes, dates, numbers, texts, conditions) and the lineage of every
field. Pure: no I/O beyond reading the document, no clock, no randomness, and no evaluation of text as code; every
rule terminates. Refuses to fetch records and to decide what becomes of them.
"""

from trunkline.integration.mapping.compile import compile_mapping, load_mapping
from trunkline.integration.mapping.record import (
    Issue,
    Lineage,
    Mapped,
    MappingDocument,
    RecordMapping,
    RecordRejected,
)

__all__ = [
    "Issue",
    "Lineage",
    "Mapped",
    "MappingDocument",
    "RecordMapping",
    "RecordRejected",
    "compile_mapping",
    "load_mapping",
]
