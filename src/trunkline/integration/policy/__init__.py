"""Gates around one call of one system: what is checked, in which order, under one absolute deadline.

Owns the order of the gates (as data), argument validation, the mask point and the deadline. Refuses to know
tools, agents, engines and the ledger: it reports by result, error and callback.
"""

from trunkline.integration.policy.arguments import ArgumentRules, ArgumentsInvalid
from trunkline.integration.policy.budget import Budget, Deadline
from trunkline.integration.policy.chain import ORDER, Attempt, Chain, DeadlinePassed

__all__ = [
    "ORDER",
    "ArgumentRules",
    "ArgumentsInvalid",
    "Attempt",
    "Budget",
    "Chain",
    "Deadline",
    "DeadlinePassed",
]
