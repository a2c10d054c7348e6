"""How long the ledger takes: a durable start of a call, an entry on the caller's side, entries a second on disk.

``python benches/ledger.py [--json] [--calls N] [--directory DIR]``. The start waits for the disk (WAL,
synchronous=FULL), so the directory's disk is what is measured.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from trunkline.model import CallId, Nanos, Outcome, Reason, Result
from trunkline.runtime.clock import RealClock
from trunkline.trust.ledger import CallRecord, Kind, Ledger

DATA = {"role": "caller", "text": "I'd like to know the status of my order, please.", "item": ""}


def percentile(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 3)


async def measure(directory: Path, calls: int) -> dict[str, float]:
    clock = RealClock()
    starts, appends = [], []
    async with Ledger.open(directory / "ledger.sqlite", clock) as ledger:
        for n in range(calls):
            began = time.perf_counter()
            await ledger.call_started(
                CallRecord(CallId(f"call-{n}"), clock.now(), "pbx", "inbound", "+390612345", "1000")
            )
            starts.append((time.perf_counter() - began) * 1e3)
        began = time.perf_counter()
        for n in range(calls):
            for _ in range(40):
                one = time.perf_counter()
                ledger.append(CallId(f"call-{n}"), clock.now(), Kind.TRANSCRIPT, DATA)
                appends.append((time.perf_counter() - one) * 1e6)
            await ledger.room()
        await ledger.flush()
        written = calls * 40 / (time.perf_counter() - began)
        done = Outcome(Result.SUCCESS, Reason.CALLER_HUNG_UP)
        for n in range(calls):
            await ledger.call_ended(CallId(f"call-{n}"), done, at=Nanos(clock.now()))
    return {
        "start_ms_p50": round(statistics.median(starts), 3),
        "start_ms_p99": percentile(starts, 0.99),
        "append_us_p50": round(statistics.median(appends), 2),
        "append_us_p99": percentile(appends, 0.99),
        "entries_per_second": round(written),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--calls", type=int, default=500)
    arguments.add_argument("--directory", type=Path)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        results = asyncio.run(measure(Path(directory), given.calls))
    if given.json:
        json.dump(results, sys.stdout, indent=2)
        print()
        return
    for name, value in results.items():
        print(f"{name:20} {value:>10}")


if __name__ == "__main__":
    main()
