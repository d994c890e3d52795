"""Plants faults one at a time in a copy of the tree: tests of the default suite that should fail must fail.

python tests/planted_faults.py [--only=NAME,...] [--list]

Run it before a release. Each fault replaces a text that stands once in its file; where the text is no longer found the
run fails, and the fault is to be planted anew. First all tests that are named run without a fault, and must pass.
"""

import argparse
import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODELS = "tests/conformance/test_models.py"
PARITY = f"{MODELS}::test_incremental_matches_parallel"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        name: what goes wrong.
        file: relative to the root.
        old: text that stands once in the file.
        new: what replaces it.
        tests: node ids; every one of them must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def plant(self, root):
        """Changes the file below `root`; returns its text without the fault."""
        path = pathlib.Path(root, self.file)
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise LookupError(
                f"{self.name}: the text to replace stands {text.count(self.old)} times in {self.file}, expected once; "
                f"plant the fault anew:\n{self.old}"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return text


FAULTS = [
    Fault(
        "bias-forgotten-in-a-step",
        "tfar/layers/causal_conv.py",
        "return self._add_bias(tf.matmul(window, kernel))[:, None]",
        "return tf.matmul(window, kernel)[:, None]",
        (f"{PARITY}[CausalConvNet_gated]",),
    ),
    Fault(
        "ring-buffer-off-by-one",
        "tfar/layers/causal_conv.py",
        "slot(scope.at + 1 - m * rate)",
        "slot(scope.at - m * rate)",
        (f"{PARITY}[CausalConvNet_gated]",),
    ),
    Fault(
        "exclusive-layer-not-shifted",
        "tfar/layers/causal_conv.py",
        "shift = int(self.exclusive)",
        "shift = 0",
        (f"{MODELS}::test_causal[CausalConvNet_gated]",),
    ),
    Fault(
        "mask-shifted-by-one",
        "tfar/layers/masked_conv.py",
        "mask[half, :half] = 1",
        "mask[half, : half + 2] = 1",
        (f"{MODELS}::test_causal[PixelCNN_binary]",),
    ),
    Fault(
        "colour-sees-itself",
        "tfar/layers/groups.py",
        "before = in_groups[:, None] < out_groups[None, :]",
        "before = in_groups[:, None] <= out_groups[None, :]",
        (f"{MODELS}::test_causal[PixelCNN_rgb]",),
    ),
    Fault(
        "colour-order-swapped",
        "tfar/layers/groups.py",
        "return np.tile(part, halves)",
        "return np.tile(groups - 1 - part, halves)",
        (f"{MODELS}::test_causal[GatedPixelCNN_rgb]",),
    ),
    Fault(
        "state-read-too-late",
        "tfar/layers/recurrent.py",
        "state = self._advance(gates[0], state, kernel)\n            return tf.cast(state[0], dtype)[:, None], state",
        "after = self._advance(gates[0], state, kernel)\n            return tf.cast(state[0], dtype)[:, None], after",
        (f"{PARITY}[CharRNN_lstm]",),
    ),
    Fault(
        "attention-sees-its-own-position",
        "tfar/layers/attention.py",
        "return self._visible(key + int(self.exclusive), position)",
        "return self._visible(key, position) | (key[None] == position[:, None])",
        (f"{MODELS}::test_causal[PixelSNAIL_binary]",),
    ),
    Fault(
        "cache-forgets-the-first-entry",
        "tfar/layers/attention.py",
        "visible = (slot <= at) &",
        "visible = (slot <= at) & (slot > 0) &",
        (f"{PARITY}[CausalTransformer_learned]",),
    ),
    Fault(
        "condition-dropped-in-a-step",
        "tfar/layers/condition_projection.py",
        '    if scope is None or scope.phase == "step":\n        return compute()',
        '    if scope is None or scope.phase == "step":\n        return compute() if scope is None else 0 * compute()',
        (f"{PARITY}[CausalConvNet_gated]",),
    ),
    Fault(
        "noise-used-twice",
        "tfar/core/noise.py",
        "bits = tf.reshape(bits, [tf.shape(seeds)[0], num_positions, blocks * 4])[:, :, :noise_size]",
        "bits = tf.reshape(bits, [tf.shape(seeds)[0], num_positions, blocks * 4])[:, :, :noise_size]\n"
        "    bits = tf.gather(bits, tf.maximum(tf.range(num_positions) - 1, 0), axis=1)",
        ("tests/core/test_noise.py",),
    ),
    Fault(
        "temperature-of-another-example",
        "tfar/heads/categorical.py",
        "return index_from_uniform(params / temperature[..., tf.newaxis], noise[..., 0])",
        "temperature = tf.zeros_like(temperature) + tf.reshape(temperature, [-1])[0]\n"
        "        return index_from_uniform(params / temperature[..., tf.newaxis], noise[..., 0])",
        (f"{MODELS}::test_temperature[CharRNN_lstm]",),
    ),
    Fault(
        "bits-per-dim-of-another-number",
        "tfar/core/units.py",
        "return -log_prob / (num_dimensions * math.log(2.0))",
        "return -log_prob / ((num_dimensions + 1) * math.log(2.0))",
        (
            f"{MODELS}::test_score_sums_to_log_prob[CharRNN_lstm]",
            "tests/test_doctests.py::test_doctests[tfar.core.units]",
        ),
    ),
    Fault(
        "optimizer-not-restored",
        "tfar/training/loop.py",
        "            variable.assign(array)\n        for average",
        "            del variable, array\n        for average",
        ("tests/training/test_loop.py::test_a_run_that_died_goes_on_as_if_it_had_not[12]",),
    ),
    Fault(
        "seed-of-an-export-ignored",
        "export/writer/signatures.py",
        'noise = noises.uniform(rows["seed"], size, numbers)',
        'noise = noises.uniform(tf.zeros_like(rows["seed"]), size, numbers)',
        ("tests/export/writer/test_signatures.py::test_same_seeds_give_the_samples_of_python[text-4]",),
    ),
]


def copy_tree(target):
    """The tracked files, and those that git does not ignore."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def run(root, tests, folder):
    """Runs tests below `root`: {name: "passed", "failed" or "error"} (an error of a fixture or of collection)."""
    report = pathlib.Path(folder, "report.xml")
    report.unlink(missing_ok=True)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--junitxml={report}", f"--basetemp={folder}/tests"]
    # The copy's tfar comes before an installed one: the working directory leads the path.
    done = subprocess.run([sys.executable, "-m", "pytest", *options, *tests], cwd=root, capture_output=True, text=True)
    if not report.exists():
        return {"pytest": "error"}, done.stdout + done.stderr
    found = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        kind = "failed" if "failure" in kinds else kinds.pop() if kinds else "passed"
        found[f"{case.get('classname')}::{case.get('name')}"] = kind
    return found or {"pytest": "error"}, done.stdout + done.stderr


def main():
    """Returns the exit code: 0, or 1 where a fault is not caught, or cannot be planted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of faults, separated by commas")
    parser.add_argument("--list", action="store_true", help="print the faults and the tests that should fail")
    values = parser.parse_args()
    only = [name for name in values.only.split(",") if name]
    unknown = sorted(set(only) - {fault.name for fault in FAULTS})
    if unknown:
        parser.error(f"--only must be some of {', '.join(fault.name for fault in FAULTS)}, got {', '.join(unknown)}")
    faults = [fault for fault in FAULTS if not only or fault.name in only]
    if values.list:
        for fault in faults:
            print(f"{fault.name}: {fault.file}\n    " + "\n    ".join(fault.tests))
        return 0
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder, "tree")
        copy_tree(tree)
        tests = sorted({test for fault in faults for test in fault.tests})
        found, output = run(tree, tests, folder)
        if set(found.values()) != {"passed"}:
            print(f"{output}\nerror: without a fault these tests must pass", file=sys.stderr)
            return 1
        for fault in faults:
            started = time.monotonic()
            try:
                text = fault.plant(tree)
            except LookupError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
                wrong.append(fault.name)
                continue
            found, output = run(tree, fault.tests, folder)
            (tree / fault.file).write_text(text, encoding="utf-8")
            # Of a whole file some test must fail, and each that is named by itself.
            whole = all("::" not in test for test in fault.tests)
            caught = "error" not in found.values() and (
                "failed" in found.values() if whole else set(found.values()) == {"failed"}
            )
            print(f"{'caught' if caught else 'MISSED'}  {fault.name} ({time.monotonic() - started:.0f} s)", flush=True)
            if not caught:
                print(output[-3000:], file=sys.stderr, flush=True)
                wrong.append(fault.name)
    print(
        f"{len(faults) - len(wrong)} of {len(faults)} faults are caught"
        + (f"; not: {', '.join(wrong)}" if wrong else "")
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
