r"""Draws what a pixel sees, by gradient: blind spot, full field, and linear against exponential growth in depth.

    python -m examples.receptive_fields --out=receptive_fields.png

Nothing is trained (half a minute on two cores). Every network gets random weights, and one output is differentiated by
the whole input; where the derivative is exactly zero, the output does not see.

    above   PixelCNN misses a wedge to the upper right, its blind spot: a masked kernel of 3 x 3 takes a step to the
            right only together with a step up, so what lies farther right than above stays out of sight at any depth.
            The two stacks of the Gated PixelCNN have no blind spot, PixelCNN++ needs few layers for it by
            down-sampling, and one attention of PixelSNAIL sees everything.
    below   causal 1-D convolutions of 2 taps, L layers: without dilation L + 1 values, dilated 1, 2, 4, ... 2^L.

References: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, figure 1; van den Oord et
al., WaveNet, 2016, figures 2 and 3; Chen et al., PixelSNAIL, 2018, figure 2.
"""

from __future__ import annotations

import numpy as np
from absl import app, flags

import tfar
from tfar.testing import dependencies, random_events, randomize_weights

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "receptive_fields.png", "PNG file to write.")
flags.DEFINE_integer("size", 16, "height and width of the images, a multiple of 4.", lower_bound=4)
flags.DEFINE_integer("draws", 4, "random weights and images; the greatest derivative counts.", lower_bound=1)
flags.DEFINE_integer("layers", 8, "deepest 1-D network, at most 10.", lower_bound=1, upper_bound=10)


def image_models(size: int) -> dict[str, tfar.models.AutoregressiveModel]:
    """Returns the four networks, each deep enough for the image but for its blind spot."""
    event = ((size, size, 1), tfar.heads.Categorical(4))
    depth = size - 1  # the corner is so many kernels of 3 columns away
    kernels = {"filters": 8, "num_blocks": depth, "kernel_size": 3, "first_kernel_size": 3}
    shifted = {"filters": 8, "num_resnets": 2, "dropout": 0.0}
    return {
        "PixelCNN": tfar.models.PixelCNN(*event, **kernels),
        "Gated PixelCNN": tfar.models.GatedPixelCNN(*event, **kernels),
        "PixelCNN++": tfar.models.PixelCNNPP(*event, **shifted),
        "PixelSNAIL": tfar.models.PixelSNAIL(*event, num_blocks=1, key_dim=4, value_dim=4, **shifted),
    }


def seen_by_pixel(model: tfar.models.AutoregressiveModel, row: int, column: int, draws: int) -> np.ndarray:
    """Greatest |d parameters(row, column) / d x| over random weights and images, [H, W]; 0 where it is not seen."""
    found = []
    for draw in range(draws):
        randomize_weights(model, seed=draw)
        encoded = model.encode(random_events(model, 1, seed=draw))
        pixel = dependencies(lambda x: model.decode(x)[:, row, column], encoded, 1)
        found.append(pixel.reshape(model.event_shape[:2]))
    return np.max(found, 0)


def reach(num_layers: int, dilations: str, draws: int) -> int:
    """How many values back the last output of a 1-D network sees, by gradient."""
    length = 2**num_layers + 8
    model = tfar.models.CausalConvNet(
        (length,), tfar.heads.Categorical(4), filters=4, num_layers=num_layers, dilations=dilations
    )
    farthest = 0
    for draw in range(draws):
        randomize_weights(model, seed=draw)
        encoded = model.encode(random_events(model, 1, seed=draw))
        seen = dependencies(lambda x: model.decode(x)[:, -1], encoded, 1)[0, 0]
        farthest = max(farthest, length - 1 - int(np.flatnonzero(seen).min()))
    return farthest


def draw(fields: dict[str, np.ndarray], place: tuple[int, int], reaches: dict[str, list[int]], path: str) -> None:
    """Draws the fields of the pixel at `place`, and the reach of the 1-D networks by depth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    row, column = place
    for ax, (name, field) in zip(above.subplots(1, len(fields)), fields.items(), strict=True):
        size = len(field)
        before = np.arange(size * size).reshape(size, size) < row * size + column
        picture = np.ones([size, size, 3])
        picture[~before] = 0.88
        shade = np.log10(np.where(field > 0, field, np.nan) / field.max())  # of the strength of the sight
        shade = 1 + np.clip(shade / 8, -0.85, 0)
        picture[before & (field > 0)] = matplotlib.colormaps["Blues"](0.25 + 0.65 * shade[before & (field > 0)])[:, :3]
        picture[before & (field == 0)] = matplotlib.colors.to_rgb("tab:red")
        picture[row, column] = 0
        ax.imshow(picture)
        ax.set(
            xticks=[], yticks=[], title=f"{name}\nsees {int((field > 0).sum())} of {int(before.sum())} earlier pixels"
        )
    above.supxlabel("black: the pixel; blue: seen (darker: more strongly); red: earlier, but not seen; grey: later")

    ax = below.subplots()
    for (name, values), marker in zip(reaches.items(), "os", strict=True):
        ax.plot(range(1, len(values) + 1), values, f"{marker}-", label=name)
    ax.set(yscale="log", xlabel="layers of 2 taps", ylabel="values seen (by gradient)")
    ax.set_yticks([2**i for i in range(len(next(iter(reaches.values()))) + 1)])
    ax.yaxis.set_major_formatter("{x:.0f}")
    ax.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    ax.grid(alpha=0.3)
    ax.legend()
    figure.savefig(path, dpi=80)
    print(f"wrote {path}")


def main(argv: list[str]) -> None:
    """Differentiates, draws."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    row, column = place = FLAGS.size * 3 // 4, FLAGS.size // 2
    fields = {}
    for name, model in image_models(FLAGS.size).items():
        field = fields[name] = seen_by_pixel(model, row, column, FLAGS.draws)
        seen, before = field.reshape(-1) > 0, row * FLAGS.size + column
        print(f"{name:<15} sees {seen[:before].sum()} of {before} earlier pixels, {seen[before:].sum()} later ones")
    depths = range(1, FLAGS.layers + 1)
    reaches = {
        "masked": [reach(depth, "linear", FLAGS.draws) for depth in depths],
        "dilated 1, 2, 4, ...": [reach(depth, "exponential", FLAGS.draws) for depth in depths],
    }
    for name, values in reaches.items():
        print(f"{name:<20} {' '.join(f'{value:4d}' for value in values)}")
    draw(fields, place, reaches, FLAGS.out)


if __name__ == "__main__":
    app.run(main)
