"""tfar.models.PerConditional: a separate network per conditional."""

import itertools

import keras
import numpy as np
import pytest

from tfar import heads, models, orderings, testing
from tfar.core.conditions import Label, Spatial


def random_joint(shape, seed):
    """A joint distribution in which everything depends on everything."""
    table = np.random.default_rng(seed).gamma(0.5, size=shape) + 1e-3
    return table / table.sum()


def events(levels, length):
    return np.array(list(itertools.product(range(levels), repeat=length)), np.int32)


def test_the_linear_model_has_307720_parameters_for_784_pixels():
    model = models.PerConditional((28, 28, 1), heads.Bernoulli())
    assert model.count_params() == 784 * 783 // 2 + 784 == 307_720


def test_removing_a_net_changes_only_its_term():
    model = models.PerConditional((6,), heads.Bernoulli(), ordering=orderings.random(6, seed=3))
    testing.randomize_weights(model)
    x = testing.random_events(model, 5)
    before = model.score(x).numpy()
    for rank, node in enumerate(model.ordering.permutation):
        kernel, bias = model.network.kernel.numpy(), model.network.bias.numpy()
        removed, flat = kernel.copy(), bias.copy()
        removed[rank * (rank - 1) // 2 : rank * (rank + 1) // 2] = 0
        flat[rank] = 0
        model.network.kernel.assign(removed)
        model.network.bias.assign(flat)
        after = model.score(x).numpy()
        others = np.arange(6) != node
        np.testing.assert_array_equal(after[:, others], before[:, others])
        np.testing.assert_allclose(after[:, node], np.log(0.5), rtol=1e-6)
        assert (after[:, node] != before[:, node]).any()
        model.network.kernel.assign(kernel)
        model.network.bias.assign(bias)


def recover(fit_table, order, seed=0):
    """KL(true || model) after training on 20,000 samples of a joint of three variables in a given order."""
    joint = random_joint((3, 3, 3), seed).reshape(-1)
    space = events(3, 3)
    counts = np.random.default_rng(1).multinomial(20_000, joint)
    keras.utils.set_random_seed(0)
    model = models.PerConditional((3,), heads.Categorical(3), (16,), ordering=orderings.from_permutation(order))
    fit_table(model, space, counts / counts.sum(), steps=300)
    return float((joint * (np.log(joint) - model.log_prob(space).numpy())).sum())


# By default the identity, a cycle, which is not its own inverse, and a reversal.
FIRST_ORDERS = [(0, 1, 2), (1, 2, 0), (2, 1, 0)]


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(order, marks=[] if order in FIRST_ORDERS else pytest.mark.large)
        for order in itertools.permutations(range(3))
    ],
)
def test_recovers_a_joint_of_three_variables_in_every_order(order, fit_table):
    assert recover(fit_table, order) < 0.01


def test_the_first_net_is_a_bias():
    ordering = orderings.from_permutation([2, 0, 1])
    model = models.PerConditional((3,), heads.Categorical(3), hidden=(4,), ordering=ordering)
    testing.randomize_weights(model)
    first = model(events(3, 3)).numpy()[:, 2]
    np.testing.assert_array_equal(first, np.tile(model.network.bias.numpy()[0], (27, 1)))


def test_a_condition_shifts_every_factor():
    model = models.PerConditional((3,), heads.Bernoulli(), hidden=(3,), condition=Label(2))
    testing.randomize_weights(model)
    x = np.zeros([2, 3], np.int32)
    assert (model.score(x, [0, 0]).numpy() != model.score(x, [1, 1]).numpy()).all()


def test_an_ordering_of_the_pixels_is_taken_for_an_image():
    snake = orderings.snake(3, 3)
    model = models.PerConditional((3, 3, 1), heads.Bernoulli(), ordering=snake)
    assert model.ordering.shape == (9,)
    np.testing.assert_array_equal(model.ordering.ranks, snake.ranks.reshape(-1))
    assert model.sample(2, seed=0, jit_compile=False).shape == (2, 3, 3, 1)


def test_values_without_a_scale_are_embedded():
    assert models.PerConditional((3,), heads.Categorical(40)).embedding_dim == 16
    assert models.PerConditional((3,), heads.Categorical(3)).embedding_dim == 3
    assert models.PerConditional((3,), heads.Bernoulli()).embedding_dim is None
    assert models.PerConditional((3,), heads.Mixture("Normal", 2)).embedding_dim is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": (None,)}, "event_shape must be known"),
        ({"condition": Spatial(2)}, "condition must be a Label or a Vector"),
        ({"ordering": orderings.raster(4)}, r"ordering must .*3"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.PerConditional(**{"event_shape": (3,), "head": heads.Bernoulli(), **arguments})


def test_round_trip_keeps_the_ordering(tmp_path):
    ordering = orderings.random(4, seed=2)
    model = models.PerConditional((4,), heads.Bernoulli(), (3,), activation="tanh", ordering=ordering)
    testing.randomize_weights(model)
    loaded = testing.assert_saves(model, tmp_path)
    assert loaded.ordering == ordering


@pytest.mark.parametrize("preset", ["per_conditional_tiny", "per_conditional_small"])
def test_presets(preset):
    model = models.from_preset(preset, event_shape=(4,), head=heads.Categorical(3))
    assert model.log_prob(np.zeros([2, 4], np.int32)).shape == (2,)
