"""tfar.models.ToyHistogram: a histogram and an MLP."""

import itertools

import keras
import numpy as np
import pytest

from tests.closeness import assert_close
from tfar import heads, models, testing
from tfar.core.conditions import Label

HEAD = heads.Categorical(8)
SPACE = np.array(list(itertools.product(range(8), repeat=2)), np.int32)


def known_joint():
    """A ring with a gap: neither factor is uniform, and x2 given x1 has two modes."""
    x1, x2 = SPACE.T
    radius = np.hypot(x1 - 3.5, x2 - 3.5)
    p = np.exp(-((radius - 2.8) ** 2)) * (1 + x1)
    return p / p.sum()


def test_the_histogram_is_the_maximum_of_the_likelihood():
    model = models.ToyHistogram((2,), HEAD)
    testing.randomize_weights(model)
    x = SPACE[np.random.default_rng(0).choice(64, size=1_000, p=known_joint())]
    fit = model.fit_histogram(x[:, 0])
    share = np.bincount(x[:, 0], minlength=8) / len(x)
    entropy = -(share * np.log(share)).sum()
    assert fit.entropy == pytest.approx(entropy, abs=1e-12) == fit.nats
    assert -model.score(x).numpy()[:, 0].mean(dtype=np.float64) == pytest.approx(entropy, abs=1e-6)
    assert_close(model.conditionals(x[:1]).probs_parameter()[0, 0], share, 1e-6)


def test_empty_bins_are_reported_and_smoothed():
    model = models.ToyHistogram((2,), heads.Categorical(4))
    fit = model.fit_histogram(np.array([0, 0, 2]))
    assert (fit.num_examples, fit.num_empty_bins, fit.smoothing) == (3, 2, 0.0)
    held_out = np.array([[1, 0], [2, 0]])
    assert model.log_prob(held_out).numpy()[0] == -np.inf and np.isfinite(model.log_prob(held_out).numpy()[1])
    assert set(model.sample(40, seed=0, batch_size=40, jit_compile=False).numpy()[:, 0]) <= {0, 2}
    smoothed = model.fit_histogram(np.array([0, 0, 2]), smoothing=1)
    np.testing.assert_allclose(np.exp(model.score(held_out).numpy()[:, 0]), [1 / 7, 2 / 7], rtol=1e-5)
    assert smoothed.num_empty_bins == 2 and smoothed.nats > smoothed.entropy == fit.entropy


def test_training_goes_on_from_a_histogram_with_empty_bins(graphs):
    model = models.ToyHistogram((2,), heads.Categorical(4), hidden=(4,))
    x = np.array([[0, 1], [0, 2], [2, 3]], np.int32)
    fit = model.fit_histogram(x[:, 0])
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False, run_eagerly=True)
    model.fit({"x": np.tile(x, [8, 1])}, batch_size=3, shuffle=False, verbose=0)
    nats = -model.score(x).numpy().mean(0)
    assert np.isfinite(nats).all()
    assert nats[0] == pytest.approx(fit.entropy, abs=1e-3)


def test_a_known_joint_is_recovered_and_sampled(fit_table):
    joint = known_joint()
    counts = np.random.default_rng(0).multinomial(50_000, joint)
    keras.utils.set_random_seed(0)
    model = models.ToyHistogram((2,), HEAD)
    model.fit_histogram(np.repeat(SPACE[:, 0], counts))
    fit_table(model, SPACE, counts / counts.sum(), steps=400)
    nats = model.log_prob(SPACE).numpy().astype(np.float64)
    assert (joint * (np.log(joint) - nats)).sum() < 0.01
    # Chi-square of 20,000 samples with 63 degrees of freedom: 113.5 is exceeded once in 10,000 cases.
    noise = np.random.default_rng(1).uniform(1e-7, 1 - 1e-7, [20_000, 2, 1])
    drawn = model.sample(20_000, noise=noise, batch_size=20_000, jit_compile=False).numpy()
    counts = np.bincount(drawn[:, 0] * 8 + drawn[:, 1], minlength=64)
    expected = 20_000 * np.exp(nats)
    large = expected >= 5
    counts, expected = ([*a[large], a[~large].sum()] for a in (counts, expected))
    assert sum((o - e) ** 2 / e for o, e in zip(counts, expected, strict=True)) < 113.5


