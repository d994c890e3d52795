import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import testing
from tfar.core import Incremental, initial_state

HEAD = tfar.heads.Categorical(5)


def built(**arguments):
    model = tfar.models.CharRNN((None,), HEAD, **{"units": 4, **arguments})
    testing.randomize_weights(model)
    return model


def test_karpathys_parameter_count():
    assert tfar.models.from_preset("char_rnn_karpathy").count_params() == 240_321


def test_presets_build_with_a_head_alone():
    for name in ("char_rnn_tiny", "char_rnn_small"):
        model = tfar.models.from_preset(name, head=HEAD)
        assert model.event_shape == (None,) and model.network.layers[0].exclusive


@pytest.mark.parametrize("cell", ["lstm", "gru", "vanilla"])
def test_incremental_matches_parallel(cell):
    model = built(cell=cell, num_layers=2)
    x = testing.random_events(model, 2, length=23)
    blocks = [(0, 1), (0, 17), (17, 6), (1, 16)]
    testing.assert_incremental_matches_parallel(model, x, blocks=blocks, modes=("eager",))


def test_causal_and_nothing_hidden():
    testing.assert_causal(built(num_layers=2))
    testing.assert_causal(built(embedding_dim=3, cell="gru"))


@pytest.mark.parametrize("length", [1, 4])
def test_normalized_at_any_length(length):
    model = built()
    events = np.stack(np.meshgrid(*[np.arange(5)] * length, indexing="ij"), -1).reshape(-1, length).astype(np.int32)
    assert float(tf.reduce_sum(tf.exp(model.log_prob(events)))) == pytest.approx(1, abs=1e-5)


def test_the_first_character_has_a_probability_of_its_own():
    model = built()
    first = np.exp(model.score(np.arange(5, dtype=np.int32)[:, None]).numpy())
    assert first.sum() == pytest.approx(1, abs=1e-5) and first.std() > 1e-3


def test_symbols_enter_one_hot_or_embedded():
    x = np.array([[0, 4, 2]], np.int32)
    np.testing.assert_array_equal(built().encode(x)[0], np.eye(5)[[0, 4, 2]])
    assert built(embedding_dim=3).encode(x).shape == (1, 3, 3)
    scaled = tfar.models.CharRNN((None,), tfar.heads.DiscretizedLogisticMixture(2, bits=8), units=3)
    assert_close(scaled.encode(np.array([[0, 255]]))[0, :, 0], [-1, 1], 1e-6)


def test_samples_agree_and_continue_a_prompt():
    model = built()
    drawn = {
        method: model.sample(3, seed=1, length=9, prompt=[1, 2], method=method, jit_compile=False).numpy()
        for method in ("incremental", "naive")
    }
    np.testing.assert_array_equal(drawn["incremental"], drawn["naive"])
    assert (drawn["naive"][:, :2] == [1, 2]).all() and len(np.unique(drawn["naive"], axis=0)) == 3


def test_state_goes_on_in_a_reloaded_model(tmp_path):
    model = built(vocabulary="abcde")
    x = testing.random_events(model, 2, length=12)
    encoded = model.encode(x)
    before = tf.pad(encoded[:, :-1], [[0, 0], [1, 0], [0, 0]])
    with Incremental(initial_state(model.network, 2, {"step": (1, 5)}), at=0, length=7) as scope:
        model.network(before[:, :7])
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "state.npz", **{key.replace("/", "|"): value.numpy() for key, value in scope.state.items()})
    other = tfar.models.load(str(tmp_path / "model.keras"))
    with np.load(tmp_path / "state.npz") as file:
        state = {key.replace("|", "/"): tf.constant(file[key]) for key in file.files}
    with Incremental(state, at=7, length=5):
        outputs = other.network(before[:, 7:])
    assert_close(outputs, model(x)[:, 7:])
    assert other.text_vocabulary == model.text_vocabulary and other.text_vocabulary.decode(x[0]) != ""


def test_config_is_json_and_complete():
    model = built(vocabulary="habcd", dropout=0.25, cell="gru", init_scale=0.1)
    config = json.loads(json.dumps(model.get_config()))
    assert tfar.models.CharRNN.from_config(config).get_config() == config
    assert config["vocabulary"] == "habcd" and config["dropout"] == 0.25 and config["units"] == 4


def test_dropout_works_between_layers_and_before_the_decoder():
    keras.utils.set_random_seed(0)
    model = built(dropout=0.5)
    x = testing.random_events(model, 2)
    assert np.abs(model(x, training=True) - model(x, training=False)).max() > 1e-3
    assert len(model.network.dropouts) == model.num_layers
    np.testing.assert_array_equal(model(x, training=False), model(x, training=False))


def test_bytes_need_no_vocabulary():
    model = tfar.models.CharRNN((None,), tfar.heads.Categorical(256), units=2, num_layers=1)
    assert model.text_vocabulary.encode("é").tolist() == [195, 169]
    assert built().text_vocabulary is None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_layers": 0}, "num_layers"),
        ({"vocabulary": "ab"}, "one character for each of 5 levels, got 2"),
        ({"condition": tfar.conditions.Spatial(2)}, "condition must be a Label or a Vector"),
        ({"cell": "rnn"}, "cell"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        built(**arguments)


@pytest.mark.parametrize(
    "cell", ["lstm", pytest.param("gru", marks=pytest.mark.large), pytest.param("vanilla", marks=pytest.mark.large)]
)
def test_learns_hello(cell, fit_table):
    keras.utils.set_random_seed(0)
    text = "hello" * 4
    model = tfar.models.CharRNN(
        (None,), tfar.heads.Categorical(4), units=12, num_layers=1, cell=cell, vocabulary="ehlo"
    )
    x = model.text_vocabulary.encode(text)[None]
    before = float(model.bits_per_dim(x)[0])
    fit_table(model, x, [1.0], steps=80, rate=0.05)
    assert float(model.bits_per_dim(x)[0]) < 0.1 * before  # after the first letter nothing is left to chance
