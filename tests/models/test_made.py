"""MADE: parity with published code, ensembles that are distributions, samples from them, members, training."""

import itertools
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import conditions, heads, models, orderings, testing
from tfar.core.request import Request
from tfar.models.ensemble import choose_member

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SIZE = 4
EVENTS = np.array(list(itertools.product([0, 1], repeat=SIZE)), np.int32)


def golden(index):
    """The model of karpathy/pytorch-made with its weights, the fixture, and the number of its masks."""
    with np.load(GOLDEN / f"made_karpathy_{index}.npz") as file:
        data = dict(file)
    masks = sum(key.startswith("order_") for key in data)
    layers = sum(key.endswith(".weight") for key in data)
    model = models.MADE(
        (6,),
        heads.Bernoulli(),
        hidden=[data[f"deg_0_{layer}"].size for layer in range(layers - 1)],
        ordering=[orderings.Ordering(data[f"order_{mask}"]) for mask in range(masks)],
        hidden_degrees=[[data[f"deg_{mask}_{layer}"] for layer in range(layers - 1)] for mask in range(masks)],
        num_masks=masks,
    )
    for layer, target in enumerate([*model.network.hidden, model.network.outputs]):
        target.kernel.assign(data[f"w/net.{2 * layer}.weight"].T)
        target.bias.assign(data[f"w/net.{2 * layer}.bias"])
    return model, data, masks


@pytest.fixture(scope="module")
def ensemble():
    """Three members with orders and degrees of their own over four bits."""
    model = models.MADE((SIZE,), heads.Bernoulli(), hidden=(8, 6), num_masks=3, order_agnostic=True, direct=True)
    testing.randomize_weights(model, scale=2.0)
    return model


# === Published code ===


