"""Fixed-point iteration draws the incremental sample, block by block, and counts its passes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import conditions, heads, layers, models, orderings, testing
from tfar.core.event import Event
from tfar.core.noise import seed_rows, uniform
from tfar.core.request import NOTHING
from tfar.core.stage import Stage
from tfar.sampling import FixedPoint, SampleInputs
from tfar.sampling.fixed_point import block_size


@pytest.fixture(scope="module")
def sequence():
    """Depends strongly on what comes before: eight levels, every one of them far from the mean."""
    model = models.MADE((12,), heads.Categorical(8), hidden=(24,), direct=True)
    testing.randomize_weights(model, scale=3.0)
    return model


@pytest.fixture(scope="module")
def image():
    model = models.GatedPixelCNN(
        (6, 4, 2), heads.Categorical(3), filters=4, num_blocks=1, condition=conditions.Label(3), condition_dropout=0.1
    )
    testing.randomize_weights(model, scale=2.0)
    return model


@pytest.fixture(scope="module")
def image_sample(image):
    return image.sample(3, [0, 1, 2], seed=0, jit_compile=False).numpy()


@pytest.fixture(scope="module")
def sequence_sample(sequence):
    return sequence.sample(5, seed=0, jit_compile=False).numpy()


@pytest.mark.parametrize("block", [1, 5, 12, 40])
def test_blocks_of_a_sequence(sequence, sequence_sample, block):
    """12 steps in blocks that divide them, that leave some over, and that are longer."""
    with testing.eagerly():
        x, passes = sequence.sample(5, seed=0, method="fixed_point", block=block, return_passes=True)
    np.testing.assert_array_equal(x, sequence_sample)
    sizes = [min(block, 12 - begin) for begin in range(0, 12, block)]
    assert passes.per_block.shape == (5, len(sizes)) and passes.settled.shape == (5, 12)
    assert (passes.per_block >= 1).all() and (passes.per_block <= sizes).all()
    assert (passes.total == passes.per_block.sum(1)).all()


def test_passes_say_when_positions_came_to_rest(sequence, sequence_sample):
    """Pass k makes the first k positions right; what it changes last is noted; a last pass changes nothing before."""
    with testing.eagerly():
        _, passes = sequence.sample(5, seed=0, method="fixed_point", block=12, return_passes=True)
    assert (passes.settled <= 1 + np.arange(12)).all()
    assert (passes.settled[:, 0] == (sequence_sample[:, 0] != 0)).all(), "the first guess is 0"
    count = int(passes.per_block[0, 0])
    assert 2 < count < 12
    assert passes.settled[:, :-1].max() == count - 1 or count == 12
    # By hand: the draws from x, again and again.
    noise = uniform(seed_rows(0, 5), 12, 1)
    x, changed = np.zeros((5, 12), np.int32), np.zeros((5, 12), np.int32)
    for number in range(1, count + 1):
        drawn = sequence.head.sample(sequence.decode(sequence.encode(x)), noise).numpy()
        changed[drawn != x] = number
        x = drawn
    np.testing.assert_array_equal(x, sequence_sample)
    np.testing.assert_array_equal(changed, passes.settled)


class Successor(keras.layers.Layer):
    """x_t = x_(t-1) + 1, the first is 1: a pass makes one more position right, which is as slow as it can be."""

    def __init__(self):
        super().__init__()
        self.past = layers.CausalConv1D(1, 2, exclusive=True, use_bias=False)

    def call(self, x, context=None):
        return 50.0 * tf.one_hot(tf.cast(self.past(x)[..., 0], tf.int32) + 1, 16)


@pytest.mark.parametrize(("block", "expected"), [(7, [7]), (3, [3, 3, 1])])
def test_no_more_passes_than_positions(block, expected):
    stage = Stage(
        Successor(),
        Event((7,), heads.Categorical(16), "sequence"),
        (orderings.raster(7),),
        lambda x: tf.cast(x, tf.float32),
    )
    stage.parallel(tf.zeros([1, 7, 1], tf.int32))
    stage.network.past.kernel.assign([[[0.0]], [[1.0]]])  # oldest tap first
    inputs = SampleInputs(tf.fill([2, 7, 1], 0.5), tf.ones([2]), tf.zeros([2, 7, 1], tf.int32))
    sampler = FixedPoint(block)
    state = sampler.start(stage, inputs, NOTHING)
    for span in sampler.spans(stage, 0, 7, 1):
        state = sampler.advance(stage, state, inputs, NOTHING, span.begin, span.end, **span.options)
    assert sampler.values(stage, state, NOTHING)[..., 0].numpy().tolist() == [list(range(1, 8))] * 2
    per_block, settled = sampler.passes(stage, state, NOTHING)
    assert per_block[0].numpy()[: int(state.block)].tolist() == expected
    assert settled[0, :, 0].numpy().tolist() == [number + 1 for size in expected for number in range(size)]


@pytest.mark.parametrize("block", [1, 4])
def test_coupled_colours_guidance_and_conditions(image, block):
    """Three rows of six are left over by blocks of four; two copies of every example run under guidance."""
    common = {"condition": [0, 1, 2], "seed": 1, "guidance_scale": 1.7, "temperature": [1.0, 0.7, 1.3]}
    expected = image.sample(3, jit_compile=False, **common)
    with testing.eagerly():
        x, passes = image.sample(3, method="fixed_point", block=block, return_passes=True, **common)
    np.testing.assert_array_equal(x, expected)
    assert passes.settled.shape == (3, 6, 4, 2) and passes.per_block.max() <= block * 8


def test_batches_chunks_and_completion_in_a_graph(image, image_sample):
    """Batches of two with a padded one, cut into chunks; and the first rows and a half known."""
    labels, reports = [0, 1, 2], []
    common = {"seed": 0, "method": "fixed_point", "jit_compile": False, "return_passes": True, "block": 2}
    x, passes = image.sample(
        3, labels, batch_size=2, progress=lambda done, total: reports.append((done, total)), **common
    )
    np.testing.assert_array_equal(x, image_sample)
    assert passes.per_block.shape == (3, 3) and (passes.per_block[0] == passes.per_block[1]).all()
    assert reports[-1] == (12, 12)
    observed = np.arange(48).reshape(6, 4, 2) < 21
    again, passes = image.complete(np.where(observed, image_sample, 0), observed, labels, **common)
    np.testing.assert_array_equal(again, image_sample)
    assert passes.per_block.shape == (3, 2), "two rows are read, passes go over four"
    assert (passes.settled[:, :2] == 0).all()


def test_completion_of_a_whole_event(sequence, sequence_sample):
    observed = np.arange(12) < 12
    with testing.eagerly():
        x, passes = sequence.complete(sequence_sample, observed, method="fixed_point", seed=3, return_passes=True)
    np.testing.assert_array_equal(x, sequence_sample)
    assert passes.settled.max() == 0


def test_rows_between_resolutions():
    """Blocks of PixelCNN++ begin at rows that the graph does not know, where resolutions meet."""
    small = {"filters": 2, "num_resnets": 1, "num_resolutions": 2}
    model = models.PixelCNNPP((4, 4, 1), heads.DiscretizedLogisticMixture(2, bits=3), **small)
    testing.randomize_weights(model)
    (stage,) = model.stages
    assert stage.period == 2 and block_size(stage, 4) == 2
    testing.assert_fixed_point(model, 2)
    with pytest.raises(ValueError, match="block must be a multiple of 2 rows for this network, got 3"):
        model.sample(2, seed=0, method="fixed_point", block=3)


def test_equal_ranks_are_one_block():
    ordering = orderings.Ordering([0, 1, 0, 1])
    model = models.MADE((4,), heads.Bernoulli(), hidden=(4,))
    (stage,) = model.stages
    assert block_size(stage, 4, 1) == 1
    assert block_size(Stage(stage.network, stage.event, (ordering,), stage.encode), 4, 1) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "jacobi"}, r"method must be one of \['fixed_point', 'incremental', 'naive'\], got 'jacobi'"),
        ({"block": 2}, "block is for method='fixed_point', got block=2 with 'incremental'"),
        (
            {"return_passes": True},
            "return_passes is for method='fixed_point', got return_passes=True with 'incremental'",
        ),
        ({"method": "fixed_point", "block": 0}, "block must be an integer of at least 1, got 0"),
        ({"method": "fixed_point", "block": 1.5}, "block must be an integer of at least 1, got 1.5"),
    ],
)
def test_refuses(sequence, options, message):
    with pytest.raises(ValueError, match=message):
        sequence.sample(2, seed=0, **options)
