"""Systems of the business side: the contract, the registry, and one folder per kind of system.

A connector's folder owns its wire protocol and settings. It refuses policy (retry, cache, rate, breaker), the
ledger, and every other connector.
"""

from trunkline.integration.connectors.contract import (
    Answer,
    Connector,
    Context,
    Factory,
    Health,
    Operation,
    OperationKind,
)
from trunkline.integration.connectors.registry import create_connector, kinds, settings_of

__all__ = [
    "Answer",
    "Connector",
    "Context",
    "Factory",
    "Health",
    "Operation",
    "OperationKind",
    "create_connector",
    "kinds",
    "settings_of",
]
