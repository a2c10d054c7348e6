from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.config.source import parse
from trunkline.integration.mapping import (
    MappingDocument,
    RecordMapping,
    RecordRejected,
    compile_mapping,
    load_mapping,
)
from trunkline.model import ConfigError

FILE = Path("orders.yaml")


def compiled(text: str) -> MappingDocument:
    return compile_mapping(parse(text.encode(), FILE))


def fields(text: str, tables: str = "") -> RecordMapping:
    body = "".join(f"      {line}\n" for line in text.strip().splitlines())
    return compiled(f"version: 1\n{tables}records:\n  order:\n    fields:\n{body}").record("order")


def test_a_whole_record() -> None:
    order = fields(
        """
number: {from: ORD_NO, required: true}
customer.name: {from: CUST_NAME, name: full, case: name}
customer.given: {from: CUST_NAME, name: given, case: name}
status: {from: ORD_ST, table: status}
ordered_on: {from: ORD_DT, date: CYYMMDD}
total: {from: AMT, number: {implied_decimals: 2}}
lines: {from: LINES, number: {integer: true}}
urgent: {from: URG, boolean: {true_values: [Y, 1], false_values: [N, 0]}}
phone: {first: [MOBILE, PHONE]}
address: {concat: [STREET, CITY], separator: ", "}
source: {constant: ERP}
note: {from: NOTE}
shipped_on: {from: SHP_DT, date: CYYMMDD, when: {field: ORD_ST, one_of: [S4, S5]}}
""",
        tables="tables:\n  status: {codes: {S1: open, S4: shipped}}\n",
    )
    source = {
        "ORD_NO": " 48213 ",
        "CUST_NAME": "GARCIA, MARIA L        ",
        "ORD_ST": "S4",
        "ORD_DT": 1261103,
        "AMT": 12990,
        "LINES": "3",
        "URG": "y",
        "MOBILE": " ",
        "PHONE": "555",
        "STREET": "1 MAIN ST ",
        "CITY": None,
        "NOTE": "",
        "SHP_DT": 0,
    }
    mapped = order.apply(source)
    assert mapped.issues == ()
    assert mapped.record == {
        "number": "48213",
        "customer": {"name": "Maria L Garcia", "given": "Maria"},
        "status": "shipped",
        "ordered_on": "2026-11-03",
        "total": Decimal("129.90"),
        "lines": 3,
        "urgent": True,
        "phone": "555",
        "address": "1 MAIN ST",
        "source": "ERP",
        "note": None,
        "shipped_on": None,
    }


def test_lineage_names_sources_and_rules() -> None:
    order = fields(
        """
total: {from: AMT, number: {implied_decimals: 2}}
phone: {first: [MOBILE, PHONE], trim: false}
given: {from: NAME, name: given, case: name}
shipped: {from: SHP_DT, date: CYYMMDD, when: {field: ST, equals: S4}}
source: {constant: ERP}
"""
    )
    told = {name: (where.sources, where.rule) for name, where in order.lineage.items()}
    assert told == {
        "total": (("AMT",), "from AMT, decimal with 2 implied decimals"),
        "phone": (("MOBILE", "PHONE"), "first of MOBILE, PHONE"),
        "given": (("NAME",), "from NAME, name given, case name"),
        "shipped": (("SHP_DT", "ST"), "from SHP_DT, date CYYMMDD, conditional"),
        "source": ((), "constant"),
    }
    assert order.sources == {"AMT", "MOBILE", "PHONE", "NAME", "SHP_DT", "ST"}
    assert order.kinds == {
        "total": "decimal",
        "phone": "text",
        "given": "text",
        "shipped": "date",
        "source": "constant",
    }


def test_version_is_the_hash_of_the_document() -> None:
    one = compiled("version: 1\nrecords: {a: {fields: {x: {from: X}}}}\n").record("a")
    two = compiled("version: 1\nrecords: {a: {fields: {x: {from: Y}}}}\n").record("a")
    assert one.version != two.version
    assert repr(one) == f"<mapping a@{one.version[:12]}>"


@pytest.mark.parametrize(
    ("policy", "value"), [("", None), ("on_error: empty", None), ("on_error: default, default: none", "none")]
)
def test_policy_of_a_value_that_does_not_fit(policy: str, value: Any) -> None:
    rule = ", ".join(part for part in ("from: D", "date: CYYMMDD", policy) if part)
    mapped = fields(f"day: {{{rule}}}").apply({"D": "1261399"})
    assert mapped.record == {"day": value}
    (issue,) = mapped.issues
    assert str(issue) == "order.day (from D, date CYYMMDD): is no day of the calendar"
    assert issue.value == "1261399"
    assert "1261399" not in repr(issue)


def test_reject_names_everything_found() -> None:
    order = fields(
        """
number: {from: ORD_NO, required: true, on_error: reject}
day: {from: D, date: CYYMMDD}
"""
    )
    with pytest.raises(RecordRejected, match=r"order.number .* is required and has no value") as rejected:
        order.apply({"ORD_NO": " ", "D": "x"})
    assert [issue.field for issue in rejected.value.issues] == ["number", "day"]


def test_default_stands_for_a_missing_value_but_not_for_a_bad_one() -> None:
    order = fields("amount: {from: A, number: {integer: true}, default: 1}")
    assert order.apply({"A": None}).record == {"amount": 1}
    assert order.apply({"A": "many"}).record == {"amount": None}


