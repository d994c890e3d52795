import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def python(program, *arguments, **variables):
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"} | variables
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def start(tmp_path):
    """Runs the module with another package in the place of TensorFlow, which takes seconds to start."""

    def run(code, **variables):
        (tmp_path / "tensorflow.py").write_text(f"import os\nos.write(2, b'remark of C++')\n{code}\n")
        program = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path('tfar/core/quiet.py')"
        program += "; import os; os.write(2, os.environ['TF_CPP_MIN_LOG_LEVEL'].encode())"
        return python(program, tmp_path, **variables)

    return run


def test_remarks_of_the_start_are_put_aside(start):
    process = start("")
    assert process.returncode == 0 and process.stderr in ("2", "3")


def test_a_start_that_fails_shows_all(start):
    process = start("raise OSError('no such library')")
    assert process.returncode == 1
    assert "remark of C++" in process.stderr and "no such library" in process.stderr


def test_who_chooses_a_level_hears_all(start):
    assert start("", TF_CPP_MIN_LOG_LEVEL="0").stderr == "0"  # left to `import tensorflow` of the library


@pytest.mark.large
def test_tensorflow_starts_without_a_word():
    """In an example, which imports Keras as well, and computes on the first device."""
    process = python("import examples.toy_density as example; print(int(example.keras.ops.sum([1, 2])))")
    assert (process.stdout, process.stderr) == ("3\n", "")
