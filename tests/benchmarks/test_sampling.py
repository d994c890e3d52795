import json
import math

import numpy as np
import pytest

import tfar
from benchmarks import sampling


@pytest.fixture(scope="module")
def result():
    return sampling.measure(sampling.build("made", tiny=True), batch=2, repeats=3, naive_positions=4)


def test_figures_fit_together(result):
    assert result["forward_s"] == min(result["forward_plain_s"], result["forward_xla_s"])
    assert (result["num_positions"], result["naive_positions_measured"]) == (12, 4)
    rounds = result["rounds_s"]
    for mode in sampling.MODES:
        figures = result[mode]
        assert figures["sample_s"] == np.median(rounds[f"sample {mode}"])
        assert figures["naive_s"] == pytest.approx(np.median(rounds[f"naive {mode}"]) * 12 / 4)
        assert figures["cost_in_forwards"] == pytest.approx(figures["sample_s"] / result["forward_s"])
        assert figures["speedup"] == pytest.approx(figures["naive_s"] / figures["sample_s"])
        assert figures["first_call_s"] > figures["sample_s"] > 0
    assert {len(seconds) for seconds in rounds.values()} == {3}
    share = result["forward_gflop"] / result["forward_s"] / result["matmul_gflop_per_s"]
    assert result["forward_share_of_matmul"] == pytest.approx(share)


def test_result_is_json_and_table(result):
    assert json.loads(json.dumps(result)) == result
    text = sampling.table({"model": "tiny", **result})
    assert "naive is scaled from 4 of 12 positions" in text
    for mode in sampling.MODES:
        assert f"{result[mode]['cost_in_forwards']:.2f} forwards" in text


def test_operations_of_a_forward_are_those_of_its_convolutions():
    import tensorflow as tf

    model = tfar.models.GatedPixelCNN((8, 8, 1), tfar.heads.Bernoulli(), filters=16, num_blocks=1)
    graph = tf.function(model.decode, autograph=False).get_concrete_function(tf.zeros([4, 8, 8, 1])).graph
    pixels = 4 * 8 * 8
    kernels = sum(math.prod(weight.shape) for weight in model.weights if len(weight.shape) == 4)
    counted = sampling.count_flops(graph)
    assert 2 * kernels * pixels <= counted <= 1.1 * 2 * kernels * pixels


def test_rounds_alternate():
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "abc"}
    rounds = sampling.alternate(calls, 2)
    assert {name: len(seconds) for name, seconds in rounds.items()} == {"a": 2, "b": 2, "c": 2}
    # Two calls to warm up, then rounds of many calls each, for these take no time.
    many = sampling._MOST_CALLS
    assert "".join(order) == "aabbcc" + ("a" * many + "b" * many + "c" * many) * 2


# The tiny one is that of "pixel_cnn_pp".
OF_OTHERS = pytest.param("pixel_cnn_pp_rgb", marks=pytest.mark.large)


@pytest.mark.parametrize(
    "name", [*sorted(sampling.benchmarked().keys() - {"pixel_cnn_pp_rgb"}), OF_OTHERS, "gated_pixel_cnn_tiny"]
)
def test_build(name):
    model = sampling.build(name, tiny=True)
    assert model.condition is None
    assert model.event.num_dimensions <= 64


def test_a_wavenet_is_compared_with_itself_at_dilation_2(monkeypatch):
    models = [sampling.build("wavenet", tiny=True, dilation=dilation) for dilation in (None, 2)]
    assert [model.dilation_rates for model in models] == [[1, 2, 4], [2, 2, 2]]
    # The same model stands for the other: it is compiled once.
    monkeypatch.setattr(sampling, "_COPIED_BYTES", 2**20)
    model = tfar.models.WaveNet((24,), tfar.heads.Categorical(4), 4, 4, 8, dilations=[2])
    result = sampling.measure(model, batch=1, repeats=1, near=model, plain_units=6)
    read = 4 * model.network.count_params() * 24
    seconds = result["rounds_s"]
    # The plain graph drew 6 of 24 steps.
    assert result["plain"]["sample_s"] == 4 * seconds["sample plain"][0]
    assert result["xla"]["sample_s"] == seconds["sample xla"][0]
    for mode in sampling.MODES:
        ratio = seconds[f"sample {mode}"][0] / seconds[f"near {mode}"][0]
        assert result[mode]["sample_to_dilations_of_2"] == ratio
        assert result[mode]["read_gb_per_s"] == pytest.approx(read / 1e9 / result[mode]["sample_s"])
    text = sampling.table({"model": "tiny", **result})
    assert "times the time of the same network with all dilations 2" in text
    assert "naive is scaled from 4 of 24 positions; the plain graph's sample from 6 of 24" in text


def test_a_step_of_attention_reads_keys_and_values():
    model = sampling.build("causal_transformer", tiny=True)
    cache = 2 * 12 * 3 * 8  # keys and values of one layer: positions, batch, width
    assert sampling._bytes_of_a_step(model, 3) == 4 * (cache + model.network.count_params())


def test_build_refuses_unknown_names():
    with pytest.raises(ValueError, match="--model must be one of gated_pixel_cnn, .*; got 'gpt'"):
        sampling.build("gpt")


def test_conditions_are_refused():
    model = tfar.models.MADE((3,), tfar.heads.Bernoulli(), hidden=(4,), condition=tfar.conditions.Label(2))
    with pytest.raises(ValueError, match=r"models without a condition, got Label\(2\)"):
        sampling.measure(model, batch=1)
