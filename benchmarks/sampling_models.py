"""The models of the benchmark of sampling, by name."""

from __future__ import annotations

import dataclasses
from typing import Any

SAMPLE_RATE = 8000


@dataclasses.dataclass(frozen=True)
class Benchmarked:
    """A model with a name of its own.

    Attributes:
        kind: class.
        arguments: of the class.
        tiny: the arguments that `--tiny` changes.
        audio: whether it is a WaveNet that draws sound at 8 kHz, one event at a time.
    """

    kind: str
    arguments: dict[str, Any]
    tiny: dict[str, Any]
    audio: bool = False


def benchmarked() -> dict[str, Benchmarked]:
    """Models with a name of their own."""
    from tfar import heads

    tiny_convolutions = {"filters": 4, "num_blocks": 1, "first_kernel_size": 3}
    grey = {"event_shape": (28, 28, 1), "head": heads.Bernoulli(), "filters": 64, "num_blocks": 10}
    tiny_grey = {"event_shape": (5, 5, 1), **tiny_convolutions}
    colour = {"event_shape": (32, 32, 3), "head": heads.Categorical(256), "filters": 64, "num_blocks": 10}
    tiny_colour = {"event_shape": (4, 4, 3), "head": heads.Categorical(4), **tiny_convolutions}
    recurrent = {"event_shape": (28, 28, 1), "head": heads.Bernoulli(), "filters": 16, "num_layers": 7}
    tiny_recurrent = {"event_shape": (5, 5, 1), "filters": 4, "num_layers": 1, "first_kernel_size": 3}
    logistic = {
        "event_shape": (28, 28, 1),
        "head": heads.DiscretizedLogisticMixture(5),
        "filters": 32,
        "num_resnets": 2,
        "dropout": 0.0,
    }
    tiny_logistic = {"event_shape": (8, 8, 1), "filters": 4, "num_resnets": 1}
    snail = {**logistic, "filters": 64, "num_blocks": 3, "num_resnets": 4}  # the paper's blocks, four to an attention
    made = {"event_shape": (784,), "head": heads.Bernoulli(), "hidden": (500,)}
    temporal = {"event_shape": (784,), "head": heads.Categorical(256), "filters": 64, "num_layers": 9}
    tiny_temporal = {"event_shape": (16,), "head": heads.Categorical(4), "filters": 4, "num_layers": 3}
    text = {"event_shape": (256,), "head": heads.Categorical(65)}
    decoder = {**text, "width": 128, "num_layers": 4, "num_heads": 4, "positions": "rotary"}
    tiny_text = {"event_shape": (12,), "head": heads.Categorical(5)}
    local = {"event_shape": (28, 28, 1), "head": heads.Categorical(256), "width": 128, "num_layers": 4, "num_heads": 4}
    second = {"event_shape": (SAMPLE_RATE,), "head": heads.Categorical(256), "num_stacks": 3, "layers_per_stack": 10}
    narrow = {"residual_channels": 32, "dilation_channels": 32, "skip_channels": 64}
    wide = {"residual_channels": 64, "dilation_channels": 64, "skip_channels": 128}
    tiny_second = {"event_shape": (24,), "head": heads.Categorical(4), "num_stacks": 1, "layers_per_stack": 3}
    return {
        "gated_pixel_cnn": Benchmarked("GatedPixelCNN", grey, tiny_grey),
        "gated_pixel_cnn_rgb": Benchmarked("GatedPixelCNN", colour, tiny_colour),
        "pixel_cnn": Benchmarked("PixelCNN", grey, tiny_grey),
        "pixel_cnn_rgb": Benchmarked("PixelCNN", colour, tiny_colour),
        "pixel_cnn_pp": Benchmarked("PixelCNNPP", logistic, tiny_logistic),
        "pixel_cnn_pp_rgb": Benchmarked("PixelCNNPP", {**logistic, "event_shape": (32, 32, 3)}, tiny_logistic),
        "pixel_snail": Benchmarked("PixelSNAIL", snail, {**tiny_logistic, "num_blocks": 1}),
        "pixel_rnn_row": Benchmarked("PixelRNN", {**recurrent, "cell": "row_lstm"}, tiny_recurrent),
        "pixel_rnn_diagonal": Benchmarked("PixelRNN", {**recurrent, "cell": "diagonal_bilstm"}, tiny_recurrent),
        "made": Benchmarked("MADE", made, {"event_shape": (12,), "hidden": (8,)}),
        "causal_conv_net": Benchmarked("CausalConvNet", temporal, tiny_temporal),
        "char_rnn": Benchmarked("CharRNN", {**text, "units": 128, "num_layers": 2}, {**tiny_text, "units": 4}),
        "causal_transformer": Benchmarked("CausalTransformer", decoder, {**tiny_text, "width": 8, "num_layers": 1}),
        "image_transformer": Benchmarked(
            "ImageTransformer", local, {"event_shape": (4, 4, 1), "width": 8, "num_layers": 1, "block_size": 4}
        ),
        "wavenet": Benchmarked("WaveNet", {**second, **narrow}, tiny_second, audio=True),
        "wavenet_wide": Benchmarked("WaveNet", {**second, **wide}, tiny_second, audio=True),
        "wavenet_small": Benchmarked(
            "WaveNet", {**second, **narrow, "num_stacks": 2, "layers_per_stack": 9}, tiny_second, audio=True
        ),
    }


def build(name: str, tiny: bool = False, dilation: int | None = None) -> Any:
    """Builds a model by name.

    Args:
        name: of `benchmarked()`, or a preset; where a preset leaves them open, the event is a binary 28x28 image.
        tiny: shrink it.
        dilation: of a WaveNet, the dilation of every block.

    Raises:
        ValueError: unknown name, or the preset needs more than an event shape and a head.
    """
    import tfar

    named = benchmarked()
    if name in named:
        arguments = named[name].arguments | (named[name].tiny if tiny else {})
        if dilation:
            arguments["dilations"] = [dilation] * (arguments["num_stacks"] * arguments["layers_per_stack"])
        return getattr(tfar.models, named[name].kind)(**arguments)
    presets = tfar.models.presets()
    if name not in presets:
        raise ValueError(f"--model must be one of {', '.join([*named, *presets])}; got {name!r}")
    given = presets[name].PRESETS[name]
    open_arguments = {"event_shape": (5, 5, 1) if tiny else (28, 28, 1), "head": tfar.heads.Bernoulli()}
    return tfar.models.from_preset(name, **{key: value for key, value in open_arguments.items() if key not in given})
