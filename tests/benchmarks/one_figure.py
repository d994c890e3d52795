"""The smallest benchmark, for tests/benchmarks/test_results.py: `python -m tests.benchmarks.one_figure --json=FILE`."""

import sys

from benchmarks import results

if "--fail" in sys.argv:
    sys.exit(3)
results.write(sys.argv[-1].removeprefix("--json="), {"tests/one": results.figure("one", "1 s", {"s": 1.0})}, {})
