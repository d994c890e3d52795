import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar import orderings
from tfar.core.request import Request
from tfar.models.ensemble import flat_ordering
from tfar.testing import assert_causal, assert_incremental_matches_parallel, random_events, randomize_weights
from tfar.testing.blind import blind_of_locally_masked_pixel_cnn


def net(event_shape=(3, 3, 1), head=None, ordering=None, **kwargs):
    sizes = {"filters": 4, "num_resnets": 1, "num_stages": 1}
    model = tfar.models.LocallyMaskedPixelCNN(
        event_shape, head or tfar.heads.Categorical(3), ordering, **{**sizes, **kwargs}
    )
    randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def agnostic():
    """Kernels of 5 x 5 see all of 3 x 3 pixels."""
    return net(ordering="random", kernel_size=5)


@pytest.mark.parametrize(
    "ordering",
    [
        pytest.param(orderings.column_major(3, 3), marks=pytest.mark.large),
        orderings.reversed_raster(3, 3),
        pytest.param(orderings.zigzag(3, 3), marks=pytest.mark.large),
        orderings.random(3, 3, seed=0),
        orderings.snakes(3, 3)[1],
        *[pytest.param(snake, marks=pytest.mark.large) for snake in orderings.snakes(3, 3)[4::3]],
    ],
)
def test_sees_all_that_is_drawn_before_and_nothing_else(agnostic, ordering):
    assert_causal(agnostic, Request(order=tf.tile(ordering.permutation[None], [8, 1])))


def test_rows_of_a_batch_may_have_orders_of_their_own(agnostic):
    orders = np.stack([orderings.random(9, seed=seed).permutation for seed in range(8)])
    assert_causal(agnostic, Request(order=tf.constant(orders)))
    given = Request(order=tf.constant(orders[:2]))
    blocks = [(0, 9), (2, 4)]
    assert assert_incremental_matches_parallel(agnostic, condition=given, modes=("eager",), blocks=blocks) < 1e-5


def test_any_mask_is_completed(agnostic):
    x = random_events(agnostic, 4)
    observed = np.random.default_rng(0).random(x.shape) < 0.5
    y = agnostic.complete(x, observed, seed=0, jit_compile=False).numpy()
    np.testing.assert_array_equal(y[observed], x[observed])
    naive = agnostic.complete(x, observed, seed=0, method="naive", jit_compile=False)
    np.testing.assert_array_equal(y, naive)


def test_a_raster_of_small_kernels_has_a_blind_spot():
    model = net((4, 5, 1), num_stages=1)
    blind = blind_of_locally_masked_pixel_cnn(model)
    assert (6, 2) not in blind and (5, 2) in blind  # one to the right of the pixel above, and two
    assert_causal(model, blind=blind)


def test_dilated_stages_in_a_snake():
    model = net((3, 4, 1), ordering=orderings.snakes(3, 4)[6], num_stages=2)
    assert_causal(model, blind=blind_of_locally_masked_pixel_cnn)
    assert assert_incremental_matches_parallel(model, modes=("eager",), blocks=[(5, 4)]) < 1e-5


def test_an_order_turned_with_the_image():
    # The network has no positions: a mirrored image in the mirrored order, with mirrored kernels, costs the same.
    model, order = net((3, 4, 1)), orderings.random(3, 4, seed=5)
    x = random_events(model, 2)
    nats = model.log_prob(x, ordering=order).numpy()
    for weight in model.trainable_weights:
        if weight.shape.rank == 4:
            weight.assign(weight.numpy()[:, ::-1])
    mirrored = orderings.Ordering(order.ranks[:, ::-1])
    np.testing.assert_allclose(model.log_prob(x[:, :, ::-1], ordering=mirrored), nats, rtol=1e-5)
    assert np.abs(model.log_prob(x, ordering=order).numpy() - nats).max() > 1e-3


def test_the_eight_snakes_are_averaged_as_probabilities():
    model = net((2, 2, 1), ordering="snakes", kernel_size=3)
    assert [flat_ordering(each, model.event) for each in orderings.snakes(2, 2)] == list(model.orderings)
    x = random_events(model, 5)
    members = np.stack([model.log_prob(x, member=m) for m in range(8)])
    np.testing.assert_allclose(np.exp(model.log_prob(x)), np.exp(members).mean(0), rtol=1e-5)
    assert np.ptp(members, 0).max() > 1e-3


def test_the_papers_size():
    # Two kernels per block over concatenated ELUs; every layer up but the last has a shortcut to a block down.
    def count(f, resnets, stages):
        block, up, dilated = 54 * f * f + 3 * f + 4 * f, resnets * stages, 2 * (stages - 1)
        down = up + stages - 1
        first, outputs = 9 * 4 * f + 3 * f, 100 * f + 100
        return (up + down) * block + down * (2 * f * f + f) + dilated * (9 * f * f + 3 * f) + first + outputs

    model = net((2, 2, 3), tfar.heads.DiscretizedLogisticMixture(10), filters=6, num_stages=2)
    assert model.count_params() == count(6, 1, 2)
    assert [len(stage) for stage in model.network.up + model.network.down] == [1, 1, 1, 2]
    preset = tfar.models.LocallyMaskedPixelCNN.PRESETS["locally_masked_pixel_cnn_cifar10"]
    size = count(preset["filters"], preset["num_resnets"], preset["num_stages"])
    assert size == pytest.approx(46e6, rel=0.01)


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"event_shape": (4,)}, "event_shape must be .height, width, channels., got .4,"),
        ({"event_shape": (2, 2, 3)}, "head must model whole pixels .* 3 channels, got Categorical"),
        ({"num_stages": 0}, "num_stages must be at least 1, got 0"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"condition": tfar.conditions.Local(2, 2)}, "condition must be a Label, a Vector or a Spatial"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        net(**argument)
