from typing import Any

import pytest

from trunkline.integration.mapping.conditions import compile_condition, sources_of
from trunkline.integration.mapping.document import Condition

RECORD = {"ST": "S4 ", "N": 4, "EMPTY": "  ", "NONE": None, "AMT": "12.5"}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"field": "ST", "equals": "S4"}, True),
        ({"field": "ST", "equals": "S5"}, False),
        ({"field": "N", "equals": "4"}, True),
        ({"field": "NONE", "equals": ""}, True),
        ({"field": "ST", "one_of": ["S3", "S4"]}, True),
        ({"field": "ST", "one_of": ["S3"]}, False),
        ({"field": "ST", "present": True}, True),
        ({"field": "EMPTY", "present": True}, False),
        ({"field": "EMPTY", "present": False}, True),
        ({"field": "ABSENT", "present": True}, False),
        ({"field": "N", "less_than": 5}, True),
        ({"field": "N", "less_than": 4}, False),
        ({"field": "AMT", "greater_than": 12}, True),
        ({"field": "ST", "greater_than": 0}, False),
        ({"field": "NONE", "less_than": 5}, False),
        ({"not": {"field": "ST", "equals": "S4"}}, False),
        ({"all": [{"field": "ST", "equals": "S4"}, {"field": "N", "less_than": 5}]}, True),
        ({"all": [{"field": "ST", "equals": "S4"}, {"field": "N", "less_than": 1}]}, False),
        ({"any": [{"field": "ST", "equals": "S9"}, {"field": "N", "less_than": 5}]}, True),
        ({"any": [{"field": "ST", "equals": "S9"}]}, False),
    ],
)
def test_holds(condition: dict[str, Any], holds: bool) -> None:
    assert compile_condition(Condition.model_validate(condition))(RECORD) is holds


def test_sources() -> None:
    condition = Condition.model_validate(
        {"any": [{"field": "A", "present": True}, {"not": {"all": [{"field": "B", "equals": 1}]}}]}
    )
    assert sources_of(condition) == {"A", "B"}


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"field": "A"},
        {"equals": 1},
        {"field": "A", "equals": 1, "present": True},
        {"field": "A", "equals": 1, "all": [{"field": "B", "equals": 1}]},
        {"all": []},
        {"all": [{"field": "B", "equals": 1}], "any": [{"field": "B", "equals": 1}]},
        {"field": "A", "matches": ".*"},
    ],
)
def test_refuses(condition: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"condition|at least|Extra"):
        Condition.model_validate(condition)
