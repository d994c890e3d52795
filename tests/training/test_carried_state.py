"""Truncated back-propagation: the state goes on from batch to batch, and from process to process."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar import testing, training
from tfar.core.units import Unit
from tfar.data import WindowBatches

CLIP_VALUE = 1e-4
X = np.random.default_rng(0).integers(0, 4, [1, 150]).astype(np.int32)


def make_step(rate=0.01, dropout=0.0, condition=None, condition_dropout=0.0, **arguments):
    keras.utils.set_random_seed(0)
    strategy = training.strategy("one")
    with strategy.scope():
        given = {"dropout": dropout, "condition": condition, "condition_dropout": condition_dropout}
        model = tfar.models.CharRNN((None,), tfar.heads.Categorical(4), units=4, num_layers=1, **given)
        optimizer = training.optimizer("rmsprop", rate, rho=0.95)
    return training.TrainStep(model, optimizer, strategy, **{"batch_size": 3, "carry_state": True, **arguments})


def make_batches():
    return WindowBatches({"x": X}, 3, 6, contiguous=True)


@pytest.fixture(scope="module")
def make_fixed(anew):
    """Steps that leave the weights, which are random ones, as they are; every call begins anew."""
    step = make_step(rate=0.0, clip_norm=None)
    testing.randomize_weights(step.model)
    return anew(step)


@pytest.fixture(scope="module")
def make_dropping(anew):
    """Steps with dropout that clip the elements of the gradient; every call begins anew."""
    return anew(make_step(dropout=0.3, clip_value=CLIP_VALUE, clip_norm=None))


def test_the_losses_of_windows_are_those_of_the_whole_stretch(make_fixed):
    step, batches = make_fixed(), make_batches()
    steps = batches.steps_per_epoch
    for epoch in (0, 1):  # the second one begins from the zero state again
        seen = [batches.batch(epoch * steps + index) for index in range(steps)]
        losses = [float(step(batch, epoch * steps + index)[0]) for index, batch in enumerate(seen)]
        whole = np.concatenate([batch["x"] for batch in seen], 1)
        bits = -step.model.score(whole).numpy().mean(0) / np.log(2)
        np.testing.assert_allclose(losses, bits.reshape(steps, 6).mean(1), rtol=1e-5)
    np.testing.assert_array_equal(step.carried_arrays()["last"][:, 0], whole[:, -1])


def test_the_gradient_stops_at_the_border_of_a_window(make_fixed):
    step, batches = make_fixed(), make_batches()
    step(batches.batch(0), 0)
    carried = {key: tf.constant(value) for key, value in step.carried_arrays().items()}
    model, x = step.model, batches.batch(1)["x"]
    _, norm = step(batches.batch(1), 1)
    with tf.GradientTape() as tape:
        params, _ = step._advance({"x": tf.constant(x)}, tf.constant(6), carried)
        loss = model.compute_loss(x={"x": x}, y_pred=params)
    expected = tf.linalg.global_norm(tape.gradient(loss, model.trainable_variables))
    assert float(norm) == pytest.approx(float(expected), rel=1e-4)


def test_conditions_are_dropped_as_in_any_other_step():
    """With nearly all conditions dropped, the loss is that without the condition."""
    step = make_step(rate=0.0, condition=tfar.conditions.Label(3), condition_dropout=0.999)
    model = step.model
    testing.randomize_weights(model)
    batch = {"x": X[:, :18].reshape(3, 6), "condition": np.array([0, 1, 2]), "offset": 0}
    loss = float(step(batch, 0)[0])
    (stage,), context = model.stages, model.context(model.request(batch["condition"], 3))
    losses = []
    for told in (context, context.without_condition()):
        params = model.split(stage.parallel(tf.constant(batch["x"])[..., None], told))
        losses.append(float(model.compute_loss(x=batch["x"], y_pred=params)))
    assert loss == pytest.approx(losses[1], rel=1e-5) and abs(losses[0] - losses[1]) > 1e-3


def test_dropout_is_at_work(make_dropping):
    # Every time from the same weights.
    losses = [float(make_dropping()(make_batches().batch(0), index)[0]) for index in (0, 1, 0)]
    assert losses[0] != losses[1] and losses[0] == losses[2]


def test_elements_of_the_gradient_are_clipped(make_dropping):
    step = make_dropping()
    _, norm = step(make_batches().batch(0), 0)
    assert 0 < float(norm) <= CLIP_VALUE * np.sqrt(step.model.count_params())
    with pytest.raises(ValueError, match="clip_value"):
        make_step(clip_value=-1.0)


def loop(step, workdir, steps):
    settings = training.Settings(steps=steps, log_every=4, eval_every=7, checkpoint_every=3, eval_rows=2)
    return training.TrainingLoop(step, make_batches(), {"x": X[:, :40]}, settings, workdir, unit=Unit("char"))


def step_of(policy):
    keras.config.set_dtype_policy(policy)
    try:
        return make_step(dropout=0.3)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("policy", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.large)])
def test_a_resumed_run_goes_on_with_its_state(make_dropping, tmp_path, policy):
    make = make_dropping if policy == "float32" else lambda: step_of(policy)
    whole = loop(make(), tmp_path / "whole", 11)
    whole.run()
    carried = whole.train_step.carried_arrays()
    weights = [np.asarray(weight).copy() for weight in whole.train_step.model.weights]
    for steps in (5, 11):  # 5: in the middle of an epoch of 8 steps
        part = loop(make(), tmp_path / "part", steps)
        part.run()
    again = part.train_step.carried_arrays()
    assert set(carried) == {"last", "layers.0/h", "layers.0/c"}
    for key, value in carried.items():
        np.testing.assert_array_equal(value, again[key])
    for one, other in zip(weights, part.train_step.model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    text = whole.metrics_path.read_text()
    last = text.splitlines()[-1]
    assert last in part.metrics_path.read_text()
    assert "valid_bits_per_char" in last and "valid_nats_per_char" in last and "train_nats_per_char" in text


def test_models_that_carry_no_state_are_refused():
    keras.utils.set_random_seed(0)
    model = tfar.models.from_preset("gated_pixel_cnn_tiny", event_shape=(3, 3, 1), head=tfar.heads.Bernoulli())
    with pytest.raises(ValueError, match="carry_state needs a model of sequences"):
        training.TrainStep(model, keras.optimizers.Adam(), tf.distribute.get_strategy(), 2, carry_state=True)


def test_karpathys_optimizer():
    assert training.optimizer("rmsprop", 2e-3, rho=0.95).rho == 0.95