@pytest.mark.parametrize("index", [0, 1])
def test_logits_and_masks_equal_those_of_pytorch_made(index):
    model, data, masks = golden(index)
    for mask in range(masks):
        for layer, target in enumerate([*model.network.hidden, model.network.outputs]):
            np.testing.assert_array_equal(target.mask(mask), data[f"mask_{mask}_{layer}"].T)
        # Binary inputs are encoded as they are; the fixture's are real numbers, so they enter after the encoding.
        given = Request() if masks == 1 else Request(member=tf.constant(mask))
        logits = model.decode(data["x"][..., None], given)[..., 0]
        np.testing.assert_allclose(logits, data[f"logits_{mask}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
def test_drawn_degrees_equal_those_of_pytorch_made(index):
    model, data, masks = golden(index)
    drawn = models.MADE(
        (6,),
        heads.Bernoulli(),
        hidden=model.hidden,
        num_masks=masks,
        order_agnostic=index == 1,
        hidden_degrees="random",
        seed=0,
    )
    assert drawn.orderings == model.orderings
    assert drawn.hidden_degrees == model.hidden_degrees


def test_parameters_of_the_papers_models():
    assert models.from_preset("made_small", event_shape=(28, 28, 1), head=heads.Bernoulli()).count_params() == 785_284
    sizes = [784, *models.MADE.PRESETS["made_binarized_mnist"]["hidden"], 784]
    assert sum(a * b + b for a, b in itertools.pairwise(sizes)) == 76_560_784


# === Orders and degrees ===


def test_equal_degrees_give_one_fresh_unit_a_step():
    model = models.MADE((28, 28, 1), heads.Bernoulli(), hidden=(500,))
    degrees = np.array(model.hidden_degrees[0][0])
    assert len(set(degrees)) == 500
    assert (degrees.min(), degrees.max()) == (0, 782)


def test_random_degrees_are_not_below_the_smallest_of_the_layer_before():
    model = models.MADE((9,), heads.Bernoulli(), hidden=(3, 50), num_masks=20)
    for first, second in model.hidden_degrees:
        assert min(second) == min(first)
        assert max(second) <= 7


def test_every_event_shape_has_a_single_cell_too():
    model = models.MADE((1,), heads.Categorical(3), hidden=(2,))
    testing.randomize_weights(model)
    testing.assert_normalized(model)
    assert model.sample(3, seed=0, jit_compile=False).shape == (3, 1)


def test_order_of_an_images_pixels_keeps_its_channels_together():
    model = models.MADE((2, 2, 3), heads.Categorical(2), hidden=(12,), ordering=orderings.snake(2, 2))
    np.testing.assert_array_equal(model.ordering.permutation, [0, 1, 2, 3, 4, 5, 9, 10, 11, 6, 7, 8])


def test_permuting_order_and_data_together_changes_nothing():
    ordering = orderings.random(SIZE, seed=3)
    ordered = models.MADE((SIZE,), heads.Bernoulli(), hidden=(8,), ordering=ordering)
    plain = models.MADE((SIZE,), heads.Bernoulli(), hidden=(8,))
    testing.randomize_weights(plain)
    ranks = ordering.ranks
    first, last = plain.network.hidden[0], plain.network.outputs
    ordered.network.hidden[0].kernel.assign(first.kernel.numpy()[ranks])
    ordered.network.hidden[0].bias.assign(first.bias)
    ordered.network.outputs.kernel.assign(last.kernel.numpy()[:, ranks])
    ordered.network.outputs.bias.assign(last.bias.numpy()[ranks])
    np.testing.assert_allclose(
        ordered.log_prob(EVENTS), plain.log_prob(EVENTS[:, ordering.permutation]), rtol=1e-5, atol=1e-6
    )


def test_condition_reaches_every_position_of_every_member():
    model = models.MADE(
        (5,), heads.Bernoulli(), hidden=(6,), num_masks=2, order_agnostic=True, condition=conditions.Vector(2)
    )
    testing.randomize_weights(model)
    x = np.zeros([1, 5], np.int32)
    for member in range(2):
        logits = [model(x, np.array([[value, 1.0]], np.float32), member=member) for value in (0.0, 1.0)]
        assert (np.abs(logits[0] - logits[1]) > 1e-3).all()


def test_without_hidden_units_and_with_direct_connections_it_is_a_fully_visible_belief_net():
    model = models.MADE((SIZE,), heads.Bernoulli(), hidden=(), direct=False)
    testing.randomize_weights(model)
    testing.assert_causal(model)
    kernel = np.triu(model.network.outputs.kernel.numpy(), 1)
    expected = EVENTS @ kernel + model.network.outputs.bias.numpy()
    np.testing.assert_allclose(model(EVENTS)[..., 0], expected, rtol=1e-5, atol=1e-6)
    assert testing.assert_incremental_matches_parallel(model, modes=("eager",)) < 1e-5


# === Ensembles ===


def test_ensemble_averages_probabilities_of_events(ensemble):
    members = np.stack([np.exp(ensemble.log_prob(EVENTS, member=m)) for m in range(3)])
    assert_close(members.sum(1), 1)
    assert np.ptp(members, 0).max() > 0.01, "members that differ"
    np.testing.assert_allclose(np.exp(ensemble.log_prob(EVENTS)), members.mean(0), rtol=1e-5)
    assert testing.assert_normalized(ensemble) < 1e-5
    # What averaging logits gives instead is no distribution.
    logits = np.mean([ensemble(EVENTS, member=m)[..., 0] for m in range(3)], 0)
    nats = tfar.heads.Bernoulli().log_prob(logits[..., None], EVENTS).numpy().sum(1)
    assert abs(np.exp(nats).sum() - 1) > 1e-3


def test_factors_need_a_member(ensemble):
    for method in (ensemble.score, ensemble.conditionals, ensemble):
        with pytest.raises(ValueError, match="member is needed, 0 to 2: an ensemble has one factorisation per member"):
            method(EVENTS)
    with pytest.raises(ValueError, match="member is needed"):
        ensemble.complete(EVENTS, np.zeros(SIZE, bool))
    for wrong in (3, -1, 0.5, [0, 1]):
        with pytest.raises(ValueError, match="member must be an integer from 0 to 2"):
            ensemble.score(EVENTS, member=wrong)
    score = ensemble.score(EVENTS, member=1)
    np.testing.assert_allclose(tf.reduce_sum(score, 1), ensemble.log_prob(EVENTS, member=1), rtol=1e-5)
    factors = ensemble.conditionals(EVENTS, member=1).log_prob(EVENTS)
    np.testing.assert_allclose(factors, score, rtol=1e-4, atol=1e-5)
    single = models.MADE((SIZE,), heads.Bernoulli(), hidden=(8,))
    with pytest.raises(ValueError, match="member must be 0 or None for a model with one member"):
        single.score(EVENTS, member=1)


def test_every_member_is_a_model_of_its_own(ensemble):
    for index in range(3):
        member = ensemble.member(index)
        testing.assert_causal(member)
        np.testing.assert_allclose(member.log_prob(EVENTS), ensemble.log_prob(EVENTS, member=index), rtol=1e-5)
        own = ensemble.sample(6, seed=5, member=index, jit_compile=False)
        np.testing.assert_array_equal(own, member.sample(6, seed=5, jit_compile=False))
    with pytest.raises(ValueError, match="index must be from 0 to 2"):
        ensemble.member(3)


def low_discrepancy(num, size):
    """Points that fill the cube evenly: multiples of powers of the generalised golden ratio, modulo 1."""
    ratio = 2.0
    for _ in range(50):
        ratio = (1 + ratio) ** (1 / (size + 1))
    return ((0.5 + np.arange(1, num + 1)[:, None] * ratio ** -np.arange(1.0, size + 1)) % 1).astype(np.float32)


@pytest.mark.parametrize("which", ["single", "ensemble"])
def test_frequencies_of_samples_are_the_probabilities(ensemble, which):
    model = ensemble if which == "ensemble" else ensemble.member(1)
    noise = np.clip(low_discrepancy(20_000, SIZE), 1e-6, 1 - 1e-6)[..., None]
    x = model.sample(len(noise), noise=noise, batch_size=len(noise), jit_compile=False).numpy()
    counts = np.bincount(x @ (2 ** np.arange(SIZE)[::-1]), minlength=2**SIZE)
    np.testing.assert_allclose(counts / len(noise), np.exp(model.log_prob(EVENTS)), atol=3e-3)


def test_member_and_remaining_noise_are_uniform_and_independent():
    noise = tf.constant(np.tile((np.arange(3000)[:, None] + 0.5) / 3000, [1, 2]), tf.float32)
    member, rest = choose_member(noise, 3)
    np.testing.assert_array_equal(np.bincount(member), [1000] * 3)
    for index in range(3):
        assert_close(rest.numpy()[member == index, 0], (np.arange(1000) + 0.5) / 1000, 1e-4)
    np.testing.assert_array_equal(rest[:, 1:], noise[:, 1:])
    ends = choose_member(tf.constant([[2.0**-24], [1 - 2.0**-24], [1 / 3]]), 3)
    assert ((ends[1].numpy() > 0) & (ends[1].numpy() < 1)).all()
    assert set(ends[0].numpy()) <= {0, 1, 2}


@pytest.fixture(scope="module")
def rows_alone(ensemble):
    """Noise of 12 rows, the members that it chooses, the noise that is left, and what the members draw of it alone."""
    noise = np.random.default_rng(2).uniform(0.001, 0.999, [12, SIZE, 1]).astype(np.float32)
    chosen, first = (each.numpy() for each in choose_member(tf.constant(noise[:, 0]), 3))
    rest, x = np.concatenate([first[:, None], noise[:, 1:]], 1), np.zeros([12, SIZE], np.int32)
    with testing.eagerly():
        for index in range(3):
            rows = np.flatnonzero(chosen == index)
            assert len(rows)
            x[rows] = ensemble.member(index).sample(len(rows), noise=rest[rows], jit_compile=False)
    return noise, chosen, rest, x


@pytest.mark.parametrize("jit_compile", [False, True])
def test_rows_of_a_batch_are_drawn_from_their_own_members(ensemble, rows_alone, jit_compile, graphs):
    noise, *_, x = rows_alone
    np.testing.assert_array_equal(ensemble.sample(12, noise=noise, jit_compile=jit_compile), x)


def test_members_by_number_the_naive_sampler_and_the_graph_of_noise_draw_the_same_rows(ensemble, rows_alone):
    noise, chosen, rest, x = rows_alone
    np.testing.assert_array_equal(ensemble.sample(12, noise=rest, member=chosen, jit_compile=False), x)
    np.testing.assert_array_equal(ensemble.sample(12, noise=noise, method="naive", jit_compile=False), x)
    np.testing.assert_array_equal(ensemble.sample_from_noise(tf.constant(noise)), x)


def test_complete_goes_by_the_order_of_the_member(ensemble):
    first = ensemble.orderings[2].permutation[:2]
    observed = np.zeros(SIZE, bool)
    observed[first] = True
    sample = ensemble.sample(8, seed=1, member=2, jit_compile=False).numpy()
    completed = ensemble.complete(np.where(observed, sample, 1), observed, seed=1, member=2, jit_compile=False)
    np.testing.assert_array_equal(completed, sample)
    rows = np.array([0, 2])
    each = np.zeros([2, SIZE], bool)
    for row, member in enumerate(rows):
        each[row, ensemble.orderings[member].permutation[:3]] = True
    completed = ensemble.complete(sample[:2], each, member=rows, seed=1, jit_compile=False).numpy()
    np.testing.assert_array_equal(completed[each], sample[:2][each])
    gap = ~observed
    with pytest.raises(ValueError, match=rf"in example 0 position \({first[0]},\) is missing"):
        ensemble.complete(sample, gap, member=2)


def test_distribution_of_an_ensemble(ensemble):
    distribution = ensemble.distribution()
    np.testing.assert_allclose(distribution.log_prob(EVENTS), ensemble.log_prob(EVENTS), rtol=1e-5)


# === Training ===


def test_members_take_turns_and_the_turn_is_saved(tmp_path):
    model = models.MADE((SIZE,), heads.Bernoulli(), hidden=(8,), num_masks=3, order_agnostic=True)
    testing.randomize_weights(model)
    turns = [model(EVENTS, training=True) for _ in range(4)]
    for turn, params in enumerate(turns):
        np.testing.assert_array_equal(params, model(EVENTS, member=turn % 3))
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(EVENTS, training=True), model(EVENTS, member=1))
    assert int(loaded.training_steps.numpy()) == 5


def test_fit_and_evaluate_report_the_ensemble(graphs):
    model = models.MADE((SIZE,), heads.Bernoulli(), hidden=(8,), num_masks=2, condition=conditions.Label(2))
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False, run_eagerly=True)
    data = {"x": EVENTS, "condition": EVENTS[:, 0]}
    batches = tf.data.Dataset.from_tensor_slices(data).batch(8)
    model.fit(batches, epochs=2, validation_data=batches, shuffle=False, verbose=0)
    assert int(model.training_steps.numpy()) == 4
    bits = model.bits_per_dim(EVENTS, EVENTS[:, 0])
    np.testing.assert_allclose(model.evaluate(batches, verbose=0), np.mean(bits), rtol=1e-5)


