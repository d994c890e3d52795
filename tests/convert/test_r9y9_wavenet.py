"""Weights of wavenet_vocoder give what its formulas give, here written out in NumPy."""

import math

import numpy as np
import pytest

import tfar
from tfar.convert import from_r9y9_wavenet
from tfar.core.conditions import Joint, Label, Local, Vector
from tfar.core.request import Request

RESIDUAL, GATE, SKIP, LEVELS, KERNEL, LAYERS, STACKS = 3, 4, 5, 6, 3, 4, 2
CIN, GIN, SPEAKERS, SCALES = 2, 3, 4, (2, 3)


def normed(rng, name, shape, bias=None):
    """A weight-normalised layer of a state_dict."""
    arrays = {
        f"{name}.weight_v": rng.normal(size=shape),
        f"{name}.weight_g": rng.uniform(0.5, 1.5, (shape[0],) + (1,) * (len(shape) - 1)),
    }
    if bias is not None:
        arrays[f"{name}.bias"] = rng.normal(size=bias)
    return {key: value.astype(np.float32) for key, value in arrays.items()}


def state_dict(rng, local=None, speakers=True, width=1, inputs=LEVELS, outputs=LEVELS):
    arrays = normed(rng, "first_conv", (RESIDUAL, inputs, 1), RESIDUAL)
    for index in range(LAYERS):
        layer = f"conv_layers.{index}."
        arrays |= normed(rng, layer + "conv", (GATE, RESIDUAL, KERNEL), GATE)
        arrays |= normed(rng, layer + "conv1x1_out", (RESIDUAL, GATE // 2, 1), RESIDUAL)
        arrays |= normed(rng, layer + "conv1x1_skip", (SKIP, GATE // 2, 1), SKIP)
        if local:
            arrays |= normed(rng, layer + "conv1x1c", (GATE, CIN, 1), GATE)  # older versions: with a bias
        if speakers:
            arrays |= normed(rng, layer + "conv1x1g", (GATE, GIN, 1))
    arrays |= normed(rng, "last_conv_layers.1", (SKIP, SKIP, 1), SKIP)
    arrays |= normed(rng, "last_conv_layers.3", (outputs, SKIP, 1), outputs)
    if speakers:
        arrays["embed_speakers.weight"] = rng.normal(size=(SPEAKERS, GIN)).astype(np.float32)
    if local == "stretch":
        arrays["upsample_net.conv_in.weight"] = rng.normal(size=(CIN, CIN, 1)).astype(np.float32)
        for index, scale in enumerate(SCALES):
            name = f"upsample_net.upsample.up_layers.{2 * index + 1}"
            arrays |= normed(rng, name, (1, 1, width, 2 * scale + 1))
    if local == "transposed2d":
        for index, scale in enumerate(SCALES):
            arrays |= normed(rng, f"upsample_conv.{2 * index}", (1, 1, width, scale), 1)
    return arrays


def weight(arrays, name):
    if f"{name}.weight" in arrays:
        return arrays[f"{name}.weight"].astype(np.float64)
    v = arrays[f"{name}.weight_v"].astype(np.float64)
    return arrays[f"{name}.weight_g"] * v / np.sqrt((v**2).sum(tuple(range(1, v.ndim)), keepdims=True))


def conv(arrays, name, x, dilation=1):
    """Causal convolution of x [C, T]; PyTorch's order of taps."""
    w = weight(arrays, name)
    past = (w.shape[2] - 1) * dilation
    padded = np.pad(x, [(0, 0), (past, 0)])
    y = sum(w[:, :, k] @ padded[:, k * dilation : k * dilation + x.shape[1]] for k in range(w.shape[2]))
    return y + arrays[f"{name}.bias"][:, None] if f"{name}.bias" in arrays else y


def upsample(arrays, c, local, width):
    """[C, n] -> [C, n hop], element by element."""
    if local == "stretch":
        c = weight(arrays, "upsample_net.conv_in")[:, :, 0] @ c
    side = width // 2
    for index, scale in enumerate(SCALES):
        if local == "stretch":
            w = weight(arrays, f"upsample_net.upsample.up_layers.{2 * index + 1}")[0, 0]
            padded = np.pad(np.repeat(c, scale, 1), [(side, side), (scale, scale)])
            out = np.zeros((c.shape[0], c.shape[1] * scale))
            for i in range(out.shape[0]):
                for t in range(out.shape[1]):
                    out[i, t] = (padded[i : i + width, t : t + 2 * scale + 1] * w).sum()
        else:
            w = weight(arrays, f"upsample_conv.{2 * index}")[0, 0]
            out = np.zeros((c.shape[0] + 2 * side, c.shape[1] * scale))
            for i in range(c.shape[0]):
                for t in range(c.shape[1]):
                    out[i : i + width, t * scale : (t + 1) * scale] += c[i, t] * w
            out = np.maximum(out[side : out.shape[0] - side] + arrays[f"upsample_conv.{2 * index}.bias"], 0)
        c = out
    return c


def reference(arrays, x, c=None, g=None, legacy=False):
    """Outputs [T, out] of the reference for x [C, T], up-sampled c [CIN, T] and g [GIN]."""
    x = conv(arrays, "first_conv", x)
    skips = None
    for index in range(LAYERS):
        layer, residual = f"conv_layers.{index}.", x
        y = conv(arrays, layer + "conv", x, 2 ** (index % (LAYERS // STACKS)))
        if c is not None:
            y = y + conv(arrays, layer + "conv1x1c", c)
        if g is not None:
            y = y + conv(arrays, layer + "conv1x1g", g[:, None])
        z = np.tanh(y[: GATE // 2]) / (1 + np.exp(-y[GATE // 2 :]))
        skip = conv(arrays, layer + "conv1x1_skip", z)
        skips = skip if skips is None else (skips + skip) * (math.sqrt(0.5) if legacy else 1)
        x = (conv(arrays, layer + "conv1x1_out", z) + residual) * math.sqrt(0.5)
    skips = skips if legacy else skips * math.sqrt(1 / LAYERS)
    y = conv(arrays, "last_conv_layers.1", np.maximum(skips, 0))
    return conv(arrays, "last_conv_layers.3", np.maximum(y, 0)).T


def build(head=None, **kwargs):
    wiring = {
        "num_stacks": STACKS,
        "layers_per_stack": LAYERS // STACKS,
        "kernel_size": KERNEL,
        "first_kernel_size": 1,
        "first_bias": True,
        "residual_scale": math.sqrt(0.5),
        "skip_scale": math.sqrt(1 / LAYERS),
    }
    head = head or tfar.heads.Categorical(LEVELS)
    return tfar.models.WaveNet((None,), head, RESIDUAL, GATE // 2, SKIP, **{**wiring, **kwargs})


@pytest.mark.parametrize(
    ("local", "width", "speakers"),
    [(None, 1, False), (None, 1, True), ("stretch", 1, True), ("stretch", 3, False), ("transposed2d", 3, True)],
)
def test_outputs_at_every_position(local, width, speakers):
    rng = np.random.default_rng(0)
    arrays = state_dict(rng, local, speakers, width)
    hop, frames = math.prod(SCALES), 3
    conditions, given, g, c = [], [], None, None
    if speakers:
        conditions.append(Label(SPEAKERS))
        given.append(np.array([2]))
        g = arrays["embed_speakers.weight"][2]
    if local:
        conditions.append(Local(CIN, hop, delay=1))
        values = rng.normal(size=(1, frames, CIN)).astype(np.float32)
        given.append(values)
        c = upsample(arrays, values[0].T.astype(np.float64), local, width)
    upsampling = {"scales": SCALES, "channel_kernel": width, "first_kernel": int(local == "stretch")}
    model = build(
        condition=None if not conditions else conditions[0] if len(conditions) == 1 else Joint(conditions),
        upsampling={"method": local, **upsampling} if local else "repeat",
    )
    from_r9y9_wavenet(arrays, model)
    codes = rng.integers(0, LEVELS, frames * hop)
    expected = reference(arrays, np.eye(LEVELS)[codes].T, c, g)
    value = None if not given else given[0] if len(given) == 1 else tuple(given)
    outputs = model.decode(model.encode(np.append(codes, 0)[None]), model.context(Request(value))).numpy()[0, 1:]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    # The public way, with its checks: one element more than there are local features for, since they are late.
    with tfar.testing.eagerly():
        nats = model.score(np.append(codes, 0)[None], value).numpy()[0, 1:-1]
    logits = expected[:-1]
    expected_nats = logits[np.arange(len(codes) - 1), codes[1:]] - np.log(np.exp(logits).sum(-1))
    np.testing.assert_allclose(nats, expected_nats, rtol=1e-4, atol=1e-5)


def test_fused_weights_and_scalar_input_and_vectors():
    rng = np.random.default_rng(1)
    head = tfar.heads.DiscretizedLogisticMixture(2, bits=16)
    arrays = state_dict(rng, None, True, inputs=1, outputs=6)
    fused = {key: value for key, value in arrays.items() if key.endswith(".bias")}
    for key in arrays:
        if key.endswith(".weight_v"):
            name = key.removesuffix(".weight_v")
            fused[f"{name}.weight"] = weight(arrays, name).astype(np.float32)
    model = from_r9y9_wavenet(fused, build(head, condition=Vector(GIN)))
    codes = rng.integers(0, 65536, 12)
    g = rng.normal(size=GIN).astype(np.float32)
    expected = reference(arrays, 2 * codes[None] / 65535 - 1, g=g)
    outputs = model(np.append(codes, 0)[None], g[None]).numpy()[0, 1:]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_legacy_skips():
    rng = np.random.default_rng(2)
    arrays = state_dict(rng, None, False)
    model = from_r9y9_wavenet(arrays, build(skip_scale=0.5), legacy_skips=True)
    codes = rng.integers(0, LEVELS, 10)
    expected = reference(arrays, np.eye(LEVELS)[codes].T, legacy=True)
    outputs = model(np.append(codes, 0)[None]).numpy()[0, 1:]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_errors_name_the_array():
    arrays = state_dict(np.random.default_rng(0), None, False)
    missing = {key: value for key, value in arrays.items() if not key.startswith("conv_layers.1.conv1x1_out.weight")}
    with pytest.raises(ValueError, match="'conv_layers.1.conv1x1_out.weight' or 'conv_layers.1.conv1x1_out.weight_v'"):
        from_r9y9_wavenet(missing, build())
    with pytest.raises(ValueError, match="'conv_layers.0.conv.weight' of wavenet_vocoder gives .3, 3, 4."):
        from_r9y9_wavenet(arrays, build(kernel_size=2))
    with pytest.raises(ValueError, match="residual_scale must be 0.707"):
        from_r9y9_wavenet(arrays, build(residual_scale=1.0))
    with pytest.raises(ValueError, match="delay of the Local condition must be 1"):
        from_r9y9_wavenet(arrays, build(condition=Local(CIN, 6)))
    with pytest.raises(ValueError, match="'conv_layers.0.conv1x1c.bias' of wavenet_vocoder belongs nowhere"):
        from_r9y9_wavenet(state_dict(np.random.default_rng(0), "stretch", False), build())
