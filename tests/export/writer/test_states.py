"""States that clients hold."""

import numpy as np
import pytest
import tensorflow as tf

import tfar
from export.writer import saved_model
from export.writer.servable import Servable
from export.writer.states import fingerprint
from tests.export.tiny import seeds


def refusal(servable, state):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        servable.run("step", state=np.asarray(state, object))
    return str(error.value).split("assertion failed: [")[1].splitlines()[0]


@pytest.mark.parametrize("steps", [[[40]], [[7]] * 6, [[3, 1], [1, 5], [40, 40]]])
def test_steps_make_the_event_of_one_call(text, steps):
    whole = text.servable.run("sample", seed=seeds(2))["samples"]
    out = text.servable.run("start", seed=seeds(2))
    values = [[], []]
    for n in steps:
        out = text.servable.run("step", state=out["state"], n=np.asarray(n, np.int32))
        for row, count in enumerate(out["count"]):
            values[row].extend(out["chunk"][row, :count])
    np.testing.assert_array_equal(values, whole)
    assert out["done"].tolist() == [1, 1]


def test_a_state_can_be_used_again_and_elsewhere(text):
    out = text.servable.run("start", seed=seeds(1), prefix=np.int32([[1, 2, 3]]))
    assert out["position"].tolist() == [3]
    first = text.servable.run("step", state=out["state"], n=np.int32([5]))
    with Servable(text.version) as replica:
        second = replica.run("step", state=out["state"], n=np.int32([5]))
        third = replica.run("step", state=first["state"], n=np.int32([30]))
    np.testing.assert_array_equal(first["chunk"], second["chunk"])
    assert first["state"][0] == second["state"][0]
    whole = text.servable.run("sample", seed=seeds(1), prefix=np.int32([[1, 2, 3]]))["samples"]
    np.testing.assert_array_equal(
        np.concatenate([[[1, 2, 3]], first["chunk"], third["chunk"]], 1)[:, :38], whole[:, :38]
    )


def test_states_of_others_and_damaged_ones_are_refused(text):
    servable, message = text.servable, "state belongs to another model or version, or is damaged; examples:] "
    mine = servable.run("start", seed=seeds(2))["state"]
    foreign = b"%016x" % (int(mine[1][:16], 16) ^ 1) + mine[1][16:]  # only the fingerprint is another one
    changed = bytearray(mine[1])
    changed[-1] ^= 1
    for wrong in (foreign, bytes(changed), mine[1][:-1], mine[1][:20], b"", b"\x00" * 40, mine[1] + b" "):
        assert refusal(servable, [mine[0], wrong]) == f"{message}[1]"


def test_calls_with_states_may_be_batched(text):
    calls = (text.version / "SIGNATURES.md").read_text()
    for name in ("start", "step"):
        section = calls.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert "Batching: possible." in section


def test_fingerprint_follows_weights_and_configuration(tmp_path):
    model = tfar.models.MADE((3,), tfar.heads.Bernoulli(), hidden=(4,))
    tfar.testing.randomize_weights(model)
    first = fingerprint(model)
    model.save(tmp_path / "model.keras")
    assert fingerprint(saved_model.load_model(tmp_path / "model.keras")) == first
    model.weights[0].assign(model.weights[0] + 1e-3)
    assert fingerprint(model) != first
