"""tfar.models.BayesNet: any directed acyclic graph, and the independences that it implies."""

import itertools

import keras
import numpy as np
import pytest

from tfar import heads, models, orderings, testing
from tfar.core.conditions import Vector

NAMES = ["pollution", "smoker", "cancer", "xray", "dyspnoea"]
PARENTS = {"cancer": ["pollution", "smoker"], "xray": ["cancer"], "dyspnoea": ["cancer"]}
SPACE = np.array(list(itertools.product([0, 1], repeat=5)), np.int32)


def cancer_joint():
    """Korb and Nicholson, Bayesian Artificial Intelligence, section 2.2: p over SPACE; 1 is high, yes or positive."""
    p, s, c, x, d = SPACE.T
    p_cancer = np.array([[0.001, 0.03], [0.02, 0.05]])[p, s]
    factors = [
        np.where(p, 0.1, 0.9),
        np.where(s, 0.3, 0.7),
        np.where(c, p_cancer, 1 - p_cancer),
        np.where(x == 1, *[np.where(c, 0.9, 0.2), np.where(c, 0.1, 0.8)]),
        np.where(d == 1, *[np.where(c, 0.65, 0.3), np.where(c, 0.35, 0.7)]),
    ]
    return np.prod(factors, 0)


def dependence(joint, a, b, given=()):
    """Greatest |p(a, b | given) - p(a | given) p(b | given)| in a joint over SPACE."""
    worst = 0.0
    for values in itertools.product([0, 1], repeat=len(given)):
        rows = np.all([SPACE[:, NAMES.index(g)] == v for g, v in zip(given, values, strict=True)] or [True], 0)
        table = np.zeros([2, 2])
        np.add.at(table, (SPACE[:, NAMES.index(a)], SPACE[:, NAMES.index(b)]), joint * rows)
        table /= table.sum()
        worst = max(worst, np.abs(table - table.sum(1, keepdims=True) * table.sum(0)).max())
    return worst


def cancer_model(**kwargs):
    keras.utils.set_random_seed(0)
    return models.BayesNet((5,), heads.Bernoulli(), PARENTS, NAMES, hidden=(8,), **kwargs)


def test_the_lung_cancer_network_is_relearned_from_samples(fit_table):
    joint = cancer_joint()
    counts = np.random.default_rng(0).multinomial(200_000, joint)
    model = cancer_model()
    fit_table(model, SPACE, counts / counts.sum(), steps=600)
    nats = model.log_prob(SPACE).numpy().astype(np.float64)
    divergence = (joint * (np.log(joint) - nats)).sum()
    print(f"KL {divergence:.2e} nats; largest |p - q| {np.abs(joint - np.exp(nats)).max():.1e}")
    assert divergence <= 0.01
    assert np.abs(joint - np.exp(nats)).max() < 0.005
    # What the graph does not exclude has been learned.
    assert dependence(np.exp(nats), "xray", "dyspnoea") > 1e-3
    assert dependence(np.exp(nats), "pollution", "cancer") > 1e-3


@pytest.fixture(scope="module")
def random_joint():
    """The joint over SPACE of the network with random weights."""
    model = cancer_model()
    testing.randomize_weights(model, scale=2.0)
    with testing.eagerly():
        return np.exp(model.log_prob(SPACE).numpy().astype(np.float64))


@pytest.mark.parametrize(
    ("a", "b", "given"),
    [
        ("pollution", "smoker", ()),
        ("xray", "smoker", ("cancer",)),
        ("xray", "dyspnoea", ("cancer",)),
        ("dyspnoea", "pollution", ("cancer", "smoker")),
    ],
)
def test_independences_hold_whatever_the_weights(random_joint, a, b, given):
    assert dependence(random_joint, a, b, given) < 1e-6


@pytest.mark.parametrize(
    ("a", "b", "given"), [("pollution", "smoker", ("cancer",)), ("xray", "smoker", ()), ("xray", "dyspnoea", ())]
)
def test_dependences_are_there(random_joint, a, b, given):
    # Explaining away: the causes become dependent once the effect is known.
    assert dependence(random_joint, a, b, given) > 1e-4


