"""`import tfar` is cheap: what is slow or rarely needed is imported where it is used."""

import json
import subprocess
import sys

LIMIT_SECONDS = 0.5  # beyond tensorflow, keras and tensorflow_probability
LAZY = ("tensorflow_datasets", "sklearn", "matplotlib")

MEASURE = """
import json, sys, time
import tensorflow, keras, tensorflow_probability
before = set(sys.modules)
start = time.process_time()
import tfar
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "modules": sorted(set(sys.modules) - before)}))
"""


def measure() -> dict:
    result = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_import_is_fast_and_lazy():
    seconds = []
    # CPU time, as other tests share the cores (on an idle machine it is the elapsed time, within 10%);
    # best of 3, as the first import may write bytecode.
    for _ in range(3):
        measured = measure()
        eager = {name.partition(".")[0] for name in measured["modules"]} & set(LAZY)
        assert not eager, f"`import tfar` imports {', '.join(sorted(eager))}"
        seconds.append(measured["seconds"])
        if seconds[-1] <= LIMIT_SECONDS:
            return
    assert min(seconds) <= LIMIT_SECONDS, (
        f"`import tfar` took {min(seconds):.2f} s of CPU time at best, of {LIMIT_SECONDS} s allowed"
    )
