import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from trunkline.demo.legacy import ORDER, ORDERS, build_legacy
from trunkline.integration.connectors.sql.client import SqliteDriver
from trunkline.integration.mapping import load_mapping
from trunkline.model import LocalError

MAPPING = Path(__file__).parents[3] / "src" / "trunkline" / "demo" / "data" / "mappings" / "orders.yaml"
INQUIRY = "SELECT * FROM ORDINQ WHERE ORD_NO = :n"


def ask(path: Path, sql: str, **parameters: object) -> list[dict[str, object]]:
    session = SqliteDriver(path).open()
    try:
        session.verify(sql)
        return list(session.run(sql, parameters, limit=10_000, stop=lambda: False).records)
    finally:
        session.close()


def test_the_demo_order_in_the_systems_words_and_in_ours(tmp_path: Path) -> None:
    build_legacy(tmp_path / "legacy.db", think_ms=0)
    (row,) = ask(tmp_path / "legacy.db", INQUIRY, n=ORDER)
    assert row["CUST_NAME"] == "GARCIA, MARIA L".ljust(30)
    assert (row["ORD_ST"], row["ORD_DT"], row["ORD_AMT"]) == ("S4", 1261103, 12990)
    mapped = load_mapping(MAPPING).record("order").apply(row)
    assert mapped.issues == ()
    assert mapped.record == {
        "order_number": "48213",
        "customer": {"given": "Maria", "family": "Garcia"},
        "customer_name": "Maria L Garcia",
        "status": "shipped",
        "status_sentence": "was shipped",
        "ordered_on": "2026-11-03",
        "shipped_on": "2026-11-17",
        "expected_on": "2026-11-23",
        "carrier": "U P S",
        "total": Decimal("129.90"),
        "items": 3,
        "source": "Acme order entry",
    }


def test_every_order_can_be_mapped(tmp_path: Path) -> None:
    build_legacy(tmp_path / "legacy.db", think_ms=0)
    rows = ask(tmp_path / "legacy.db", "SELECT * FROM ORDINQ")
    assert len(rows) == ORDERS
    order = load_mapping(MAPPING).record("order")
    assert [issue for row in rows for issue in order.apply(row).issues] == []


def test_the_inquiry_waits_inside_the_database(tmp_path: Path) -> None:
    """Without a look at any clock: the longer the think time, the more often the view looks."""
    ticks = {}
    for think_ms in (0, 100):
        build_legacy(tmp_path / "legacy.db", think_ms=think_ms)
        (row,) = ask(tmp_path / "legacy.db", "SELECT TICKS FROM TRMWAIT")
        ticks[think_ms] = row["TICKS"]
    assert isinstance(ticks[0], int)
    assert isinstance(ticks[100], int)
    assert ticks[0] == 1
    assert ticks[100] > 1
    assert ask(tmp_path / "legacy.db", INQUIRY, n="absent") == []


def test_every_build_is_the_same(tmp_path: Path) -> None:
    dumps = []
    for name in ("a.db", "b.db"):
        build_legacy(tmp_path / name)
        connection = sqlite3.connect(tmp_path / name)
        dumps.append(list(connection.execute("SELECT * FROM ORDHDR, TRMCTL")))
        connection.close()
    assert dumps[0] == dumps[1]


def test_building_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "legacy.db"
    build_legacy(path, think_ms=0)
    build_legacy(path, think_ms=0)
    assert len(ask(path, "SELECT ORD_NO FROM ORDHDR")) == ORDERS


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot be written"):
        build_legacy(tmp_path / "file" / "legacy.db")
