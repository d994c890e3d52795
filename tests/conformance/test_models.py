"""Every model keeps the laws: one suite over the registry of tiny models.

The laws (parity, causality, normalization, saving) run for every case. What the base class does the same for every
network of a kind runs for one case of the kind (`KINDS`); whole samples and training for one case of every class
(`ModelCase.representative`); XLA, op by op and bfloat16 for one case of every way to keep state (`MECHANISMS`). The
large tests run all of it for every case.
"""

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.conformance.shared import CASES, loaded, model_of
from tfar import heads, models, testing
from tfar.core.conditions import Label
from tfar.models.density import Density
from tfar.sampling import incremental
from tfar.testing.inputs import full_choice, full_condition, full_request
from tfar.testing.registry import HEADS, LAYERS, MODELS

NUM = 3  # one batch size for all: a sampler is traced once per shape
# Kinds of events, heads and orders, which the samplers and the likelihood of the base class tell apart.
KINDS = {
    "grid": "PixelCNN_binary",
    "colours": "GatedPixelCNN_rgb",
    "whole-pixel head": "GatedPixelCNN_logistic",
    "sequence": "CharRNN_lstm",
    "flattened image": "CharRNN_vanilla",
    "continuous values": "CausalTransformer_continuous",
    "fixed order": "MADE_deep",
    "ensemble": "MADE_ensemble",
    "ensemble of orders": "MaskedAttention_several",
    "any order": "MaskedAttention_random",
    "chain": "MultiscalePixelCNN_binary",
}
# Ways in which layers keep what they need for the next step; strides are compiled in tests/layers/test_downsampled.py.
MECHANISMS = {
    "ring buffer": "WaveNet_one_hot",
    "attention cache": "CausalTransformer_learned",
    "row buffers": "GatedPixelCNN_logistic",
    "recurrent": "CharRNN_lstm",
    "masked dense": "MADE_binary",
    "ordered": "LocallyMaskedPixelCNN_zigzag",
}


def over_models(usual=lambda case: True):
    """Runs a test for every model; in the default suite for those that `usual` names, the others being large."""

    def marks(case):
        # With `pytest --dist loadgroup` a worker keeps a model, and what was compiled for it, to itself.
        group = pytest.mark.xdist_group(case.name)
        return [group] if usual(case) else [group, pytest.mark.large]

    cases = [pytest.param(case, id=case.name, marks=marks(case)) for case in MODELS]
    return pytest.mark.parametrize("case", cases)


every_model = over_models()
one_of_a_kind = over_models(lambda case: case.name in KINDS.values())
one_of_a_class = over_models(lambda case: case.representative)
one_of_a_mechanism = over_models(lambda case: case.name in MECHANISMS.values())


@pytest.fixture
def model(case, request):
    check = request.function.__name__.removeprefix("test_")
    if check in case.exempt:
        pytest.skip(case.exempt[check])
    return model_of(case.name)


def given(model):
    """A condition and, for an ensemble, the members of `NUM` events."""
    return full_condition(model, None, NUM), full_choice(model, NUM)


