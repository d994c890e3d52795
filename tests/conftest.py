"""Settings of the suite: threads, the order of the tests, and what they cost.

With `-n 2 --dist=loadgroup --no-loadscope-reorder` both processes start with the units of work that take longest, so
that they end together. A unit is an `xdist_group`, or a file without one; `durations.json` holds what each took.

    make test ARGS=--record-durations        # notes what the tests that run take
"""

import collections
import gc
import json
import os
import pathlib

import pytest

# One thread for each process, before TensorFlow starts: two processes on two cores only wait for one another's threads.
# Operations beside each other have two: a call of the server waits for no other one.
for _variable, _threads in (("TF_NUM_INTRAOP_THREADS", 1), ("TF_NUM_INTEROP_THREADS", 2), ("OMP_NUM_THREADS", 1)):
    os.environ.setdefault(_variable, str(_threads))

# No test finds what another, or an earlier run, has compiled.
os.environ["TFAR_CACHE_DIR"] = "off"

DURATIONS = pathlib.Path(__file__).with_name("durations.json")
ROOT = DURATIONS.parents[1]
BUDGET = 840  # processor seconds of the default suite
SLOWEST = 20
_spent = pytest.StashKey[dict[str, float]]()
_total = pytest.StashKey[float]()


def pytest_addoption(parser):
    parser.addoption("--record-durations", action="store_true", help=f"note what tests take in {DURATIONS.name}")


def pytest_configure(config):
    config.stash[_spent], config.stash[_total] = {}, 0.0


def processor_seconds():
    """Of this process and of the children that it has waited for."""
    return sum(os.times()[:4])


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory):
    """A temporary folder of the session, the same in all processes of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def bank(common_folder):
    """Exported models, shared between the processes."""
    from tests.bank import Bank

    return Bank(common_folder / "bank")


# === Order ===


# Files whose tests share a server, sessions or an export.
GROUPS = {
    "served": ("test_client.py", "test_demo.py", "test_deploy.py", "test_endless.py", "test_made.py", "test_served.py"),
    "stepped": ("test_everywhere.py", "test_sessions.py", "test_signatures.py", "test_states.py"),
}


def unit_of(item):
    """What one process runs whole: a group of tests, else a file."""
    group = item.get_closest_marker("xdist_group")
    if group:
        return group.args[0]
    path = item.path.relative_to(ROOT)
    if path.parts[:2] == ("tests", "export"):
        shared = next((group for group, names in GROUPS.items() if path.name in names), None)
        return shared or ("server" if "server" in path.parts else path.as_posix())
    return path.as_posix()


# Before pytest-xdist reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Longest first: groups, then files, each of which one process runs whole."""
    known = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    units = {item: unit_of(item) for item in items}
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(units[item]))
    # Names decide between equals, so that every process has the same order.
    items.sort(key=lambda item: (-known.get(units[item], 0), units[item]))


def pytest_collection_finish():
    """The garbage collector need not walk through TensorFlow's modules, which stay, nor through a graph while it grows.

    To trace a network makes and keeps many small objects: collections took a sixth of that time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


# === Cost ===


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    before = processor_seconds()
    result = yield
    unit = unit_of(item)
    name = f"{unit}\n{item.nodeid.removesuffix(f'@{unit}')}"
    item.config.stash[_spent][name] = processor_seconds() - before
    return result


def pytest_sessionfinish(session):
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["spent"] = config.stash[_spent]
        config.workeroutput["total"] = processor_seconds()
    elif not config.getoption("numprocesses", None):
        config.stash[_total] = processor_seconds()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    output = getattr(node, "workeroutput", {})
    node.config.stash[_spent].update(output.get("spent", {}))
    node.config.stash[_total] += output.get("total", 0.0)


def pytest_terminal_summary(terminalreporter, config):
    spent = config.stash[_spent]
    if not spent:
        return
    units, folders, tests = collections.Counter(), collections.Counter(), {}
    for name, seconds in spent.items():
        unit, test = name.split("\n", 1)
        units[unit] += seconds
        folders["/".join(test.split("::")[0].split("/")[:2])] += seconds
        tests[test] = seconds
    write = terminalreporter.write_line
    terminalreporter.section("processor seconds")
    for test in sorted(tests, key=tests.get, reverse=True)[:SLOWEST]:
        if tests[test] >= 0.5:
            write(f"{tests[test]:7.1f}  {test}")
    write(", ".join(f"{folder} {seconds:.0f}" for folder, seconds in folders.most_common() if seconds >= 0.5))
    write(f"{config.stash[_total]:.0f} processor seconds, of which {BUDGET} are the budget of the default suite")
    if config.getoption("--record-durations"):
        known = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
        known |= {unit: round(seconds, 1) for unit, seconds in units.items()}
        DURATIONS.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
        write(f"{DURATIONS} written")
