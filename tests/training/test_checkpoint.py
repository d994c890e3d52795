import numpy as np
import pytest

from tfar.training import Checkpoint, CheckpointError, Checkpoints
from tfar.training import checkpoint as lib


def example(step=1, best_step=None, width=3):
    weights = [np.arange(width, dtype=np.float32), np.ones([2, 2], np.float32)]
    state = {"step": step, "best_step": best_step, "loss_sum": 0.1}
    return Checkpoint(["net/kernel", "net/bias"], weights, weights[:1], [np.int64(5)], state, "abc")


def test_round_trip(tmp_path):
    path = tmp_path / "a.ckpt"
    lib.save(path, example())
    again = lib.load(path)
    assert again.names == ["net/kernel", "net/bias"] and again.architecture == "abc"
    assert again.state == {"step": 1, "best_step": None, "loss_sum": 0.1}
    np.testing.assert_array_equal(again.weights[1], np.ones([2, 2]))
    assert again.optimizer[0] == 5 and again.optimizer[0].dtype == np.int64
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in range(1, 8):
        checkpoints.save(example(step, best_step=2 if step < 7 else 7))
    assert checkpoints.steps() == [2, 6, 7]  # 6 still names 2
    checkpoints.save(example(8, best_step=7))
    assert checkpoints.steps() == [7, 8]
    assert checkpoints.load().state["step"] == 8
    assert checkpoints.load_best().state["step"] == 7


@pytest.mark.parametrize("keep", [0, 5, 60, 200, -1])
def test_truncated(tmp_path, keep):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(example(10))
    checkpoints.save(example(20))
    path = checkpoints.path(20)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="step-00000020.ckpt is truncated.*step-00000010.ckpt") as error:
        checkpoints.load()
    assert "\n" not in str(error.value)
    path.unlink()
    assert checkpoints.load().state["step"] == 10


def test_one_flipped_bit_is_seen(tmp_path):
    path = tmp_path / "a.ckpt"
    lib.save(path, example())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        lib.load(path)


def test_something_else(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"PK" + bytes(500))
    with pytest.raises(CheckpointError, match="not a checkpoint of tfar"):
        lib.load(path)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="train first"):
        Checkpoints(tmp_path / "nowhere").load()


@pytest.mark.parametrize(
    ("names", "shapes", "match"),
    [
        (
            ["a/kernel", "a/bias"],
            [(4,), (2, 2)],
            r"weight 0 is net/kernel \(3,\) there and a/kernel \(4,\) in this model",
        ),
        (["a/kernel", "a/scale"], [(3,), (2, 2)], "weight 1 is net/bias"),
        (["a/kernel"], [(3,)], "no such weight in this model"),
        (
            ["a/kernel", "a/bias", "b/kernel"],
            [(3,), (2, 2), (1,)],
            r"weight 2 is no such weight there and b/kernel \(1,\)",
        ),
    ],
)
def test_another_architecture_names_the_weight(names, shapes, match):
    with pytest.raises(CheckpointError, match=match) as error:
        lib.check_weights("x.ckpt", example(), names, shapes)
    assert "another --workdir" in str(error.value) and "\n" not in str(error.value)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    lib.write_atomically(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(lib.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        lib.write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