def equal(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return np.allclose(a, b, rtol=1e-3, atol=1e-3) if a.dtype.kind == "f" else np.array_equal(a, b)


# === The registry itself ===


BASES = (heads.Head, models.AutoregressiveModel, models.Chain)


def public_classes(module):
    members = {name: getattr(module, name) for name in module.__all__}
    classes = {name: member for name, member in members.items() if inspect.isclass(member) and member not in BASES}
    return {name for name, member in classes.items() if module is not models or issubclass(member, Density)}


@pytest.mark.parametrize(
    ("module", "cases"),
    [(tfar.layers, LAYERS), (heads, HEADS), (models, MODELS)],
    ids=["layers", "heads", "models"],
)
def test_everything_public_is_registered(module, cases):
    registered = {case.name.split("_")[0] for case in cases}
    missing = public_classes(module) - registered
    assert not missing, f"add a case named <class>_<variant> to tfar/testing/registry for {sorted(missing)}"
    assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize("attribute", ["representative", "runtimes"])
def test_costly_comparisons_run_for_every_class(attribute):
    compared = [case.name.split("_")[0] for case in MODELS if getattr(case, attribute)]
    assert set(compared) == public_classes(models)
    assert attribute != "representative" or len(compared) == len(set(compared)), "one case of a class"


@pytest.mark.parametrize("table", [KINDS, MECHANISMS], ids=["kinds", "mechanisms"])
def test_cases_of_kinds_exist(table):
    assert set(table.values()) <= set(CASES)


@every_model
def test_is_what_its_name_says(case, model):
    assert type(model).__name__ == case.name.split("_")[0]
    assert set(case.exempt) <= {name.removeprefix("test_") for name in globals() if name.startswith("test_")}


# === The laws ===


@every_model
def test_causal(case, model):
    testing.assert_causal(model, blind=case.blind)


@every_model
def test_saves(case, model):
    # That it computes the same, and goes on from the other's state, is `test_incremental_matches_parallel`.
    assert loaded(case.name) is not model


@pytest.mark.large
@every_model
def test_goes_on_after_loading(case, model, tmp_path):
    testing.assert_saves(model, tmp_path)


@every_model
def test_incremental_matches_parallel(case, model):
    # Of the model that came back from its file, which goes on from the state of the one that was saved; op by op: to
    # trace so small a model takes longer than to run it. `test_samples_agree` runs the same units in a graph.
    testing.assert_incremental_matches_parallel(loaded(case.name), modes=("eager",), original=model)


@pytest.mark.large
@every_model
def test_incremental_matches_parallel_in_a_graph(case, model):
    testing.assert_incremental_matches_parallel(model, modes=("function",))


@one_of_a_mechanism
def test_incremental_matches_parallel_under_xla(case, model):
    testing.assert_incremental_matches_parallel(model, modes=("xla",), blocks=())


@one_of_a_mechanism
def test_positions_per_example(case, model):
    testing.incremental.assert_positions_per_example(model)


@one_of_a_mechanism
def test_bfloat16(case, model):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = case.build()
    finally:
        keras.config.set_dtype_policy(before)
    testing.randomize_weights(half)
    assert half.network.compute_dtype == "bfloat16"
    x = testing.random_events(half, NUM)
    condition, choice = given(half)
    with testing.eagerly():
        nats = half.log_prob(x, condition, **choice)
        expected = model.log_prob(x, condition, **choice)
    assert nats.dtype == tf.float32
    np.testing.assert_allclose(nats, expected, rtol=0.05, atol=0.05 * model.event.num_dimensions)
    testing.assert_incremental_matches_parallel(half, modes=("eager",), blocks=())
    if half.embedding_dim is not None:
        # An embedding's values, which the sampler carries from step to step, are of lower precision too.
        half.head.check(half.sample(NUM, condition, seed=0, jit_compile=False, **choice))


@one_of_a_class
def test_samples_agree(case, model):
    agreement = testing.assert_samples_agree(model, NUM)
    assert agreement.draws == NUM * model.event.num_dimensions
    assert agreement.ties <= 1


@pytest.mark.large
@every_model
def test_samples_agree_under_xla(case, model):
    testing.assert_samples_agree(model, NUM, jit_compile=True)


@every_model
def test_fixed_point(case, model):
    # Op by op, the whole event as one block, and compared with one parallel pass: nothing is traced. The state that
    # blocks leave is what `test_incremental_matches_parallel` compares.
    if model.head.levels is None:
        with pytest.raises(
            ValueError, match="method='fixed_point' takes heads whose values are whole numbers, got Mix"
        ):
            model.sample(NUM, given(model)[0], method="fixed_point")
        return
    with testing.eagerly():
        if isinstance(model, models.Chain):  # whose parts have conditionals of their own
            common = {"condition": given(model)[0], "seed": 0}
            assert equal(model.sample(NUM, method="fixed_point", **common), model.sample(NUM, **common))
            return
        agreement = testing.assert_fixed_point(model, NUM, block=100)
    assert agreement.ties <= 1


@one_of_a_mechanism
def test_fixed_point_in_blocks(case, model):
    if model.head.levels is not None:
        with testing.eagerly():
            testing.assert_fixed_point(model, NUM, block=None if model.stages[0].is_image else 3)


@pytest.mark.large
@every_model
def test_fixed_point_in_a_graph(case, model):
    if model.head.levels is not None and not isinstance(model, models.Chain):
        testing.assert_fixed_point(model, NUM, block=None if model.stages[0].is_image else 3, jit_compile=True)


@one_of_a_kind
def test_sample_independent_of_batch(case, model):
    # Each is compiled for it alone: an image and a sequence are.
    compiled = case.name in (KINDS["colours"], KINDS["sequence"])
    testing.assert_sample_independent_of_batch(model, NUM, alone=compiled, chunked=compiled)


@every_model
def test_normalized(case, model):
    if not case.enumerable:
        pytest.skip("more than 100,000 events, or continuous")
    with testing.eagerly():
        testing.assert_normalized(model)


# === Likelihood ===


@one_of_a_kind
def test_score_sums_to_log_prob(case, model):
    x, (condition, choice) = testing.random_events(model, NUM), given(model)
    score = model.score(x, condition, **choice)
    if not isinstance(model, models.Chain):  # whose parts have conditionals of their own
        values = model.event.to_head(tf.cast(x, model.head.dtype))
        factors = model.conditionals(x, condition, **choice).log_prob(values)
        np.testing.assert_allclose(score, factors, rtol=1e-4, atol=1e-4)
    nats = model.log_prob(x, condition, **choice)
    np.testing.assert_allclose(nats, np.asarray(score).reshape(NUM, -1).sum(1), rtol=1e-5, atol=1e-4)
    bits = -np.asarray(nats) / (x[0].size * np.log(2))
    np.testing.assert_allclose(model.bits_per_dim(x, condition, **choice), bits, rtol=1e-5)


@one_of_a_kind
def test_refuses_wrong_shapes(case, model):
    x, (condition, choice) = testing.random_events(model, NUM), given(model)
    with pytest.raises(ValueError, match="x must have shape"):
        model.log_prob(x[0], condition, **choice)


@every_model
def test_condition_is_used(case, model):
    if model.condition is None:
        pytest.skip("takes no condition")
    x, condition = testing.random_events(model, NUM), testing.random_condition(model, NUM)
    if isinstance(model.condition, Label):
        other = (condition + 1) % model.condition.num_labels
    else:
        other = testing.random_condition(model, NUM, seed=1)
    with testing.eagerly():
        nats = model.log_prob(np.concatenate([x, x]), tf.concat([condition, other], 0))
    first, second = np.split(nats, 2)
    assert (np.abs(first - second) > 1e-5).all()


@one_of_a_kind
def test_condition_is_checked(case, model):
    x = testing.random_events(model, NUM)
    if model.condition is None:
        with pytest.raises(ValueError, match="condition was given"):
            model.log_prob(x, np.zeros(NUM, np.int32))
        with pytest.raises(ValueError, match="condition was given"):
            model.sample(NUM, np.zeros(NUM, np.int32), seed=0)
        return
    with pytest.raises(ValueError, match="condition is required"):
        model.log_prob(x)
    with pytest.raises(ValueError, match="condition is required"):
        model.sample(NUM, seed=0)
    with pytest.raises(ValueError, match="condition must have one value per example"):
        model.log_prob(x, tf.repeat(testing.random_condition(model, NUM), 2, 0))


# === Sampling ===


@one_of_a_kind
def test_temperature(case, model):
    condition, choice = given(model)
    draw = functools.partial(model.sample, NUM, condition, jit_compile=False, **choice)
    warm = [draw(seed).numpy() for seed in range(4)]
    assert any((sample != warm[0]).any() for sample in warm[1:])
    cold = [draw(seed, temperature=1e-6) for seed in range(2)]
    assert equal(*cold), "at temperature 0 nothing is left to the noise"
    mixed = draw(0, temperature=[1.0, 1e-6, 1.0]).numpy()
    assert equal(mixed[[0, 2]], warm[0][[0, 2]])
    assert equal(mixed[1], cold[0][1])
    for wrong in (0, -1, np.nan, [1.0, 1.0]):
        with pytest.raises(ValueError, match="temperature must be a positive number"):
            draw(0, temperature=wrong)


def half_observed(model, x):
    """Flags of the first half of the values in the order of drawing: to the middle of a row and of a cell."""
    values = model.value_order(model.context(full_request(model, None, NUM)), NUM, x.shape[1:])
    observed = np.zeros(values.shape, bool)
    np.put_along_axis(observed, values[:, : values.shape[1] // 2 + 1], True, 1)
    return observed.reshape(x.shape)


@one_of_a_kind
def test_complete(case, model):
    condition, choice = given(model)
    sample = model.sample(NUM, condition, seed=0, jit_compile=False, **choice).numpy()
    observed = half_observed(model, sample)
    complete = functools.partial(
        model.complete, observed=observed, condition=condition, seed=0, jit_compile=False, **choice
    )
    hidden = np.where(observed, sample, testing.random_events(model, NUM))
    again = complete(hidden).numpy()
    assert equal(again[observed], sample[observed])
    if not model.head.event_ndims:
        assert equal(again, sample), "a sample's own first half is completed to the sample, by the same noise"
    x = testing.random_events(model, NUM, seed=1)
    other = complete(x).numpy()
    assert equal(other[observed], x[observed])
    if case.representative:
        with testing.eagerly():
            assert equal(complete(x, method="naive"), other)


@pytest.mark.xdist_group("PixelCNNPP_binary")
@pytest.mark.parametrize("case", [CASES["PixelCNNPP_binary"]], ids=["PixelCNNPP_binary"])
def test_known_rows_are_read_in_a_graph_where_resolutions_change(case, model):
    """As `complete` reads them, the carry being an argument of the traced function."""
    (stage,) = model.stages
    request = full_request(model, testing.random_condition(model, NUM), NUM)
    begun = incremental.Drawn(
        stage.spec(request),
        tf.TensorSpec([stage.event.grid[0], stage.width, NUM, stage.event.channels], model.head.dtype),
    )
    read = functools.partial(incremental.read, stage, stage.period, context=model.context(request))
    after = tf.function(read, autograph=False).get_concrete_function(begun).structured_outputs.carry
    assert after.position.shape.rank == 0 and set(after.state) == set(begun.carry.state)


@one_of_a_kind
def test_complete_refuses_a_gap(case, model):
    x, (condition, choice) = testing.random_events(model, NUM), given(model)
    values = model.value_order(model.context(full_request(model, None, NUM)), NUM, x.shape[1:])
    observed = np.zeros((NUM, values.shape[1]), bool)
    np.put_along_axis(observed, values[:, -model.event.channels :], True, 1)
    gap = np.unravel_index(values[0, 0], x.shape[1:])
    named = r"\(" + ", ".join(str(index) for index in gap)
    with pytest.raises(ValueError, match=f"not a prefix of the ordering: in example 0 position {named}"):
        model.complete(x, observed.reshape(x.shape), condition, seed=0, jit_compile=False, **choice)


# === Training and presets ===


def fit(fresh, epochs=1, **options):
    """A step on eight examples raises their likelihood."""
    keras.utils.set_random_seed(0)
    fresh.compile(keras.optimizers.Adam(2e-3), jit_compile=False, **options)
    examples = {"x": testing.random_events(fresh, 8)}
    condition = testing.random_condition(fresh, 8)
    if condition is not None:
        examples["condition"] = condition
    with testing.eagerly():
        before = fresh.log_prob(examples["x"], condition).numpy()
    data = tf.data.Dataset.from_tensor_slices(examples).batch(8)
    losses = fresh.fit(data, epochs=epochs, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    with testing.eagerly():
        assert fresh.log_prob(examples["x"], condition).numpy().mean() > before.mean()


@one_of_a_class
def test_fit(case, model):
    # Tracing a training step takes longer than running it op by op. The copy from the file is not used any more.
    fit(loaded(case.name), run_eagerly=True)
    loaded.cache_clear()


@pytest.mark.large
@every_model
def test_fit_compiled(case, model):
    fit(case.build(), epochs=2)


def presets(ending):
    return sorted(name for name in models.presets() if name.endswith(ending))


@pytest.mark.parametrize(
    "name", [*presets("_tiny"), *(pytest.param(name, marks=pytest.mark.large) for name in presets("_small"))]
)
def test_preset_needs_event_shape_and_head_alone(name):
    expected = models.presets()[name]
    first = next(case for case in MODELS if case.name.split("_")[0] == expected.__name__)
    model = models.from_preset(name, event_shape=first.event_shape, head=first.head)
    assert type(model) is expected and model.count_params() > 0
    with testing.eagerly():
        x, condition = testing.random_events(model, 2), full_condition(model, None, 2)
        assert np.isfinite(model.log_prob(x, condition)).all()


@pytest.mark.parametrize("name", models.presets())
def test_arguments_of_presets_are_those_of_the_constructor(name):
    cls = models.presets()[name]
    given = {"event_shape": (1,), "head": heads.Bernoulli(), **cls.PRESETS[name]}
    inspect.signature(cls).bind(**given)


@pytest.mark.parametrize("name", sorted(public_classes(models)))
def test_every_model_has_presets(name):
    endings = {preset.rsplit("_", 1)[-1] for preset, cls in models.presets().items() if cls.__name__ == name}
    assert {"tiny", "small"} <= endings
