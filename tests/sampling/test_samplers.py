"""Both samplers invert the same distribution, in chunks, from known beginnings, for a joint known by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import heads, layers, models, orderings, testing
from tfar.core import scope as scopes
from tfar.core.event import Event
from tfar.core.noise import seed_rows, uniform
from tfar.core.request import NOTHING
from tfar.core.stage import Stage
from tfar.sampling import SampleInputs, by_rank, incremental, naive

SAMPLERS = pytest.mark.parametrize("sampler", [naive, incremental], ids=["naive", "incremental"])


class Copy(keras.layers.Layer):
    """p(first = 1) = 3/4; every other value repeats the one before with probability 7/8: a joint known by hand."""

    def __init__(self, ordering):
        super().__init__()
        self.ordering = ordering
        # The older of the two taps is 0; it is there so that a step has a state to carry.
        self.past = layers.CausalConv1D(2, 2, exclusive=True, use_bias=False)

    def call(self, x, context=None):
        """Inputs are (value, 1): the second is 0 before the first element, which tells the beginning."""
        if scopes.current() is not None:
            return self.logits(x)
        in_order = tf.gather(x, self.ordering.permutation, axis=1)
        return tf.gather(self.logits(in_order), self.ordering.ranks, axis=1)

    def logits(self, x):
        value, started = tf.split(self.past(x), 2, -1)
        return tf.where(started > 0.5, (2 * value - 1) * np.log(7.0), np.log(3.0))


def copy_stage(length=4, ordering=None):
    event = Event((length,), heads.Bernoulli(), "sequence")
    network = Copy(ordering or orderings.raster(length))
    network(tf.zeros([1, length, 2]))
    network.past.kernel.assign([np.zeros([2, 2]), np.eye(2)])  # oldest tap first

    def encode(x):
        values = tf.cast(x, tf.float32)
        return tf.concat([values, tf.ones_like(values)], -1)

    return Stage(network, event, (network.ordering,), encode)


def run(sampler, stage, noise, pieces=None, **known):
    values = tf.zeros([noise.shape[0], *stage.event.grid, stage.event.channels], tf.int32)
    inputs = SampleInputs(noise, tf.ones([noise.shape[0]]), **{"values": values, **known})
    state = sampler.start(stage, inputs, NOTHING)
    units = sampler.num_units(stage, stage.event.num_cells)
    for begin, end in pieces or [(0, units)]:
        state = sampler.advance(stage, state, inputs, NOTHING, tf.constant(begin), tf.constant(end))
    return sampler.values(stage, state, NOTHING).numpy()


@SAMPLERS
def test_joint_known_by_hand(sampler):
    """Frequencies of all 16 events within five standard deviations."""
    num = 4000
    stage = copy_stage()
    noise = tf.constant(np.random.default_rng(0).uniform(1e-6, 1 - 1e-6, (num, 4, 1)), tf.float32)
    x = tf.function(lambda noise: run_values(sampler, stage, noise), autograph=False)(noise).numpy()[..., 0]
    found = np.bincount(x @ [8, 4, 2, 1], minlength=16) / num
    events = np.array([[int(bit) for bit in f"{index:04b}"] for index in range(16)])
    same = (events[:, 1:] == events[:, :-1]).sum(1)
    expected = np.where(events[:, 0] == 1, 0.75, 0.25) * (7 / 8) ** same * (1 / 8) ** (3 - same)
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / num)).all()


def run_values(sampler, stage, noise):
    inputs = SampleInputs(noise, tf.ones([noise.shape[0]]), tf.zeros([noise.shape[0], 4, 1], tf.int32))
    state = sampler.advance(stage, sampler.start(stage, inputs, NOTHING), inputs, NOTHING, 0, 4)
    return sampler.values(stage, state, NOTHING)


@SAMPLERS
def test_draws_are_the_inverse_distribution_function(sampler):
    """u = 0.9 draws 1 where p(1) > 0.1: 1, then copies with 7/8; u = 0.05 draws 0 everywhere but p(0) <= 0.05."""
    noise = tf.constant([[0.9, 0.9, 0.05, 0.5], [0.2, 0.9, 0.1, 0.1]])[..., None]
    # p(0) before every draw: 1/4, 1/8 after a 1, 7/8 after a 0; a draw is 1 where u >= p(0).
    assert run(sampler, copy_stage(), noise)[..., 0].tolist() == [[1, 1, 0, 0], [0, 1, 0, 0]]


@SAMPLERS
def test_order_of_drawing(sampler):
    """Drawn backwards, the noise of a position still belongs to its place, and the chain runs backwards."""
    noise = uniform(seed_rows(1, 50), 4, 1)
    forwards = run(sampler, copy_stage(), noise)
    backwards = run(sampler, copy_stage(ordering=orderings.reversed_raster(4)), noise[:, ::-1])
    np.testing.assert_array_equal(forwards, backwards[:, ::-1])


@SAMPLERS
def test_chunks(sampler):
    noise = uniform(seed_rows(2, 20), 4, 1)
    whole = run(sampler, copy_stage(), noise)
    np.testing.assert_array_equal(run(sampler, copy_stage(), noise, [(0, 1), (1, 3), (3, 4)]), whole)


@SAMPLERS
def test_observed_values_are_kept_and_condition_the_rest(sampler):
    noise = uniform(seed_rows(3, 200), 4, 1)
    values = tf.tile(tf.constant([[[1], [0], [0], [0]]]), [200, 1, 1])
    observed = tf.tile(tf.constant([[[True], [True], [False], [False]]]), [200, 1, 1])
    x = run(sampler, copy_stage(), noise, values=values, observed=observed)[..., 0]
    assert (x[:, :2] == [1, 0]).all()
    # After 1, 0 the next is 0 with probability 7/8.
    assert abs((x[:, 2] == 0).mean() - 7 / 8) < 5 * np.sqrt(7 / 64 / 200)


@pytest.fixture(scope="module")
def image_model():
    model = models.GatedPixelCNN((4, 2, 2), heads.Categorical(3), filters=2, num_blocks=1)
    testing.randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def sequence_model():
    """What holds for batches of any events holds for those of a cheap model."""
    model = models.MADE((6,), heads.Categorical(3), hidden=(8,))
    testing.randomize_weights(model)
    return model


def drawn_and_read(stage, noise, units):
    """What drawing `units` units leaves, and what reading the same values in blocks leaves."""
    inputs = SampleInputs(
        noise, tf.ones([noise.shape[0]]), tf.zeros([2, *stage.event.grid, stage.event.channels], tf.int32)
    )
    single = incremental.start(stage, inputs, NOTHING)
    single = incremental.advance(stage, single, inputs, NOTHING, tf.constant(0), tf.constant(units))
    read = single._replace(carry=stage.begin(2))
    for size in incremental.blocks(stage, units):
        read = incremental.read(stage, size, read, NOTHING)
    return single.carry, read.carry


def assert_same_carry(a, b):
    assert int(a.position) == int(b.position)
    np.testing.assert_array_equal(a.last, b.last)
    assert sorted(a.state) == sorted(b.state)
    for key, value in a.state.items():
        np.testing.assert_allclose(value, b.state[key], atol=1e-5, err_msg=key)


@pytest.mark.parametrize("length", [pytest.param(1, marks=pytest.mark.large), 3, 4])
def test_known_rows_of_an_image_are_read_in_blocks(image_model, length):
    """Known rows taken as blocks leave the carry that drawing the same values row by row leaves."""
    assert_same_carry(*drawn_and_read(*image_model.stages, uniform(seed_rows(4, 2), 16, 1), length))


@pytest.mark.parametrize("ordering", [orderings.raster(6), orderings.from_permutation([3, 0, 5, 1, 2, 4])])
def test_known_elements_of_a_sequence_are_read_in_blocks(ordering):
    assert_same_carry(*drawn_and_read(copy_stage(6, ordering), uniform(seed_rows(5, 2), 6, 1), 5))


def test_few_sizes_of_blocks_serve_every_length(image_model):
    assert incremental.blocks(*image_model.stages, 1033) == [512, 512, 8, 1]


def test_units(image_model):
    (stage,) = image_model.stages
    assert incremental.num_units(stage, 8) == 4  # rows
    assert naive.num_units(stage, 8) == 8
    assert incremental.num_units(copy_stage(), 4) == naive.num_units(copy_stage(), 4) == 4


class Independent(keras.layers.Layer):
    """Cells of even number are independent; those of odd number repeat the one before them with probability 7/8."""

    def __init__(self):
        super().__init__()
        self.weight = self.add_weight(shape=(), initializer="ones", name="weight")

    def call(self, x):
        before = tf.pad(x[:, :-1, :1], [[0, 0], [1, 0], [0, 0]])
        odd = (tf.range(x.shape[1]) % 2 == 1)[:, None]
        return self.weight * tf.where(odd, (2 * before - 1) * np.log(7.0), np.log(3.0))


# Both methods run the sampler of orders with equal ranks.
@pytest.mark.parametrize("method", ["naive", pytest.param("incremental", marks=pytest.mark.large)])
def test_cells_of_equal_rank_are_drawn_together(method):
    ordering = orderings.Ordering([0, 1, 0, 1, 0, 1])
    model = models.AutoregressiveModel(Independent(), (6,), heads.Bernoulli(), ordering=ordering, layout="sequence")
    testing.assert_normalized(model)
    testing.assert_causal(model, blind=[(t, s) for t in (1, 3, 5) for s in (0, 2, 4) if s != t - 1])
    x = model.sample(4000, seed=0, method=method, jit_compile=False, batch_size=4000).numpy()
    np.testing.assert_array_equal(x, model.sample(4000, seed=0, jit_compile=False, batch_size=4000))
    assert abs(x[:, ::2].mean() - 3 / 4) < 0.02 and abs((x[:, ::2] == x[:, 1::2]).mean() - 7 / 8) < 0.02
    assert by_rank.num_units(*model.stages, 6) == 2
    # Any cells of the first rank may be known, and any of the second where all of the first are.
    known = np.array([False, False, True, False, True, False])
    y = model.complete(x[:50], known, seed=1, jit_compile=False).numpy()
    np.testing.assert_array_equal(y[:, known], x[:50][:, known])
    with pytest.raises(ValueError, match=r"position \(0,\) is missing although \(1,\), which is drawn later"):
        model.complete(x[:50], np.array([False, True, False, False, False, False]), seed=1)


def test_padded_batches_of_one_shape(sequence_model):
    """num = 5 in batches of 2: the last batch is filled up, its filling is not returned."""
    together = sequence_model.sample(5, seed=3, jit_compile=False)
    np.testing.assert_array_equal(sequence_model.sample(5, seed=3, batch_size=2, jit_compile=False), together)


def test_progress_counts_units_of_all_batches(sequence_model):
    reports = []
    sequence_model.sample(
        3, seed=0, batch_size=2, jit_compile=False, progress=lambda done, total: reports.append((done, total))
    )
    assert reports == [(done, 12) for done in range(1, 13)]


def test_everything_observed_is_returned(image_model):
    x = testing.random_events(image_model, 2)
    for method in ("incremental", "naive"):
        with testing.eagerly():
            kept = image_model.complete(x, np.ones((4, 2, 2), bool), method=method, seed=0)
        np.testing.assert_array_equal(kept, x)


def test_rows_may_know_different_beginnings(image_model):
    """Every row is completed as if it were alone."""
    x = testing.random_events(image_model, 2, seed=1)
    observed = np.zeros((2, 16), bool)
    observed[0, :3], observed[1, :11] = True, True
    observed = observed.reshape(x.shape)
    seeds = np.array([[1, 0], [2, 0]])
    both = image_model.complete(x, observed, seed=seeds, jit_compile=False).numpy()
    for row in range(2):
        part = slice(row, row + 1)
        with testing.eagerly():
            alone = image_model.complete(x[part], observed[part], seed=seeds[part])
        np.testing.assert_array_equal(alone[0], both[row])
    assert (both[observed] == x[observed]).all()


def test_given_noise_is_used(sequence_model):
    noise = uniform(seed_rows(6, 2), 6, 1)
    by_seed = sequence_model.sample(2, seed=6, jit_compile=False)
    np.testing.assert_array_equal(sequence_model.sample(2, noise=noise, jit_compile=False), by_seed)
    low = sequence_model.sample(2, noise=np.full([2, 6, 1], 1e-6), jit_compile=False)
    assert not low.numpy().any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num": 0}, "num must be an integer of at least 1, got 0"),
        ({"num": 1.5}, "num must be an integer of at least 1, got 1.5"),
        ({"num": True}, "num must be an integer of at least 1, got True"),
        ({"num": 2, "batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"num": 2, "method": "fast"}, "method must be one of .*, got 'fast'"),
        ({"num": 2, "temperature": 0}, "temperature must be a positive number"),
        ({"num": 2, "noise": np.zeros([2, 15, 1])}, r"noise must have shape \(2, 16, 1\), got \(2, 15, 1\)"),
        ({"num": 2, "seed": np.zeros([3, 2], int)}, r"int64 array of shape \(2, 2\)"),
    ],
)
def test_sample_refuses_by_name(image_model, arguments, message):
    with pytest.raises(ValueError, match=message):
        image_model.sample(**arguments)


@pytest.mark.parametrize(
    ("x", "observed", "message"),
    [
        (np.zeros([2, 4, 2]), np.ones([4, 2, 2], bool), "x must have shape .batch, 4, 2, 2., got .2, 4, 2."),
        (np.zeros([2, 4, 2, 2]), np.ones([4, 2], bool), "observed must be bool of shape .4, 2, 2. or .2, 4, 2, 2."),
        (np.zeros([2, 4, 2, 2]), np.ones([4, 2, 2]), "observed must be bool .*, got float64"),
        (np.full([2, 4, 2, 2], 3), np.ones([4, 2, 2], bool), "x must hold whole numbers from 0 to 2"),
    ],
)
def test_complete_refuses_by_name(image_model, x, observed, message):
    with pytest.raises(ValueError, match=message):
        image_model.complete(x, observed)


def test_values_that_are_not_observed_are_not_checked(sequence_model):
    x = np.full([2, 6], 99)
    x[:, 0] = 1
    observed = np.zeros([6], bool)
    observed[0] = True
    assert sequence_model.complete(x, observed, seed=0, jit_compile=False).numpy().max() < 3


@pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16"])
def test_embedded_values_keep_their_precision(policy):
    """The element before has the type of the embedding from the first step on; in float64 samplers agree exactly."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = models.GatedPixelCNN((2, 2, 1), heads.Categorical(3), filters=2, num_blocks=1, embedding_dim=2)
    finally:
        keras.config.set_dtype_policy(before)
    testing.randomize_weights(model)
    assert model.encode(np.zeros([1, 2, 2, 1], int)).dtype.name == model.compute_dtype
    if policy == "float64":
        assert testing.assert_incremental_matches_parallel(model, modes=("eager",)) < 1e-10
        with testing.eagerly():
            assert testing.assert_samples_agree(model, 4) == (16, 0)
    else:
        model.head.check(model.sample(4, seed=0, jit_compile=False))
