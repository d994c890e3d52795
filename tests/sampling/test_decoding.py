"""Decoding: every strategy against its definition, by exhaustion and by re-scoring."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar.core import noise as noises
from tfar.core import scope as scopes
from tfar.sampling import beam_search, decode, stream
from tfar.sampling.decoding import keep_probable
from tfar.testing import eagerly, randomize_weights

PLAIN = {"jit_compile": False}
# Of most tests, so that models trace one loop for each way of choosing symbols.
NUM, LENGTH = 4, 12


def sharp(model, scale=1.0):
    """Random weights, biases included: conditionals that differ from one another."""
    randomize_weights(model, scale=scale)
    return model


def transformer(levels=5, length=None, **kwargs):
    sizes = {"width": 8, "num_layers": 1, "num_heads": 2, "max_length": LENGTH, "positions": "rotary"}
    return tfar.models.CausalTransformer((length,), tfar.heads.Categorical(levels), **{**sizes, **kwargs})


MODELS = {
    "transformer": lambda: transformer(),
    "convolutions": lambda: tfar.models.CausalConvNet((None,), tfar.heads.Categorical(5), filters=6, num_layers=2),
    "rnn": lambda: tfar.models.CharRNN((None,), tfar.heads.Categorical(5), units=6),
    "made": lambda: tfar.models.MADE((LENGTH,), tfar.heads.Categorical(5), hidden=(30,), embedding_dim=3),
}


@functools.cache
def built(name):
    """Leave it as it is: tests share it."""
    return sharp(MODELS[name]())


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return built(request.param)


# How a symbol is chosen is the same for all models: one of any length and one of its own length stand for them.
STAND_FOR_ALL = [
    pytest.param(name, marks=() if name in ("rnn", "made") else pytest.mark.large, id=name) for name in MODELS
]
some_models = pytest.mark.parametrize("model", STAND_FOR_ALL, indirect=True, scope="module")


@pytest.fixture(scope="module")
def tiny():
    """Three symbols, four elements: 81 sequences."""
    return sharp(transformer(3, 4))


def sequences(levels, length):
    return np.array(list(itertools.product(range(levels), repeat=length)), np.int32)


def total(model, x, lengths):
    """Nats of the first `lengths` symbols of every row, by the parallel pass."""
    with eagerly():
        score = model.score(x).numpy()
    return np.where(np.arange(x.shape[1]) < np.asarray(lengths)[:, None], score, 0).sum(1)


def log_prob(model, x, *condition):
    with eagerly():
        return model.log_prob(x, *condition).numpy()


@pytest.mark.parametrize("size", [0, 1, 9])
def test_prompts_are_kept_and_scored(model, size):
    prompt = np.random.default_rng(size).integers(0, 5, size).astype(np.int32)
    found = decode(model, NUM, length=LENGTH, prompt=prompt, seed=1, **PLAIN)
    assert found.x.shape == (NUM, LENGTH)
    assert (found.x[:, :size] == prompt).all()
    assert len(np.unique(found.x, axis=0)) > 1
    np.testing.assert_allclose(found.log_prob, log_prob(model, found.x), rtol=1e-4, atol=1e-4)
    # A shared prompt is read once; rows of their own are read each.
    rows = decode(model, NUM, length=LENGTH, prompt=np.tile(prompt, [NUM, 1]), seed=1, **PLAIN)
    np.testing.assert_array_equal(rows.x, found.x)


def test_ancestral_is_what_sample_draws(model):
    noise = noises.uniform(noises.seed_rows(3, NUM), LENGTH, model.head.noise_size)
    length = {} if model.event_shape[0] else {"length": LENGTH}
    expected = model.sample(NUM, noise=noise, temperature=0.7, **length, **PLAIN)
    found = decode(model, NUM, length=LENGTH, noise=noise, temperature=0.7, **PLAIN)
    np.testing.assert_array_equal(found.x, expected)
    everything = decode(model, NUM, length=LENGTH, noise=noise, temperature=0.7, top_p=1.0, top_k=5, **PLAIN)
    np.testing.assert_array_equal(everything.x, expected)


@some_models
def test_greedy_takes_the_most_probable_symbol(model):
    found = decode(model, NUM, length=LENGTH, prompt=[1], strategy="greedy", **PLAIN)
    best = tf.argmax(model.head.logits(model(found.x)), -1)
    np.testing.assert_array_equal(found.x[:, 1:], best[:, 1:])
    again = decode(model, NUM, length=LENGTH, prompt=[1], top_k=1, seed=5, **PLAIN)
    np.testing.assert_array_equal(again.x, found.x)
    nearly = decode(model, NUM, length=LENGTH, prompt=[1], top_p=1e-6, seed=6, **PLAIN)
    np.testing.assert_array_equal(nearly.x, found.x)


# Other models have beams in the test below.
@pytest.mark.parametrize(
    "name", ["rnn", *(pytest.param(name, marks=pytest.mark.large) for name in MODELS if name != "rnn")]
)
def test_a_single_beam_is_greedy(name):
    model = built(name)
    found = decode(model, NUM, length=LENGTH, prompt=[1], strategy="greedy", **PLAIN)
    beam = beam_search(model, 1, length=LENGTH, prompt=[1], **PLAIN)
    np.testing.assert_array_equal(beam.x, found.x[:1])
    np.testing.assert_allclose(beam.log_prob, found.log_prob[:1], rtol=1e-5)


def test_beams_are_rescored(model):
    # Beams change places all the time here: a state that is not re-gathered with its beam shows at once.
    found = beam_search(model, 4, length=LENGTH, prompt=[2, 0], **PLAIN)
    np.testing.assert_allclose(found.log_prob, log_prob(model, found.x), rtol=1e-4, atol=1e-4)
    assert (np.diff(found.log_prob) <= 0).all()
    assert len(np.unique(found.x, axis=0)) == 4


def test_beams_change_places():
    # p(x1): 0 is a little more probable than 1; but 1 goes on surely, 0 with three equal chances. Greedy decoding
    # takes 0; the best sequence descends from what was the second beam, and so must its state.
    class Trap(keras.layers.Layer):
        """Counts steps and keeps the first symbol: the outputs depend on the state alone, not on the input."""

        def call(self, x):
            scope = scopes.current()
            if scope is None:
                first = tf.pad(tf.repeat(x[:, :1], x.shape[1] - 1, 1), [[0, 0], [1, 0], [0, 0]])
                index = tf.range(x.shape[1])[None, :, None]
                return self.logits(first, index)
            state = scope.state_of(self)
            kept = state.read("first", [1, tf.shape(x)[0]], x.dtype)
            index = scope.at + tf.range(tf.shape(x)[1])[None, :, None]
            kept = tf.where(tf.equal(scope.at, 1), tf.transpose(x[:, 0]), kept)
            state.write("first", kept)
            return self.logits(tf.transpose(kept)[..., None] * tf.ones_like(x), index)

        def logits(self, first, index):
            start = tf.math.log([0.4, 0.35, 0.25])
            surely = tf.math.log([0.01, 0.01, 0.98])
            return tf.where(index == 0, start, tf.where(tf.abs(first) < 0.5, surely, tf.math.log([1 / 3] * 3)))

    # Symbols are encoded as -1, 0, 1: the sure one is symbol 1.
    model = tfar.models.AutoregressiveModel(Trap(), (5,), tfar.heads.Categorical(3), layout="sequence")
    with eagerly():
        greedy = beam_search(model, 1)
    beam = beam_search(model, 3, **PLAIN)
    assert greedy.x[0, 0] == 0
    assert beam.x[0].tolist() == [1, 2, 2, 2, 2]
    np.testing.assert_allclose(beam.log_prob, log_prob(model, beam.x), rtol=1e-5)
    np.testing.assert_allclose(beam.log_prob[0], np.log(0.35 * 0.98**4), rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_full_width_finds_the_most_probable_sequence(tiny, jit_compile):
    everything = sequences(3, 4)
    nats = log_prob(tiny, everything)
    best = np.argsort(-nats)
    found = beam_search(tiny, 81, jit_compile=jit_compile)
    np.testing.assert_allclose(found.log_prob, nats[best], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.x[0], everything[best[0]])
    assert len(np.unique(found.x, axis=0)) == 81
    np.testing.assert_allclose(np.exp(found.log_prob).sum(), 1, rtol=1e-4)


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_full_width_with_an_end_symbol(tiny, penalty):
    # Every sequence once: those that end early, and those of full length.
    ended = {}
    for x in sequences(3, 4):
        length = list(x).index(2) + 1 if 2 in x else 4
        ended[tuple(x[:length])] = x
    keys = list(ended)
    lengths = np.array([len(key) for key in keys])
    nats = total(tiny, np.array([ended[key] for key in keys]), lengths)
    scores = nats / ((5 + lengths) / 6) ** penalty
    best = keys[int(np.argmax(scores))]
    with eagerly():
        found = beam_search(tiny, 81, end=2, length_penalty=penalty)
    num = np.isfinite(found.log_prob).sum()
    assert num == len(keys)
    assert tuple(found.x[0][: found.lengths[0]]) == best
    np.testing.assert_allclose(found.scores[:num], np.sort(scores)[::-1], rtol=1e-4, atol=1e-5)
    for x, length in zip(found.x[:num], found.lengths[:num], strict=True):
        assert (x[length:] == 2).all()
    np.testing.assert_allclose(
        found.log_prob[:num], total(tiny, found.x[:num], found.lengths[:num]), rtol=1e-4, atol=1e-5
    )


def test_a_penalty_favours_longer_sequences(tiny):
    with eagerly():
        short, long = (beam_search(tiny, 9, end=2, length_penalty=penalty) for penalty in (0.0, 8.0))
    assert long.lengths[0] >= short.lengths[0]
    assert long.lengths.mean() > short.lengths.mean()


def test_several_searches_at_once(tiny):
    both = beam_search(tiny, 3, prompt=[[0, 1], [2, 2]], **PLAIN)
    assert both.x.shape == (2, 3, 4)
    for row, prompt in enumerate(([0, 1], [2, 2])):
        with eagerly():
            one = beam_search(tiny, 3, prompt=prompt)
        np.testing.assert_array_equal(both.x[row], one.x)
        np.testing.assert_allclose(both.log_prob[row], one.log_prob, rtol=1e-5)


@some_models
def test_stop_symbols(model):
    free = decode(model, NUM, length=LENGTH, prompt=[1, 3], seed=2, **PLAIN)
    found = decode(model, NUM, length=LENGTH, prompt=[1, 3], seed=2, stop=3, **PLAIN)
    for x, length, other in zip(found.x, found.lengths, free.x, strict=True):
        # The stop symbol of the prompt ended nothing; behind it, it does.
        assert length > 2
        np.testing.assert_array_equal(x[:length], other[:length])
        assert 3 not in x[2 : length - 1]
        assert (x[length:] == 3).all()
        assert length == LENGTH or x[length - 1] == 3
    assert found.lengths.min() < LENGTH
    np.testing.assert_allclose(found.log_prob, total(model, found.x, found.lengths), rtol=1e-4, atol=1e-4)
    assert [len(row) for row in found.rows()] == found.lengths.tolist()


@some_models
def test_streaming_gives_the_same_in_pieces(model):
    arguments = {"length": LENGTH, "prompt": [1], "seed": 4, "top_k": 3, **PLAIN}
    whole = decode(model, NUM, **arguments)
    pieces = list(stream(model, NUM, chunk=5, **arguments))
    assert [piece.shape for piece in pieces] == [(NUM, 5), (NUM, 5), (NUM, 1)]
    np.testing.assert_array_equal(np.concatenate(pieces, 1), whole.x[:, 1:])


@some_models
def test_a_stream_ends_with_its_sequences(model):
    whole = decode(model, NUM, length=LENGTH, seed=2, stop=3, **PLAIN)
    pieces = list(stream(model, NUM, length=LENGTH, seed=2, stop=3, chunk=4, **PLAIN))
    last = whole.lengths.max()
    np.testing.assert_array_equal(np.concatenate(pieces, 1), whole.x[:, :last])


@pytest.mark.large
@pytest.mark.parametrize("strategy", [{"strategy": "greedy"}, {"top_k": 2, "top_p": 0.8}, {"temperature": 0.5}])
def test_xla_decodes_the_same(strategy):
    model = sharp(transformer())
    plain, xla = (
        decode(model, 2, length=LENGTH, prompt=[0, 4], seed=0, stop=3, jit_compile=jit, **strategy)
        for jit in (False, True)
    )
    np.testing.assert_array_equal(plain.x, xla.x)
    np.testing.assert_allclose(plain.log_prob, xla.log_prob, rtol=1e-4)


def test_conditions_reach_every_row():
    head, label = tfar.heads.Categorical(5), tfar.conditions.Label(3)
    model = sharp(tfar.models.CausalConvNet((None,), head, filters=6, num_layers=1, condition=label))
    labels = np.array([0, 1, 2, 0])
    found = decode(model, 4, length=9, prompt=[1], condition=labels, strategy="greedy", **PLAIN)
    np.testing.assert_allclose(found.log_prob, log_prob(model, found.x, labels), rtol=1e-4)
    np.testing.assert_array_equal(found.x[0], found.x[3])
    beams = beam_search(model, 3, length=9, prompt=[1], condition=1, **PLAIN)
    np.testing.assert_allclose(beams.log_prob, log_prob(model, beams.x, [1, 1, 1]), rtol=1e-4)


def test_binary_sequences():
    model = sharp(tfar.models.CausalConvNet((6,), tfar.heads.Bernoulli(), filters=4, num_layers=2))
    with eagerly():
        found = beam_search(model, 64)
    np.testing.assert_allclose(found.log_prob, np.sort(log_prob(model, sequences(2, 6)))[::-1], rtol=1e-4)


@pytest.mark.parametrize("top_k, top_p, kept", [(4, 1.0, 4), (2, 1.0, 2), (4, 0.5, 1), (4, 0.51, 2), (1, 0.99, 1)])
def test_what_is_kept(top_k, top_p, kept):
    logits = tf.math.log([[0.1, 0.5, 0.15, 0.25]])
    found = keep_probable(logits, tf.constant(top_k), tf.constant(top_p)).numpy()[0]
    most = np.argsort(-logits.numpy()[0])[:kept]
    assert set(np.flatnonzero(np.isfinite(found))) == set(most)
    np.testing.assert_array_equal(found[most], logits.numpy()[0][most])


def test_top_p_draws_from_the_nucleus(tiny):
    noise = np.random.default_rng(0).uniform(0.01, 0.99, [500, 4, 1])
    with eagerly():
        found = decode(tiny, 500, noise=noise, top_p=0.6)
    probs = tf.nn.softmax(tiny(found.x)).numpy()
    ranked = -np.sort(-probs, -1)
    own = np.take_along_axis(probs, found.x[..., None], -1)[..., 0]
    more_probable = np.where(ranked > own[..., None] + 1e-6, ranked, 0).sum(-1)
    assert (more_probable < 0.6 + 1e-4).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"length": 0}, "length must be an integer of at least 1, got 0"),
        ({"prompt": [5]}, "prompt must hold whole numbers from 0 to 4"),
        ({"prompt": [[1], [2]]}, r"prompt must have shape \[n\] or \[1, n\], got \(2, 1\)"),
        ({"prompt": [1] * 9}, "length must cover the prompt of 9 symbols, got 8"),
        ({"strategy": "best"}, "strategy must be one of .* got 'best'"),
        ({"strategy": "greedy", "top_k": 3}, "top_k and top_p are for strategy='ancestral'"),
        ({"temperature": 0}, "temperature must be a positive number, got 0"),
        ({"top_k": 0}, "top_k must be an integer of at least 1, got 0"),
        ({"top_p": 1.5}, "top_p must lie in 0 < p <= 1, got 1.5"),
        ({"stop": 5}, "stop must be a symbol, 0 to 4, got 5"),
        ({"condition": 1}, "condition was given, but CausalTransformer was built without one"),
        ({"noise": np.zeros([1, 3, 1])}, r"noise must have shape \(1, 8, 1\), got \(1, 3, 1\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        decode(built("transformer"), **{"length": 8, "seed": 0, **PLAIN, **arguments})


def test_models_that_cannot_be_decoded():
    image = tfar.models.GatedPixelCNN((2, 2, 1), tfar.heads.Categorical(2), filters=2, num_blocks=1)
    with pytest.raises(ValueError, match="decoding takes models of sequences of symbols"):
        decode(image)
    with pytest.raises(ValueError, match="length must be given"):
        decode(built("transformer"))
    with pytest.raises(ValueError, match="length must be at most 12 for this CausalTransformer, got 13"):
        decode(transformer(positions="learned"), length=13)
    order = tfar.orderings.from_permutation([1, 0, 2])
    with pytest.raises(ValueError, match="drawn as stored"):
        decode(tfar.models.MADE((3,), tfar.heads.Bernoulli(), hidden=(4,), ordering=order))
    with pytest.raises(ValueError, match="width must be an integer of at least 1, got 0"):
        beam_search(built("transformer"), 0, length=3)