def test_a_gradient_step_keeps_the_masks():
    model = models.MADE((SIZE,), heads.Bernoulli(), hidden=(8,), ordering=orderings.random(SIZE, seed=1))
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(model.log_prob(EVENTS[:5]))
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_variables), strict=True):
        weight.assign_sub(0.5 * gradient + 0.1)
    testing.assert_normalized(model)


def test_it_learns_a_joint_distribution(fit_table):
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(2**SIZE, 0.5))
    model = models.MADE((SIZE,), heads.Bernoulli(), hidden=(64,), ordering=orderings.random(SIZE, seed=2))
    fit_table(model, EVENTS, table, steps=400)
    divergence = table @ (np.log(table) - model.log_prob(EVENTS).numpy())
    assert 0 <= divergence < 0.01


# === Errors ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": (None,)}, "event_shape must be known for MADE"),
        ({"hidden": (0,)}, "num_masks and hidden must be positive"),
        ({"num_masks": 0}, "num_masks and hidden must be positive"),
        ({"ordering": orderings.raster(3)}, "ordering must have 4 cells"),
        ({"ordering": [orderings.raster(4)], "num_masks": 2}, r"one per mask \(2\), got 1"),
        ({"hidden_degrees": "even"}, 'hidden_degrees must be "equal", "random" or numbers'),
        ({"hidden_degrees": [[[0, 1]]]}, "hidden_degrees must hold 1 members with layers of"),
        ({"hidden_degrees": [], "num_masks": 2}, "hidden_degrees must hold 2 members"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.MADE(**{"event_shape": (4,), "head": heads.Bernoulli(), "hidden": (8,), **arguments})