def test_a_node_sees_its_parents_and_nothing_else():
    model = models.BayesNet(
        (5,), heads.Categorical(3), {"x": ["c"], "c": ["p", "s"], "d": ["c"]}, ["x", "c", "p", "s", "d"], hidden=(8,)
    )
    testing.randomize_weights(model)
    assert model.ordering.permutation.tolist() == [2, 3, 1, 0, 4]
    assert model.parents == ((1,), (2, 3), (), (), (1,))
    testing.assert_causal(model, blind=[(3, 2), (0, 2), (0, 3), (4, 0), (4, 2), (4, 3)])


def test_sampling_follows_the_graph():
    # Every node copies its parent, so an event is constant along the chain 2 -> 0 -> 1.
    model = models.BayesNet((3,), heads.Bernoulli(), {0: [2], 1: [0]}, hidden=())
    model.network.kernel.assign(np.full([2, 1, 1], 60.0))
    model.network.bias.assign([[0.0], [-30.0], [-30.0]])
    x = model.sample(64, seed=0, batch_size=64, jit_compile=False).numpy()
    assert (x == x[:, :1]).all() and 16 < x[:, 0].sum() < 48


def test_a_node_without_parents_is_a_bias():
    model = models.BayesNet((3,), heads.Bernoulli(), {2: [0, 1]}, hidden=(4,))
    assert model.count_params() == 3 + 2 * 4 + 4 + 4  # biases, 2 edges, one hidden layer, one output
    independent = models.BayesNet((3,), heads.Bernoulli(), {})
    assert independent.count_params() == 3
    assert independent.sample(2, seed=0, jit_compile=False).shape == (2, 3)


def test_an_ordering_must_put_parents_first():
    ordering = orderings.from_permutation([1, 0, 2])
    model = models.BayesNet((3,), heads.Bernoulli(), {2: [0]}, ordering=ordering)
    assert model.ordering == ordering
    with pytest.raises(ValueError, match="0 is drawn after its child 2"):
        models.BayesNet((3,), heads.Bernoulli(), {2: [0]}, ordering=orderings.reversed_raster(3))


@pytest.mark.parametrize(
    ("parents", "names", "message"),
    [
        ({"b": ["a"], "c": ["b"], "a": ["c"]}, ["a", "b", "c"], "cycle: a -> b -> c -> a$"),
        ({0: [0]}, None, "cycle: 0 -> 0$"),
        ({0: [1, 2], 2: [1], 1: [2]}, None, "cycle: 1 -> 2 -> 1$"),
        ({"a": ["d"]}, ["a", "b", "c"], r"holds node 'd'; a node must be one of \['a', 'b', 'c'\]"),
        ({"a": ["b"]}, None, "names= must be given"),
        ({0: [3]}, None, "an index must be from 0 to 2"),
        ({0: [1, 1]}, None, "parents of 0 must be different nodes"),
        ({0: [1]}, ["a", "b"], "names must be 3 different names"),
        ({0: [1], "a": [2]}, ["a", "b", "c"], "names the child 'a' twice"),
    ],
)
def test_errors_name_the_node(parents, names, message):
    with pytest.raises(ValueError, match=message):
        models.BayesNet((3,), heads.Bernoulli(), parents, names)


def test_the_graph_survives_a_file(tmp_path):
    model = models.BayesNet(
        (3,), heads.Categorical(3), {"a": ["c"]}, ["a", "b", "c"], hidden=(3,), condition=Vector(2), embedding_dim=2
    )
    testing.randomize_weights(model)
    loaded = testing.assert_saves(model, tmp_path)
    assert loaded.parents == ((2,), (), ()) and loaded.names == ("a", "b", "c")


def test_without_a_graph_nothing_is_assumed_independent():
    model = models.from_preset("bayes_net_tiny", event_shape=(2, 2, 1), head=heads.Bernoulli())
    testing.randomize_weights(model)
    testing.assert_causal(model)
