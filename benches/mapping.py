"""How long a mapping takes per record. ``python benches/mapping.py [--json] [FILE RECORD]``

Without arguments: the demo's order mapping, and a mapping of six plain fields. The best of several rounds is
reported, because what is slower than the best is the machine's other work.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from trunkline.config.source import parse
from trunkline.integration.mapping import RecordMapping, compile_mapping, load_mapping

DEMO = Path(__file__).parents[1] / "src" / "trunkline" / "demo" / "data" / "mappings" / "orders.yaml"
ORDER: dict[str, Any] = {
    "ORD_NO": "48213",
    "CUST_NAME": "GARCIA, MARIA L               ",
    "ORD_ST": "S4",
    "ORD_DT": 1261103,
    "SHP_DT": 1261117,
    "DUE_DT": 1261123,
    "ORD_AMT": 12990,
    "ORD_LINES": 3,
    "SHP_VIA": "UPSG",
}
PLAIN = b"""
version: 1
tables: {t: {codes: {S4: shipped}}}
records:
  plain:
    fields:
      number: {from: ORD_NO}
      name: {from: CUST_NAME}
      status: {from: ORD_ST, table: t}
      via: {from: SHP_VIA}
      phone: {first: [CUST_NAME, ORD_NO]}
      source: {constant: ERP}
"""


def microseconds(
    mapping: RecordMapping, source: dict[str, Any], *, rounds: int = 7, times: int = 20_000
) -> float:
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(times):
            mapping.apply(source)
        best = min(best, time.perf_counter() - began)
    return best / times * 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    order = load_mapping(DEMO).record("order")
    plain = compile_mapping(parse(PLAIN, Path("plain.yaml"))).record("plain")
    results = {
        name: {"fields": len(mapping.kinds), "us_per_record": round(microseconds(mapping, ORDER), 2)}
        for name, mapping in (("demo order", order), ("plain", plain))
    }
    if given.json:
        json.dump(results, sys.stdout, indent=2)
        print()
        return
    for name, result in results.items():
        print(f"{name:12} {result['fields']:3} fields {result['us_per_record']:8.2f} µs per record")


if __name__ == "__main__":
    main()
