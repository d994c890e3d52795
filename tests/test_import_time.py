"""`import tfar` is cheap: what is slow or rarely needed is imported where it is used."""

import json
import subprocess
import sys

LIMIT_SECONDS = 0.5  # beyond tensorflow, keras and tensorflow_probability
LAZY = ("tensorflow_datasets", "sklearn", "matplotlib")

# CPU time, as other tests share the cores (on an idle machine it is the elapsed time, within 10%); several times, as
# the first import may write bytecode. Each is in a process of its own, which has imported nothing but the three.
MEASURE = """
import json, os, sys, time, warnings
import tensorflow, keras, tensorflow_probability
warnings.simplefilter("ignore")  # that a process with threads forks: the child imports, and ends
before = set(sys.modules)
for _ in range(3):
    child = os.fork()
    if child == 0:
        start = time.process_time()
        import tfar
        seconds = time.process_time() - start
        print(json.dumps({"seconds": seconds, "modules": sorted(set(sys.modules) - before)}), flush=True)
        os._exit(0 if seconds <= float(sys.argv[1]) else 3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 3:
        sys.exit(status)
"""


def measure() -> list[dict]:
    command = [sys.executable, "-c", MEASURE, str(LIMIT_SECONDS)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def test_import_is_fast_and_lazy():
    seconds = []
    for measured in measure():
        eager = {name.partition(".")[0] for name in measured["modules"]} & set(LAZY)
        assert not eager, f"`import tfar` imports {', '.join(sorted(eager))}"
        seconds.append(measured["seconds"])
    assert min(seconds) <= LIMIT_SECONDS, (
        f"`import tfar` took {min(seconds):.2f} s of CPU time at best, of {LIMIT_SECONDS} s allowed"
    )
