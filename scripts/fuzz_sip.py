#!/usr/bin/env python3
"""Fuzzes the SIP layer: damaged messages in the middle of calls between two virtual endpoints, seed after seed.

usage: scripts/fuzz_sip.py SECONDS [FIRST_SEED]

The first seed that raises, or leaves anything behind, ends the run with an error and is named: it fails again as
``scripts/fuzz_sip.py 0 SEED``, and belongs into tests/unit/telephony/sip/test_fuzz.py.
"""

import importlib.util
import sys
import time
from pathlib import Path

CASE = Path(__file__).resolve().parent.parent / "tests/unit/telephony/sip/test_fuzz.py"
CALLS = 40


def main() -> int:
    """Run seeds until the time is up, at least one."""
    limit = time.monotonic() + float(sys.argv[1])
    first = seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000_000
    spec = importlib.util.spec_from_file_location("sip_fuzz_case", CASE)
    assert spec is not None
    assert spec.loader is not None
    case = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(case)
    while seed == first or time.monotonic() < limit:
        try:
            case.test_damaged_messages_in_the_middle_of_calls(seed)
        except BaseException:
            print(f"seed {seed} fails; again with: scripts/fuzz_sip.py 0 {seed}", file=sys.stderr)
            raise
        seed += 1
    print(f"{seed - first} seeds from {first} with {CALLS} calls each: nothing raised, nothing left behind")
    return 0


if __name__ == "__main__":
    sys.exit(main())
