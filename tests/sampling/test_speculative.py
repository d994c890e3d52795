"""A draft proposes, the model checks: the text is the one that the model decodes alone from the same noise."""

import numpy as np
import pytest

from tfar import conditions, heads, models, testing
from tfar.core.rewinding import rewindable_positions
from tfar.sampling import decode

LENGTH = 9


def made(kind, seed=0, **arguments):
    model = kind((None,), heads.Categorical(5), **arguments)
    testing.randomize_weights(model, seed, scale=1.5)
    return model


@pytest.fixture(scope="module")
def transformer():
    """Goes on from any accepted symbol, and beyond 16 symbols from whole windows alone."""
    return made(models.CausalTransformer, width=8, num_layers=1, num_heads=2, positions="rotary", max_length=16)


@pytest.fixture(scope="module")
def rnn():
    return made(models.CharRNN, 1, units=6)


def compare(model, draft, num=2, length=LENGTH, **options):
    with testing.eagerly():
        alone = decode(model, num, length=length, **options)
        found = decode(model, num, length=length, draft=draft, draft_steps=4, **options)
    np.testing.assert_array_equal(found.x, alone.x)
    np.testing.assert_array_equal(found.lengths, alone.lengths)
    np.testing.assert_allclose(found.log_prob, alone.log_prob, rtol=1e-4, atol=1e-4)
    return found.speculation


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 0},
        {"seed": 1, "prompt": [1, 2, 3], "temperature": 0.7, "top_k": 3},
        {"seed": 2, "top_p": 0.8, "stop": 4},
        pytest.param({"strategy": "greedy", "prompt": [[0, 1], [2, 3]]}, marks=pytest.mark.large),
    ],
    ids=["ancestral", "top_k", "stop", "greedy"],
)
def test_text_is_that_of_the_model(transformer, rnn, options):
    assert rewindable_positions(*transformer.stages) == 16 and rewindable_positions(*rnn.stages) == 0
    for model, draft in ((transformer, rnn), (rnn, transformer))[: 2 if "stop" in options else 1]:
        worth = compare(model, draft, **options)
        assert worth.steps == 4 and worth.passes >= 1 and worth.accepted + worth.rejected > 0


@pytest.mark.large
def test_longer_than_the_cache(transformer, rnn):
    """Slots of the cache are used twice: its state cannot be taken back, and windows are checked until all is right."""
    assert compare(transformer, rnn, num=1, length=18, seed=3).rejected > 0


def test_a_perfect_draft_is_always_accepted(transformer):
    worth = compare(transformer, transformer, seed=4)
    assert worth.acceptance == 1 and worth.passes == LENGTH // 4 and worth.accepted == 2 * 4 * (LENGTH // 4)


def test_in_a_graph_with_conditions(rnn):
    model = models.CharRNN((9,), heads.Categorical(5), units=4, condition=conditions.Label(2))
    testing.randomize_weights(model)
    common = {"length": 9, "condition": [0, 1], "seed": 0, "jit_compile": False}
    alone, found = decode(model, 2, **common), decode(model, 2, draft=rnn, draft_steps=3, **common)
    np.testing.assert_array_equal(found.x, alone.x)


@pytest.mark.large
def test_under_xla(transformer, rnn):
    alone, found = (decode(transformer, 3, length=LENGTH, seed=5, draft=draft) for draft in (None, rnn))
    np.testing.assert_array_equal(found.x, alone.x)
    assert found.speculation.passes > 0 and alone.speculation is None


def test_refuses(transformer, rnn):
    other = models.CharRNN((None,), heads.Categorical(4), units=4)
    with pytest.raises(ValueError, match=r"draft must be a model of the same 5 symbols, got Categorical\(levels=4\)"):
        decode(transformer, length=4, draft=other)
    with pytest.raises(ValueError, match="draft_steps must be an integer of at least 1, got 0"):
        decode(transformer, length=4, draft=rnn, draft_steps=0)
    with pytest.raises(ValueError, match="draft must be a model of sequences of symbols, got 'small'"):
        decode(transformer, length=4, draft="small")
    texts = [models.CharRNN((None,), heads.Categorical(4), units=4, vocabulary=text) for text in ("abcd", "dcba")]
    with pytest.raises(ValueError, match="draft must have the vocabulary of the model"):
        decode(texts[0], length=4, draft=texts[1])
