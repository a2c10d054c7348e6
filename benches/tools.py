"""What the tool flow adds to a system's own time, through a real SQLite database.

``python benches/tools.py [--json] [--calls N]``: the same statement by bare ``sqlite3`` and through the whole flow
(permission, arguments, gates, connector, mapping, sentence, timeline in the ledger).
"""

import argparse
import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from trunkline.config import load_config
from trunkline.demo.legacy import ORDER, build_legacy
from trunkline.integration.tools import ToolRequest, ToolStatus, open_tools
from trunkline.model import CallId, ToolCallId
from trunkline.runtime.clock import RealClock
from trunkline.trust.ledger import CallRecord, Ledger

MAPPING = Path(__file__).parents[1] / "src" / "trunkline" / "demo" / "data" / "mappings" / "orders.yaml"
SQL = (
    "SELECT ORD_NO, CUST_NAME, ORD_ST, ORD_DT, SHP_DT, DUE_DT, ORD_AMT, ORD_LINES, SHP_VIA"
    " FROM ORDHDR JOIN CUSTMAST ON CUSTMAST.CUST_NO = ORDHDR.CUST_NO WHERE ORD_NO = :order_number"
)
CONFIG = f"""
version: 1
engines:
  remote: {{kind: realtime, url: "wss://engine.example", model: m}}
connectors:
  erp:
    kind: sql
    settings:
      url: "sqlite:///legacy.db"
      mapping: orders.yaml
      statements:
        find_order: {{sql: "{SQL}", mapping: order, single: true}}
tools:
  order_status:
    connector: erp
    operation: find_order
    description: Looks up an order.
    parameters:
      type: object
      required: [order_number]
      properties: {{order_number: {{type: string, pattern: "^[0-9]{{4,8}}$"}}}}
    spoken: "Order {{order_number:digits}} {{status_sentence}}."
agents:
  orders: {{engine: remote, tools: [order_status]}}
"""


async def measure(directory: Path, calls: int) -> dict[str, float]:
    build_legacy(directory / "legacy.db", think_ms=0)
    (directory / "orders.yaml").write_bytes(MAPPING.read_bytes())
    (directory / "trunkline.yaml").write_text(CONFIG, encoding="utf-8")
    bare = sqlite3.connect(directory / "legacy.db")
    alone = []
    for _ in range(calls):
        began = time.perf_counter()
        bare.execute(SQL, {"order_number": ORDER}).fetchall()
        alone.append((time.perf_counter() - began) * 1e3)
    bare.close()
    clock, call = RealClock(), CallId("call-1")
    config = load_config(directory / "trunkline.yaml")
    through = []
    async with (
        Ledger.open(directory / "ledger.sqlite", clock) as ledger,
        open_tools(config, clock=clock, record=ledger.append) as tools,
    ):
        await ledger.call_started(CallRecord(call, clock.now(), "pbx", "inbound", "1", "1000"))
        for _ in range(calls):
            request = ToolRequest(call, ToolCallId("t"), "orders", "order_status", {"order_number": ORDER})
            began = time.perf_counter()
            outcome = await tools.invoke(request, on_slow=lambda _: None)
            through.append((time.perf_counter() - began) * 1e3)
            if outcome.status is not ToolStatus.OK:
                raise SystemExit(f"the flow answered {outcome.status}: {outcome.detail}")
    through.sort()
    return {
        "bare_statement_ms_p50": round(statistics.median(alone), 3),
        "flow_ms_p50": round(statistics.median(through), 3),
        "flow_ms_p99": round(through[int(calls * 0.99)], 3),
        "overhead_ms_p50": round(statistics.median(through) - statistics.median(alone), 3),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--calls", type=int, default=2000)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = asyncio.run(measure(Path(directory), given.calls))
    if given.json:
        json.dump(results, sys.stdout, indent=2)
        print()
        return
    for name, value in results.items():
        print(f"{name:24} {value:>8}")


if __name__ == "__main__":
    main()