def test_a_source_field_that_is_not_there_is_an_issue() -> None:
    mapped = fields("x: {from: A}\ny: {concat: [A, B]}").apply({"B": 1})
    assert [str(issue) for issue in mapped.issues] == [
        "order.x (from A): the source has no field A",
        "order.y (concat of A, B): the source has no field A",
    ]


@pytest.mark.parametrize(
    ("table", "value"),
    [
        ("codes: {A: yes it is, 4: four}, unknown: other", "other"),
        ("codes: {A: yes it is, 4: four}, keep_unknown: true", "Z"),
        ("codes: {A: yes it is, 4: four}", None),
    ],
)
def test_unknown_codes(table: str, value: Any) -> None:
    order = fields("s: {from: S, table: t}", tables=f"tables:\n  t: {{{table}}}\n")
    assert order.apply({"S": "A"}).record == {"s": "yes it is"}
    assert order.apply({"S": 4}).record == {"s": "four"}
    mapped = order.apply({"S": "Z"})
    assert mapped.record == {"s": value}
    assert bool(mapped.issues) is (value is None)


@pytest.mark.parametrize("zero", [0, "0", "0000000", " 0 ", None, ""])
def test_a_date_of_zeros_is_no_date(zero: Any) -> None:
    mapped = fields("d: {from: D, date: CYYMMDD}").apply({"D": zero})
    assert mapped.record == {"d": None}
    assert mapped.issues == ()


def test_binary_and_boolean_values_that_do_not_fit() -> None:
    order = fields("t: {from: T}\nb: {from: B, boolean: {true_values: [J], false_values: [N]}}")
    mapped = order.apply({"T": b"\x00", "B": "maybe"})
    assert mapped.record == {"t": None, "b": None}
    assert len(mapped.issues) == 2


@pytest.mark.parametrize(
    ("case", "text"), [("lower", "ab c"), ("upper", "AB C"), ("title", "Ab C"), ("name", "Ab C")]
)
def test_case(case: str, text: str) -> None:
    assert fields(f"x: {{from: X, case: {case}}}").apply({"X": "aB c"}).record == {"x": text}


def test_untrimmed_text_is_kept() -> None:
    order = fields("x: {from: X, trim: false}")
    assert order.apply({"X": " a "}).record == {"x": " a "}
    assert order.apply({"X": ""}).record == {"x": None}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("x: {}", 5, "exactly one of from, first, concat, constant"),
        ("x: {from: A, constant: 1}", 5, "exactly one of"),
        ("x: {from: A, date: iso, name: full}", 5, "exclude each other"),
        ("y: {from: A}\nx: {from: A, table: nix}", 6, "there is no table 'nix'"),
        ("x: {from: A, date: YYMM}", 5, "'YYMM' is none of"),
        ("x: {from: A, on_error: default}", 5, "needs a default"),
        ("x: {from: A, required: true, default: 1}", 5, "leave out required"),
        ("x: {constant: 1, case: upper}", 5, "taken as it is"),
        ("x: {from: A, number: {}, case: upper}", 5, "case has no meaning for a number"),
        ("x: {from: A, number: {integer: true, implied_decimals: 2}}", 5, "no implied_decimals"),
        ("x: {from: A, number: {group_mark: ','  , decimal_mark: ','}}", 5, "must differ"),
        ("x: {from: A}\nx.y: {from: A}", 6, "is a value and cannot hold"),
        ("X: {from: A}", 5, "pattern"),
        ("x: {from: A, colour: red}", 5, "unknown setting"),
        ("x: {from: A, when: {field: B}}", 5, "exactly one of present"),
        ("x: {from: 5}", 5, "must be text"),
    ],
)
def test_mistakes_have_file_and_line(text: str, line: int, what: str) -> None:
    with pytest.raises(ConfigError) as bad:
        fields(text)
    assert what in str(bad.value)
    assert str(bad.value).startswith(f"{FILE}:{line}: ")


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigError) as bad:
        fields("x: {from: A, table: nix}\ny: {from: B, date: never}")
    assert str(bad.value).count("orders.yaml:") == 2


def test_a_record_that_is_not_there() -> None:
    document = compiled("version: 1\nrecords: {a: {fields: {x: {from: X}}}}\n")
    with pytest.raises(ConfigError, match=r"no record 'b' \(it has: a\)"):
        document.record("b")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_mapping(tmp_path / "none.yaml")


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.binary(max_size=4)
)


@given(st.fixed_dictionaries({"A": VALUES, "B": VALUES}))
def test_no_value_makes_it_fall_over(source: dict[str, Any]) -> None:
    mapped = TOTAL.apply(source)
    assert set(mapped.record) == {
        "name",
        "date",
        "jul",
        "xl",
        "num",
        "bool",
        "code",
        "text",
        "cat",
        "first",
        "when",
    }
    for issue in mapped.issues:
        assert mapped.record[issue.field] is None


TOTAL = fields(
    """
name: {from: A, name: family, case: name}
date: {from: A, date: "%d.%m.%Y"}
jul: {from: A, date: YYDDD}
xl: {from: A, date: excel}
num: {from: A, number: {implied_decimals: 3, trailing_sign: true}}
bool: {from: A, boolean: {true_values: [1], false_values: [0]}}
code: {from: A, table: t}
text: {from: A, case: title}
cat: {concat: [A, B]}
first: {first: [A, B]}
when: {from: B, when: {field: A, greater_than: 3}}
""",
    tables="tables:\n  t: {codes: {A: b}}\n",
)