def test_a_thousand_values_are_learned_through_the_embedding(fit_table):
    # x2 is a fixed permutation of x1: a table of 1,000 entries without any smoothness.
    values = 1_000
    x = np.stack([np.arange(values), np.random.default_rng(0).permutation(values)], 1).astype(np.int32)
    nats = {}
    for embedding_dim in ("auto", None):
        keras.utils.set_random_seed(0)
        model = models.ToyHistogram((2,), heads.Categorical(values), embedding_dim=embedding_dim)
        fit_table(model, x, np.full(values, 1 / values), steps=20, rate=0.05)
        with testing.eagerly():
            nats[embedding_dim] = -model.score(x).numpy()[:, 1].mean()
    assert nats["auto"] < 0.1  # of log 1000 = 6.9
    assert nats[None] > 3


def test_65536_values():
    model = models.ToyHistogram((2,), heads.Categorical(65_536), hidden=(4,))
    # embedding, hidden layer, its outputs, two times the biases
    assert model.count_params() == 65_536 * 16 + 16 * 4 + 4 + 4 * 65_536 + 2 * 65_536
    x = np.array([[0, 65_535], [65_535, 7]])
    assert model.fit_histogram(x[:, 0]).num_empty_bins == 65_534
    assert -model.score(x).numpy()[:, 0].mean() == pytest.approx(np.log(2), abs=1e-6)
    assert model.sample(2, seed=0, jit_compile=False).shape == (2, 2)


def test_probabilities_of_a_square_sum_to_one():
    model = models.ToyHistogram((2,), heads.Categorical(50), condition=Label(2))
    testing.randomize_weights(model)
    testing.assert_normalized(model)


def test_head_and_shape_suffice():
    for head in (heads.Bernoulli(), heads.Categorical(3), heads.Mixture("Normal", 2)):
        x = np.zeros([1, 2], head.dtype.as_numpy_dtype)
        assert np.isfinite(models.from_preset("toy_histogram_tiny", event_shape=(2,), head=head).log_prob(x)).all()


@pytest.mark.parametrize("shape", [(3,), (None,), (1, 2, 1)])
def test_other_lengths_are_refused(shape):
    with pytest.raises(ValueError, match=r"event_shape must be \(2,\)"):
        models.ToyHistogram(shape, HEAD)


@pytest.mark.parametrize(
    ("x1", "smoothing", "message"),
    [
        (np.array([8]), 0.0, "x1 must hold whole numbers from 0 to 7"),
        (np.array([[1, 2]]), 0.0, "x1 must be a vector"),
        (np.array([], np.int32), 0.0, "x1 must be a vector of at least one value"),
        (np.array([1]), -1.0, "smoothing must be a number of at least 0, got -1.0"),
    ],
)
def test_bad_values_are_refused(x1, smoothing, message):
    with pytest.raises(ValueError, match=message):
        models.ToyHistogram((2,), HEAD).fit_histogram(x1, smoothing)


def test_the_closed_form_is_for_histograms_without_a_condition():
    for model in (models.ToyHistogram((2,), heads.Bernoulli()), models.ToyHistogram((2,), HEAD, condition=Label(2))):
        with pytest.raises(ValueError, match="needs a Categorical head and no condition"):
            model.fit_histogram(np.array([0, 1]))


def test_round_trip(tmp_path):
    model = models.ToyHistogram((2,), HEAD, hidden=(5, 3), condition=Label(2), embedding_dim=4)
    testing.randomize_weights(model)
    testing.assert_saves(model, tmp_path)
