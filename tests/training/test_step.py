import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import training

# What is traced is shared by the tests of two files.
pytestmark = pytest.mark.xdist_group("train_steps")
CLIP_NORM = 1e-3


def weights(step):
    return [np.asarray(weight) for weight in step.model.trainable_variables]


def batch(arrays, size=8):
    return {key: value[:size] for key, value in arrays.items()}


@pytest.fixture(scope="module")
def trained(make_step, arrays):
    """A step object after three steps, with the weights and averages after each, and the optimizer's after the first.

    Gradients are clipped from the first step on.
    """
    step, history, moments = make_step(dropout=0.0, ema_decay=0.15, clip_norm=CLIP_NORM), [], []
    for index in range(3):
        before = weights(step)
        loss, norm = step(batch(arrays), index)
        averages = [average.numpy() for average in step.averages]
        history.append((before, float(loss), float(norm), weights(step), averages))
        moments = moments or [np.asarray(v).copy() for v in step.optimizer.variables if "momentum" in v.path]
    return step, history, moments


def test_loss_is_bits_per_dim_before_the_update(trained, arrays):
    step, history, _ = trained
    for weight, value in zip(step.model.trainable_variables, history[1][0], strict=True):
        weight.assign(value)
    expected = step.model.bits_per_dim(arrays["x"][:8], arrays["condition"][:8])
    for weight, value in zip(step.model.trainable_variables, history[-1][3], strict=True):
        weight.assign(value)
    assert history[1][1] == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-5)


def test_first_step_copies_the_weights_then_averages(trained):
    _, history, _ = trained
    for weight, average in zip(history[0][3], history[0][4], strict=True):
        np.testing.assert_array_equal(weight, average)
    # k / (k + 9) at the second step; at the third 2 / 11 is above ema_decay.
    for index, decay in ((1, 0.1), (2, 0.15)):
        for old, new, got in zip(history[index - 1][4], history[index][3], history[index][4], strict=True):
            assert_close(got, decay * old + (1 - decay) * new, 1e-6)


def test_averaged_weights_are_swapped_in_and_restored(trained):
    step, history, _ = trained
    with pytest.raises(KeyError), step.averaged_weights():
        for weight, average in zip(weights(step), history[-1][4], strict=True):
            np.testing.assert_array_equal(weight, average)
        raise KeyError
    for weight, raw in zip(weights(step), history[-1][3], strict=True):
        np.testing.assert_array_equal(weight, raw)


def test_dropout_is_a_function_of_the_step(make_step, arrays):
    # Every time from the same weights.
    losses = [float(make_step(dropout=0.5)(batch(arrays), index)[0]) for index in (0, 1, 0)]
    assert losses[0] != losses[1] and losses[0] == losses[2]


def test_gradients_are_clipped_by_their_global_norm(trained):
    step, history, moments = trained
    assert history[0][2] > CLIP_NORM  # reported before clipping
    # After one step Adam's first moment is (1 - beta_1) times the gradient that it was given.
    assert len(moments) == len(step.model.trainable_variables)
    total = np.sqrt(sum(np.sum(np.square(moment / 0.1)) for moment in moments))
    assert total == pytest.approx(CLIP_NORM, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"ema_decay": 1.0}, "ema_decay"), ({"batch_size": 0}, "batch_size"), ({"clip_norm": -1.0}, "clip_norm")],
)
def test_bad_arguments(make_step, arguments, match):
    with pytest.raises(ValueError, match=match):
        make_step(**arguments)


def test_unknown_strategy():
    with pytest.raises(ValueError, match="strategy must be one of"):
        training.strategy("tpu")


def test_the_members_of_an_ensemble_take_turns():
    model = tfar.models.MADE((4,), tfar.heads.Bernoulli(), hidden=(6,), num_masks=3)
    step = training.TrainStep(model, keras.optimizers.Adam(1e-3), tf.distribute.get_strategy(), batch_size=2)
    values = {"x": np.array([[0, 1, 0, 1], [1, 1, 0, 0]], np.int32)}
    for index in range(4):
        step(values, index)
    assert int(model.training_steps.value) == 4
