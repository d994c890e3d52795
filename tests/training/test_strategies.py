import os
import pathlib
import subprocess
import sys

import pytest

# Logical devices are set before TensorFlow starts, hence a process of its own.
START = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tfar
from tfar import training
from tfar.data import WindowBatches
generator = np.random.default_rng(0)
"""
IMAGES = """
x = (generator.random([3, 8, 3, 3, 1]) < 0.3).astype(np.uint8)
def train(name, dropout):
    keras.utils.set_random_seed(0)
    strategy = training.strategy(name)
    with strategy.scope():
        model = tfar.models.GatedPixelCNN((3, 3, 1), tfar.heads.Bernoulli(), filters=2, num_blocks=1, dropout=dropout)
        optimizer = training.optimizer("adamw", 0.05, weight_decay=0.1)
    step = training.TrainStep(model, optimizer, strategy, 8, clip_norm=0.1, ema_decay=0.5)
    numbers = [[float(v) for v in step({"x": x[i]}, i)] for i in range(3)]
    with step.averaged_weights():
        averaged = float(tf.reduce_mean(model.log_prob(x[0])))
    weights = [np.asarray(w) for w in model.weights] + [a.numpy() for a in step.averages]
    return strategy.num_replicas_in_sync, numbers, averaged, weights
one, two = train("one", 0.0), train("mirrored", 0.0)
assert (one[0], two[0]) == (1, 2)
np.testing.assert_allclose(one[1], two[1], rtol=1e-5)
np.testing.assert_allclose(one[2], two[2], rtol=1e-5)
for a, b in zip(one[3], two[3], strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)
again, other = train("mirrored", 0.5), train("mirrored", 0.5)
assert again[1] == other[1] and again[1] != two[1]
print("equal")
"""
WEIGHT_NORM = """
x = generator.integers(0, 8, [8, 4, 4, 1]).astype(np.uint8)
def initialize(name):
    keras.utils.set_random_seed(0)
    strategy = training.strategy(name)
    with strategy.scope():
        head = tfar.heads.Categorical(8)
        model = tfar.models.PixelSNAIL((4, 4, 1), head, filters=4, num_blocks=1, num_resnets=1, key_dim=2, dropout=0.5)
        optimizer = training.optimizer("adam", 0.01)
    step = training.TrainStep(model, optimizer, strategy, 8)
    step.initialize({"x": x})
    return [np.asarray(weight) for weight in model.weights if weight.name in ("g", "b")]
one, two = initialize("one"), initialize("mirrored")
assert any((np.abs(weight) > 0.01).any() for weight in one[1::2]) and len(one) > 20
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
print("equal")
"""
# The seeds of dropout belong to a replica: both that recompute have to draw what both that do not would have drawn.
RECOMPUTE = """
x = generator.integers(0, 4, [2, 4, 3, 4, 1]).astype(np.uint8)
def train(**options):
    keras.utils.set_random_seed(0)
    strategy = training.strategy("mirrored")
    with strategy.scope():
        sizes = {"filters": 4, "num_blocks": 1, "num_resnets": 1, "key_dim": 2, "dropout": 0.5}
        model = tfar.models.PixelSNAIL((3, 4, 1), tfar.heads.Categorical(4), **sizes, **options)
        optimizer = training.optimizer("adam", 0.01)
    step = training.TrainStep(model, optimizer, strategy, 4)
    losses = [float(step({"x": x[i]}, i)[0]) for i in range(2)]
    assert strategy.num_replicas_in_sync == 2
    return losses, [np.asarray(weight) for weight in model.weights]
(losses, weights), (again, found) = train(), train(recompute=True, attention_block_size=5)
np.testing.assert_allclose(again, losses, rtol=1e-4)
for a, b in zip(weights, found, strict=True):
    np.testing.assert_allclose(b, a, atol=1e-3)
print("equal")
"""
# TensorFlow mixes up the reductions of two strategies in one process where their shapes differ.
CARRIED_STATE = """
text = WindowBatches({"x": generator.integers(0, 4, [1, 200]).astype(np.int32)}, 4, 6, contiguous=True)
def carry(name):
    keras.utils.set_random_seed(0)
    strategy = training.strategy(name)
    with strategy.scope():
        model = tfar.models.CharRNN((None,), tfar.heads.Categorical(4), units=3, num_layers=1)
        optimizer = training.optimizer("adam", 0.05)
    def make():
        return training.TrainStep(model, optimizer, strategy, 4, carry_state=True)
    step, losses = make(), []
    for i in range(4):
        if i == 2:  # another process goes on
            arrays, step = step.carried_arrays(), make()
            step.restore_carried(arrays)
        losses.append(float(step(text.batch(i), i)[0]))
    return losses, step.carried_arrays()
one, two = carry("one"), carry("mirrored")
np.testing.assert_allclose(one[0], two[0], rtol=1e-5)
assert one[1].keys() == two[1].keys() and one[1]["last"].shape == (4,)
for key in one[1]:
    np.testing.assert_allclose(one[1][key], two[1][key], atol=1e-5)
print("equal")
"""
# Keras sums the gradients of the replicas.
FIT = """
x = (generator.random([8, 3, 3, 1]) < 0.3).astype(np.uint8)
weights = np.arange(8, dtype=np.float32)
def fit(name):
    keras.utils.set_random_seed(0)
    strategy = training.strategy(name)
    with strategy.scope():
        model = tfar.models.GatedPixelCNN((3, 3, 1), tfar.heads.Bernoulli(), filters=2, num_blocks=1)
        model.network.outputs.kernel.regularizer = keras.regularizers.L2(1.0)
        model.compile(keras.optimizers.SGD(0.1))
    data = tf.data.Dataset.from_tensors((x, None, weights))
    losses = model.fit(data.repeat(3), verbose=0, epochs=2).history["loss"]
    return losses, model.evaluate(data, verbose=0), [np.asarray(w) for w in model.weights]
one, two = fit("one"), fit("mirrored")
np.testing.assert_allclose(one[0], two[0], rtol=1e-4)
np.testing.assert_allclose(one[1], two[1], rtol=1e-4)
for a, b in zip(one[2], two[2], strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)
try:
    with training.strategy("mirrored").scope():
        bad = tfar.models.GatedPixelCNN((3, 3, 1), tfar.heads.Bernoulli(), filters=2, num_blocks=1)
        bad.compile("sgd")
    bad.fit(tf.data.Dataset.from_tensors(x + 1), verbose=0)
except ValueError as error:
    assert str(error).startswith("x must hold 0 and 1"), error
else:
    raise AssertionError("x + 1 was accepted")
print("equal")
"""


@pytest.mark.large
@pytest.mark.parametrize(
    "program",
    [IMAGES, WEIGHT_NORM, RECOMPUTE, CARRIED_STATE, FIT],
    ids=["images", "weight_norm", "recompute", "carried_state", "fit"],
)
def test_two_replicas_train_as_one_device(program):
    root = pathlib.Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(
        [sys.executable, "-c", START + program], env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0 and result.stdout.endswith("equal\n"), result.stderr[-3000:]
