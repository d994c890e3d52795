"""Models of several parts; the parts are small Gated PixelCNNs and one that is drawn at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import testing
from tfar.core.orderings import together
from tfar.core.views import Cells, View
from tfar.layers.composite import Composite
from tfar.models import Chain, Part

BINARY = tfar.heads.Bernoulli()
# A pixel sees what its part is told at its own place and above. Those that are drawn at once see the two parts before
# them at their own place alone. Positions are those of all parts, two rows of each.
BLIND = {(2, 1), (4, 1), (4, 3), (6, 0), (6, 1), (7, 0), (7, 1), (6, 3), (6, 5), (7, 2), (7, 4)}


@keras.saving.register_keras_serializable("tests")
class Pointwise(Composite):
    """A network that reads its condition alone."""

    def __init__(self, outputs, **kwargs):
        super().__init__(**kwargs)
        self.outputs = keras.layers.Dense(outputs)

    def call(self, x, condition=None):
        return self.outputs(condition)

    def get_config(self):
        return {**super().get_config(), "outputs": self.outputs.units}


@keras.saving.register_keras_serializable("tests")
class Scaled(Composite):
    """Encodes the parts before, a number for the place, and the label."""

    def __init__(self, place, **kwargs):
        super().__init__(**kwargs)
        self.place = place

    def call(self, earlier, label=None):
        maps = tf.concat([BINARY.encode(y) for y in earlier], -1)
        maps = tf.pad(maps, [[0, 0], [0, 0], [0, 0], [0, 2 - maps.shape[-1]]])
        if label is not None:
            maps += label[:, None, None]
        return tf.concat([maps, tf.fill([*tf.unstack(tf.shape(maps)[:3]), 1], float(self.place))], -1)

    def get_config(self):
        return {**super().get_config(), "place": self.place}


def gated(shape, condition=None):
    return tfar.models.GatedPixelCNN(shape, BINARY, 4, 1, 3, 3, condition=condition)


def three_parts(**kwargs):
    """Two columns drawn pixel by pixel by one shared model, then the others at once."""
    own, given = gated((2, 1, 1), tfar.conditions.Spatial(3)), tfar.conditions.Spatial(3)
    rest = tfar.models.AutoregressiveModel(Pointwise(1), (2, 1, 1), BINARY, given, together(2, 1))
    parts = [
        Part("first", gated((2, 1, 1), kwargs.get("condition")), Cells((0, 0), (1, 4))),
        Part("left", own, Cells((0, 1), (1, 4)), Scaled(1)),
        Part("right", own, Cells((0, 2), (1, 4)), Scaled(2)),
        Part("rest", rest, Cells((0, 3), (1, 4)), LastTwo(3)),
    ]
    model = Chain((2, 4, 1), BINARY, parts, **kwargs)
    testing.randomize_weights(model)
    return model


@keras.saving.register_keras_serializable("tests")
class LastTwo(Scaled):
    """Encodes the last two parts before."""

    def call(self, earlier, label=None):
        return super().call(earlier[-2:], label)


@pytest.fixture(scope="module")
def chain():
    return three_parts()


@pytest.fixture(scope="module")
def labelled():
    return three_parts(condition=tfar.conditions.Label(2), condition_dropout=0.5)


def test_laws(chain, tmp_path):
    with testing.eagerly():
        testing.assert_normalized(chain)
    testing.assert_causal(chain, blind=BLIND)
    loaded = testing.assert_saves(chain, tmp_path)
    assert loaded.part("left").model is loaded.part("right").model is not loaded.part("first").model
    assert len(loaded.weights) == len(chain.weights)
    testing.assert_incremental_matches_parallel(loaded, modes=("eager",), original=chain)
    assert testing.assert_samples_agree(chain, 3) == (24, 0)


def test_a_leak_between_parts_is_found(chain):
    with pytest.raises(AssertionError, match=r"1 pair is seen that should be blind: position \(4,\) sees \(2,\)"):
        testing.assert_causal(chain, blind={(4, 2)})


def test_score_lies_on_the_canvas(chain):
    x = testing.random_events(chain, 3)
    score, nats = chain.score(x), chain.log_prob(x)
    assert_close(tf.reduce_sum(score, [1, 2, 3]), nats)
    factors = chain.conditionals(x, part="left").log_prob(x[:, :, 1:2])
    np.testing.assert_allclose(score[:, :, 1:2], factors, rtol=1e-5)
    assert_close(tf.reduce_sum(chain(x), 1), nats)
    with pytest.raises(ValueError, match="part must be one of .*'rest'.*, got 'last'"):
        chain.conditionals(x, part="last")


def test_noise_and_passes(chain):
    assert chain.noise_shape() == (8, 1)
    assert [positions.start for positions, _ in chain.noise_slices()] == [0, 2, 4, 6]
    assert [part.num_passes for part in chain.parts] == [2, 2, 2, 1] and chain.num_passes == 7
    assert chain.value_order()[0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    noise = tfar.core.uniform(tfar.core.seed_rows(0, 3), 8, 1)
    x = chain.sample(3, noise=noise, jit_compile=False)
    np.testing.assert_array_equal(chain.sample_from_noise(noise), x)
    reports = []
    chain.sample(3, noise=noise, batch_size=2, jit_compile=False, progress=lambda *report: reports.append(report))
    assert reports[-1] == (14, 14) and reports == sorted(reports)


def test_complete(chain):
    x = chain.sample(4, seed=1, jit_compile=False).numpy()
    observed = np.zeros((4, 2, 4, 1), bool)
    observed[0, :, :2] = observed[1, 0, 0] = observed[2, :, :3] = observed[2, 1, 3] = True  # each a prefix of its own
    again = chain.complete(np.where(observed, x, 1 - x), observed, seed=1, jit_compile=False)
    np.testing.assert_array_equal(again, x)
    other = chain.complete(1 - x, observed, seed=1, jit_compile=False).numpy()
    np.testing.assert_array_equal(other[observed], (1 - x)[observed])
    noise = tfar.core.uniform(tfar.core.seed_rows(1, 4), 8, 1)
    flags = tf.constant(observed)
    np.testing.assert_array_equal(chain.sample_from_noise(noise, values=tf.constant(1 - x), observed=flags), other)


def test_what_is_no_prefix_is_refused(chain):
    x, observed = np.zeros((1, 2, 4, 1), np.int32), np.zeros((2, 4, 1), bool)
    observed[0] = True
    message = (
        r"in example 0 position \(1, 0, 0\) is missing although \(0, 1, 0\), which is drawn later, is observed; a "
        "prefix holds whole parts in the order first, left, right, rest, and the first values of the next one"
    )
    with pytest.raises(ValueError, match=message):
        chain.complete(x, observed)
    observed[:] = False
    observed[1, 0] = True
    with pytest.raises(ValueError, match=r"\(0, 0, 0\) is missing .* \(positions of part 'first'\)"):
        chain.complete(x, observed)


def test_conditions_reach_every_part(labelled):
    x = testing.random_events(labelled, 3)
    nats = [labelled(x, np.full(3, label)).numpy() for label in range(2)]
    assert (np.abs(nats[0] - nats[1]) > 1e-4).all()
    with pytest.raises(ValueError, match="condition is required"):
        labelled.log_prob(x)
    p = labelled.distribution(1)
    assert_close(p.log_prob(x), nats[1].sum(1))
    assert p.sample(2, seed=(1, 2)).shape == (2, 2, 4, 1)


def test_guidance_asks_every_part_twice(labelled):
    draw = lambda **options: labelled.sample(8, 1, seed=0, guidance_scale=3.0, **options).numpy()  # noqa: E731
    x = draw()
    assert (x == draw(method="naive")).all()
    free = labelled.part_context(1, labelled.split(x)[:1], labelled.context(labelled.request(1, 8)), guided=True)
    np.testing.assert_array_equal(free.free[..., 2], 1.0)  # the place is no condition
    np.testing.assert_array_equal(free.condition[..., 1] - free.free[..., 1], 1.0)


def test_fit_trains_one_part(graphs):
    # All parts together are trained in tests/conformance.
    keras.utils.set_random_seed(0)
    model = three_parts()
    x = testing.random_events(model, 16)
    with testing.eagerly():
        before = model(x).numpy().mean(0)
    model.train_only("right")
    model.compile(keras.optimizers.Adam(0.02), run_eagerly=True)
    shared = model.part("left").model.get_weights()
    model.fit(x, epochs=2, verbose=0)
    with testing.eagerly():
        after = model(x).numpy().mean(0)
    assert after[2] > before[2] and after[0] == before[0] and after[3] == before[3]
    assert any((a != b).any() for a, b in zip(shared, model.part("left").model.get_weights(), strict=True))
    model.train_only(None)
    assert len(model.trainable_variables) == len(model.weights)
    with pytest.raises(ValueError, match="part must be one of .*, got 'middle'"):
        model.train_only("middle")


def test_a_drawn_part_is_an_unbiased_estimate():
    model = three_parts(train_parts="drawn")
    x = testing.random_events(model, 2)
    with testing.eagerly():
        drawn = np.array([model(x, training=True).numpy()[:, 0] for _ in range(12)])
        every = 4 * model(x).numpy()
    found = {int(np.argmin(np.abs(every[0] - value))) for value in drawn[:, 0]}
    assert len(found) > 2
    assert np.abs(drawn[:, :1, None] - every[0]).min(-1).max() < 1e-4


def test_wrong_arguments_are_named():
    part = Part("whole", gated((2, 4, 1)), Cells())
    with pytest.raises(ValueError, match="names of their own, got .'whole', 'whole'."):
        Chain((2, 4, 1), BINARY, [part, part])
    with pytest.raises(ValueError, match="views of the parts .'half'. must hold every value of the event once"):
        Chain((2, 4, 1), BINARY, [Part("half", gated((2, 2, 1)), Cells((0, 0), (1, 2)))])
    with pytest.raises(ValueError, match=r"view of part 'half' must have the shape of its model, \(2, 4, 1\), got"):
        Chain((2, 4, 1), BINARY, [Part("half", gated((2, 4, 1)), Cells((0, 0), (1, 2)))])
    with pytest.raises(ValueError, match="name must consist of letters"):
        Part("a/b", gated((2, 4, 1)), Cells())
    several = tfar.models.MaskedAttention((4,), BINARY, ["raster", "reversed_raster"], width=8, num_heads=2)
    with pytest.raises(ValueError, match="model of part 'several' must have one factorization"):
        Part("several", several, Cells())
    with pytest.raises(ValueError, match="train_parts must be one of"):
        Chain((2, 4, 1), BINARY, [part], train_parts="some")
    with pytest.raises(ValueError, match="ordering must be None: a Chain has one factorization"):
        Chain((2, 4, 1), BINARY, [part]).log_prob(np.zeros((1, 2, 4, 1)), ordering="raster")


# === Views ===


def test_bits_are_parts():
    x = np.random.default_rng(0).integers(0, 8, (2, 2, 2, 3)).astype(np.int32)
    high, low = Cells(shift=1, bits=2, channels=(0, 2)), Cells(bits=1, channels=(0, 2))
    rest = Cells(channels=(2, 3))
    together_again = sum(view.put(view.take(x), (2, 2, 3)).numpy() for view in (high, low, rest))
    np.testing.assert_array_equal(together_again, x)
    assert high.take(x).max() == 3 and low.take(x).max() == 1
    score = np.ones((1, 2, 2), np.float32)
    np.testing.assert_array_equal(high.spread(score, (2, 2, 3))[0, 0, 0], [0.5, 0.5, 0])
    np.testing.assert_array_equal(high.spread(np.ones((1, 2, 2, 2), np.float32), (2, 2))[0, 0], [2, 2])
    with pytest.raises(ValueError, match=r"stride must divide height and width \(3, 4\), got \(2, 2\)"):
        Cells((0, 0), (2, 2)).take(np.zeros((1, 3, 4, 1)))
    with pytest.raises(ValueError, match="offset must be at least 0 and below stride"):
        Cells((2, 0), (2, 2))
    with pytest.raises(ValueError, match="bits at least 1"):
        Cells(bits=0)


@keras.saving.register_keras_serializable("tests")
class Any_(View):
    """The largest value of the image, an auxiliary variable."""

    auxiliary = True

    def take(self, x):
        return (tf.reduce_max(tf.convert_to_tensor(x), [1, 2], keepdims=True) + 0)[:, :, :, :1]

    def spread(self, score, canvas_shape):
        return tf.broadcast_to(
            tf.reshape(score, [-1, 1, 1, 1]) / np.prod(canvas_shape), [score.shape[0], *canvas_shape]
        )


@keras.saving.register_keras_serializable("tests")
class Told(Composite):
    """The auxiliary variable at every pixel."""

    def call(self, earlier, label=None):
        return tf.tile(BINARY.encode(earlier[0]), [1, 2, 2, 1])


def test_auxiliary_parts():
    parts = [
        Part("any", gated((1, 1, 1)), Any_()),
        Part("image", gated((2, 2, 1), tfar.conditions.Spatial(1)), Cells(), Told()),
    ]
    model = Chain((2, 2, 1), BINARY, parts)
    testing.randomize_weights(model)
    x = np.array([[i >> j & 1 for j in range(4)] for i in range(16)]).reshape(16, 2, 2, 1)
    with testing.eagerly():
        joint = model.log_prob(x).numpy()
        assert_close(joint, model(x).numpy().sum(1))
        assert np.exp(joint).sum() < 1
        pairs = 0.0
        for value in range(2):
            pairs += np.exp(model.log_prob(x, auxiliary=[np.full((16, 1, 1, 1), value)])).sum()
        assert_close(pairs, 1)
        drawn = model.sample(3, seed=0)
        assert drawn.shape == (3, 2, 2, 1) and model.noise_shape() == (5, 1)
        observed = np.zeros((2, 2, 1), bool)
        np.testing.assert_array_equal(model.complete(drawn, observed, seed=0), drawn)
        with pytest.raises(ValueError, match="auxiliary must be given to complete, the values of .'any'."):
            model.complete(x, ~observed)
        # Given the auxiliary variable, a prefix of the image may be known, and the image is drawn given it.
        own, observed[0] = [Any_().take(drawn)], True
        np.testing.assert_array_equal(model.complete(drawn, observed, seed=0, auxiliary=own)[:, 0], drawn[:, 0])
        one, other = (model.sample(16, seed=0, auxiliary=[np.full((16, 1, 1, 1), value)]) for value in range(2))
        assert (one.numpy() != other.numpy()).any()
    with pytest.raises(ValueError, match="auxiliary must be a list of one array for each of the parts .'any'."):
        model.log_prob(x, auxiliary=[])
    with pytest.raises(ValueError, match="auxiliary of part 'any' must have shape"):
        model.log_prob(x, auxiliary=[x])
