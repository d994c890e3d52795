"""What models of any order share; the network is a small masked attention."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import orderings, training
from tfar.core.event import Event
from tfar.core.request import Request
from tfar.models.any_order import trained_orderings


def net(event_shape=(4,), head=None, ordering="random", **kwargs):
    sizes = {"num_layers": 1, "width": 8, "num_heads": 2}
    model = tfar.models.MaskedAttention(event_shape, head or tfar.heads.Bernoulli(), ordering, **{**sizes, **kwargs})
    tfar.testing.randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def agnostic():
    return net()


def every_event(length=4):
    return np.array(list(itertools.product(range(2), repeat=length)), np.int32)


def test_every_order_is_a_density_of_its_own(agnostic):
    x = every_event()
    several = [orderings.raster(4), orderings.reversed_raster(4), orderings.random(4, seed=1)]
    nats = [agnostic.log_prob(x, ordering=each).numpy() for each in several]
    assert_close(np.exp(nats).sum(1), 1)
    np.testing.assert_allclose(nats[0], agnostic.log_prob(x), rtol=1e-5)
    assert np.abs(nats[1] - nats[0]).max() > 0.01
    mean = agnostic.log_prob(x, ordering=several)
    np.testing.assert_allclose(np.exp(mean), np.exp(nats).mean(0), rtol=1e-5)
    factors = agnostic.conditionals(x, ordering=several[2]).log_prob(x)
    np.testing.assert_allclose(agnostic.score(x, ordering=several[2]), factors, rtol=1e-5)


def test_any_mask_is_completed_exactly(agnostic):
    # p(x1, x3 | x0 = 1, x2 = 0) in the order 0, 2, 1, 3; frequencies within five standard deviations.
    num, observed = 2000, np.array([True, False, True, False])
    noise = np.random.default_rng(0).uniform(1e-6, 1 - 1e-6, (num, 4, 1))
    x = np.tile([1, 0, 0, 0], (num, 1))
    x = agnostic.complete(x, observed, noise=noise, batch_size=num, jit_compile=False).numpy()
    assert (x[:, [0, 2]] == [1, 0]).all()
    events = np.array([[1, a, 0, b] for a in range(2) for b in range(2)])
    order = orderings.from_permutation([0, 2, 1, 3])
    expected = np.exp(agnostic.score(events, ordering=order).numpy()[:, [1, 3]].sum(1))
    assert_close(expected.sum(), 1)
    found = np.bincount(x[:, 1] * 2 + x[:, 3], minlength=4) / num
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / num)).all()


def test_every_row_is_completed_in_an_order_of_its_own(agnostic):
    x = every_event()[:6]
    observed = np.random.default_rng(0).random(x.shape) < 0.5
    y = agnostic.complete(x, observed, seed=0, jit_compile=False).numpy()
    np.testing.assert_array_equal(y[observed], x[observed])
    naive = agnostic.complete(x, observed, seed=0, method="naive", jit_compile=False).numpy()
    np.testing.assert_array_equal(y, naive)
    for row in range(6):
        order = np.argsort(~observed[row], kind="stable")
        own = agnostic.complete(
            x[row : row + 1],
            observed[row],
            seed=np.array([[0, row]]),
            ordering=orderings.from_permutation(order),
            jit_compile=False,
        )
        np.testing.assert_array_equal(own[0], y[row])


def test_a_chosen_order_refuses_a_gap(agnostic):
    with pytest.raises(ValueError, match=r"example 0 position \(3,\) is missing although \(0,\)"):
        agnostic.complete(
            np.zeros([1, 4], int), np.array([True, False, False, False]), ordering=orderings.reversed_raster(4)
        )


def test_samples_in_a_chosen_order(agnostic):
    order = orderings.random(4, seed=2)
    x = agnostic.sample(5, seed=0, ordering=order, jit_compile=False)
    naive = agnostic.sample(5, seed=0, ordering=order, method="naive", jit_compile=False)
    np.testing.assert_array_equal(x, naive)
    assert (agnostic.sample(5, seed=0, jit_compile=False).numpy() != x.numpy()).any()


def test_pixels_are_completed_whole():
    model = net((2, 2, 3), tfar.heads.DiscretizedLogisticMixture(2, bits=3))
    x = tfar.testing.random_events(model, 2)
    observed = np.zeros([2, 2, 3], bool)
    observed[1] = True
    observed[0, 1, :2] = True  # the first colours of one more pixel
    y = model.complete(x, observed, seed=0, jit_compile=False).numpy()
    np.testing.assert_array_equal(y[:, observed], x[:, observed])
    observed[0, 0, 0] = True
    with pytest.raises(ValueError, match="is missing although"):
        model.complete(x, observed, seed=0)


def test_several_orders_are_averaged_as_probabilities():
    several = [orderings.raster(4), orderings.random(4, seed=3)]
    model = net(ordering=several)
    x = every_event()
    members = np.stack([model.log_prob(x, member=m) for m in range(2)])
    np.testing.assert_allclose(np.exp(model.log_prob(x)), np.exp(members).mean(0), rtol=1e-5)
    np.testing.assert_allclose(members[1], model.log_prob(x, ordering=several[1]), rtol=1e-5)
    with pytest.raises(ValueError, match="member is needed"):
        model.score(x)
    with pytest.raises(ValueError, match="exclude each other, got member=1"):
        model.score(x, member=1, ordering="raster")


def test_a_condition_travels_beside_the_order():
    model = net(condition=tfar.conditions.Label(2))
    x, order = every_event(), orderings.reversed_raster(4)
    nats = [model.log_prob(x, np.full(16, label), ordering=order).numpy() for label in range(2)]
    assert_close(np.exp(nats).sum(1), 1)
    assert np.abs(nats[0] - nats[1]).max() > 0.01
    with pytest.raises(ValueError, match="condition is required"):
        model.log_prob(x, ordering=order)


# === Training ===


def test_training_draws_an_order_for_every_row(agnostic):
    order = agnostic.take_turn(Request(), 64).order.numpy()
    np.testing.assert_array_equal(np.sort(order, 1), np.tile(np.arange(4), (64, 1)))
    assert len({tuple(row) for row in order.tolist()}) > 12
    assert (agnostic.take_turn(Request(), 64).order.numpy() != order).any()
    several = net(ordering=["raster", "reversed_raster"])
    assert {tuple(row) for row in several.take_turn(Request(), 32).order.numpy().tolist()} == {
        (0, 1, 2, 3),
        (3, 2, 1, 0),
    }
    single = net(ordering="reversed_raster")
    x = every_event()
    np.testing.assert_array_equal(single(x, training=True), single(x))


def test_random_orders_give_way_to_raster():
    model = net((6,), order_annealing=(100, 200))

    def share(step):
        model.training_steps.assign(step)
        return float((model.take_turn(Request(), 500).order.numpy() != np.arange(6)).any(1).mean())

    assert share(0) > 0.98 and share(100) > 0.98
    assert share(150) == pytest.approx(0.5, abs=0.1)
    assert share(200) == share(10_000) == 0
    assert int(model.training_steps) == 10_001


def test_a_training_step_is_a_function_of_its_number():
    losses, strategy = [], training.strategy("one")
    for _ in range(2):
        with strategy.scope():
            model, optimizer = net(order_annealing=(1, 5)), keras.optimizers.Adam(0.01)
        step = training.TrainStep(model, optimizer, strategy, 16, seed=3)
        losses.append([float(step({"x": every_event()}, number)[0]) for number in range(3)])
        assert int(model.training_steps) == 3
    assert losses[0] == losses[1]


# === Configuration ===


def test_configuration_keeps_the_orders():
    for ordering in ("random", [orderings.random(2, 2, seed=0), "zigzag"]):
        model = net((2, 2, 1), ordering=ordering, order_annealing=[1, 2])
        other = type(model).from_config(model.get_config())
        assert other.orderings == model.orderings
        assert other.order_agnostic == (ordering == "random")
        assert other.order_annealing == (1, 2)


def test_orders_by_name():
    event = Event((4, 4, 3), tfar.heads.Categorical(2), "sequence")
    found = trained_orderings(["hilbert", "snakes"], event)
    assert len(found) == 9
    first = orderings.hilbert(4, 4).permutation
    np.testing.assert_array_equal(found[0].permutation, (first[:, None] * 3 + np.arange(3)).reshape(-1))
    assert trained_orderings("random", event) == trained_orderings(None, event) == [orderings.raster(48)]


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"ordering": "spiral"}, "ordering must be .* got 'spiral'"),
        ({"ordering": "snake"}, "ordering must be .* got 'snake'"),
        ({"ordering": []}, "one order or more"),
        ({"ordering": orderings.raster(3)}, "ordering must have 4 cells .* got shape .3,"),
        ({"order_annealing": (3, 3)}, "order_annealing must be .* got .3, 3"),
        ({"event_shape": (None,)}, "event_shape must be known"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        net(**argument)


def test_one_order_where_one_is_needed(agnostic):
    x = tf.zeros([1, 4], tf.int32)
    for several in ("random", [orderings.raster(4)] * 2):
        with pytest.raises(ValueError, match="ordering must be one order here"):
            agnostic.score(x, ordering=several)
