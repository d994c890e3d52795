"""Traced graphs on disk: a second model of the same configuration reads them."""

import concurrent.futures
import os
import subprocess
import sys
import threading

import keras
import pytest
import tensorflow as tf

import tfar
from tfar import heads, models
from tfar.core import kept_graphs
from tfar.core.compiled import CompiledFunctions
from tfar.core.conditions import Label


@pytest.fixture(name="folder")
def _folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TFAR_CACHE_DIR", str(tmp_path))
    return tmp_path / "graphs"


def made(seed=0, hidden=4):
    keras.utils.set_random_seed(seed)
    model = models.MADE((3,), heads.Bernoulli(), hidden=(hidden,), condition=Label(2), name="made")
    tfar.testing.randomize_weights(model, seed)
    return model


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def draw(model, **options):
    return model.sample(2, 1, seed=0, **options).numpy()


@pytest.fixture(name="traced")
def _traced(monkeypatch):
    """Names of the functions that were traced."""
    names, load = [], kept_graphs.KeptGraphs.load_or_trace

    def load_or_trace(self, key, trace):
        def noted():
            names.append(key[0])
            return trace()

        return load(self, key, noted)

    monkeypatch.setattr(kept_graphs.KeptGraphs, "load_or_trace", load_or_trace)
    return names


def test_a_second_model_reads_what_the_first_has_traced(folder, traced):
    first, second = made(seed=0), made(seed=1)
    expected = {seed: draw(model, jit_compile=False) for seed, model in enumerate((first, second))}
    assert not files(folder)  # plain graphs are not kept
    assert (draw(first) == expected[0]).all()
    count, content = len(traced), {path: path.read_bytes() for path in files(folder)}
    assert count == len(content) > 0
    # The same graph, with the weights of the other model.
    assert (draw(second) == expected[1]).all()
    assert len(traced) == count and list(content) == files(folder)
    # A graph reads the weights as they are when it runs.
    for old, new in zip(second.weights, first.weights, strict=True):
        old.assign(new)
    assert (draw(second) == expected[0]).all()


def test_damaged_files_are_traced_anew(folder, traced):
    expected = draw(made())
    count = len(traced)
    whole = {path: path.read_bytes() for path in files(folder)}
    for damage in (
        lambda data: data[:-1],
        lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:],
        lambda data: b"",
    ):
        for path, data in whole.items():
            path.write_bytes(damage(data))
        before = len(traced)
        assert (draw(made()) == expected).all()
        assert len(traced) == before + count
        assert (draw(made()) == expected).all()
        assert len(traced) == before + count  # the files are whole again


def test_another_configuration_or_shape_is_another_graph(folder, traced):
    draw(made())
    count = len(traced)
    draw(made(hidden=5))
    assert len(traced) > count
    count = len(traced)
    made().sample(3, 1, seed=0)
    assert len(traced) > count


def test_a_model_with_layers_from_outside_is_not_kept(folder):
    class Mine(models.MADE):
        pass

    model = Mine((3,), heads.Bernoulli(), hidden=(4,))
    model.sample(2, seed=0)
    assert not files(folder)


def test_a_folder_that_cannot_be_written_costs_nothing_but_a_warning(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFAR_CACHE_DIR", str(tmp_path / "file"))
    assert draw(made()).shape == (2, 3)
    assert "a traced graph was not kept" in caplog.text


def test_nested_outputs_come_back(folder):
    del folder
    model = made()

    def several(x):
        return {"b": (x, None), "a": [x + 1, tfar.core.carry.Site(x + 2, x + 3)]}

    for functions in (CompiledFunctions(model), CompiledFunctions(model)):
        found = functions.run("several", several, tf.constant(1.0), jit_compile=True)
        assert found["b"][1] is None and isinstance(found["a"], list)
        assert isinstance(found["a"][1], tfar.core.carry.Site)
        assert float(found["b"][0]) == 1 and float(found["a"][0]) == 2
        assert [float(x) for x in found["a"][1]] == [3, 4, 0]


def test_the_oldest_functions_are_forgotten_and_structure_counts():
    functions, calls = CompiledFunctions(capacity=2), []

    def total(x):
        calls.append(1)
        return tf.add_n(tf.nest.flatten(x))

    one, two = tf.constant(1), tf.constant(2)
    assert int(functions.run("total", total, [one, two])) == 3
    assert int(functions.run("total", total, (one, two))) == 3  # the same leaves in another structure
    assert len(calls) == 2
    functions.run("total", total, [one, two])
    functions.run("total", total, {"a": one})
    assert len(functions) == 2 and len(calls) == 3
    functions.run("total", total, [one, two])  # the one that was used last is there
    assert len(calls) == 3
    functions.run("total", total, (one, two))
    assert len(calls) == 4


def test_threads_trace_a_function_once():
    functions, calls, begin = CompiledFunctions(), [], threading.Barrier(4)

    def double(x):
        calls.append(1)
        return 2 * x

    def run(_):
        begin.wait()
        return int(functions.run("double", double, tf.constant(4)))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [8] * 4
    assert len(calls) == 1


def test_damaged_programs_of_xla_are_compiled_anew(monkeypatch, tmp_path):
    program = tmp_path / "xla_compile_cache__1__2__XLA_CPU_JIT.pb"
    program.write_text("half of a program")
    monkeypatch.setenv("TF_XLA_FLAGS", f"--other --tf_xla_persistent_cache_directory={tmp_path}")
    monkeypatch.setattr(kept_graphs, "_forgotten", False)
    functions, x = CompiledFunctions(), tf.constant(3)

    def fail(*_):
        raise tf.errors.OutOfRangeError(None, None, "Read less bytes than requested")

    monkeypatch.setattr(functions, "_compile", lambda *_: fail)
    assert int(functions.run("double", lambda x: 2 * x, x, jit_compile=True)) == 6
    assert not program.exists()
    program.write_text("half of a program")  # an error that comes again is no matter of the cache
    with pytest.raises(tf.errors.OutOfRangeError):
        functions.run("triple", lambda x: 3 * x, x, jit_compile=True)


@pytest.mark.large
def test_programs_on_disk_are_read_and_replaced_where_they_are_damaged(tmp_path):
    """Three processes: one writes, one reads, one finds its files cut off."""
    code = (
        "import keras; from tfar import heads, models; keras.utils.set_random_seed(0); "
        "print(models.MADE((30,), heads.Bernoulli(), hidden=(40,)).sample(4, seed=0).numpy().sum())"
    )
    programs = tmp_path / "xla"
    programs.mkdir()
    flag = f"--tf_xla_persistent_cache_directory={programs}"
    environment = {**os.environ, "TFAR_CACHE_DIR": str(tmp_path), "TF_XLA_FLAGS": flag}
    printed, seen = [], []
    for process in range(3):
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        printed.append(run.stdout)
        seen.append({path.name: path.stat().st_mtime_ns for path in programs.iterdir()})
        if process == 1:
            for path in programs.iterdir():
                os.truncate(path, 100)
    assert len(set(printed)) == 1
    assert seen[0] == seen[1]
    assert all(path.stat().st_size > 100 for path in programs.iterdir())
