"""Blind spots that papers admit, derived from sizes alone: where a stack of kernels can and cannot reach.

Nothing here looks at weights, masks or code of a network; the sets are compared with its Jacobian.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

Pairs = set[tuple[int, int]]


def blind_of_masked_convolutions(
    height: int, width: int, groups: int, first_kernel_size: int, kernel_sizes: list[int]
) -> Pairs:
    """Pairs (target, source) out of sight of one mask A convolution followed by mask B convolutions.

    A boolean matrix per layer says which target sees which source; layers multiply.

    Args:
        height: rows of the image.
        width: columns of the image.
        groups: colours that the network orders.
        first_kernel_size: k of the mask A convolution.
        kernel_sizes: k of every mask B convolution behind it.

    Returns:
        Flat positions (target, source), source drawn before target.

    Example:
        >>> sorted(blind_of_masked_convolutions(2, 3, 1, 3, []))
        [(2, 0), (3, 2), (5, 0), (5, 3)]
    """
    cells = [(i, j, g) for i in range(height) for j in range(width) for g in range(groups)]

    def reach(kernel_size: int, includes_self: bool) -> np.ndarray:
        half = kernel_size // 2
        return np.array(
            [
                [
                    abs(p - i) <= half
                    and abs(q - j) <= half
                    and ((p, q) < (i, j) or ((p, q) == (i, j) and (c < g or (includes_self and c == g))))
                    for p, q, c in cells
                ]
                for i, j, g in cells
            ]
        )

    seen = reach(first_kernel_size, False)
    for kernel_size in kernel_sizes:
        seen = (reach(kernel_size, True).astype(int) @ seen) > 0
    before = np.tri(len(cells), k=-1, dtype=bool)
    return {(int(t), int(s)) for t, s in np.argwhere(before & ~seen)}


def blind_of_pixel_cnn(model: Any) -> Pairs:
    """Returns the blind spot of a `PixelCNN`, from its kernel sizes."""
    kernel_sizes = [model.kernel_size] * model.num_blocks + [1, 1, 1]
    height, width = model.event.grid
    return blind_of_masked_convolutions(height, width, model.event.groups, model.first_kernel_size, kernel_sizes)


def blind_of_row_lstm(model: Any) -> Pairs:
    """Returns the pairs that a `PixelRNN` of Row LSTMs does not see: all sources outside of a triangle.

    A state-to-state kernel of 3 taps climbs one row and moves one column at a time, between any two colours; within
    a row the LSTM sees the taps of its input-to-state kernel.

    Args:
        model: the model.
    """
    (height, width), groups = model.event.grid, model.event.groups
    cells = [(i, j, g) for i in range(height) for j in range(width) for g in range(groups)]
    side, left = 1, model.kernel_size // 2

    def climbs(p: int, q: int, i: int, j: int) -> bool:
        # Up to a pixel (p, q + m) of its row, and from there m <= left taps to the left.
        return p < i and any(abs(q + m - j) <= side * (i - p) for m in range(min(left, width - 1 - q) + 1))

    reach = np.array(
        [
            [climbs(p, q, i, j) or (p == i and 0 < j - q <= left) or ((p, q) == (i, j) and d <= c) for p, q, d in cells]
            for i, j, c in cells
        ]
    )
    # The first layer's reach, as what is before and not blind to it.
    blind = blind_of_masked_convolutions(height, width, groups, model.first_kernel_size, [])
    before = np.tri(len(cells), k=-1, dtype=bool)
    seen = before.copy()
    for target, source in blind:
        seen[target, source] = False
    for _ in range(model.num_layers):
        seen = (reach.astype(int) @ seen) > 0
    return {(int(t), int(s)) for t, s in np.argwhere(before & ~seen)}


def blind_of_causal_conv_net(model: Any, length: int | None = None) -> Pairs:
    """Returns the pairs that a `CausalConvNet` does not see: beyond its receptive field, or between its taps.

    Args:
        model: the model.
        length: length of the events of a model of any length.
    """
    length = length or model.event.num_cells
    taps = [[m * rate for m in range(model.kernel_size)] for rate in model.dilation_rates]
    distances = {1 + sum(steps) for steps in itertools.product(*taps)}
    return {(t, s) for t in range(length) for s in range(t) if t - s not in distances}


def blind_of_wavenet(model: Any, length: int | None = None) -> Pairs:
    """Returns the pairs that a `WaveNet` does not see: beyond its receptive field, or between its taps.

    The blocks see nothing in front of the first element, but every block passes its input on, so all sums of taps of
    some of the blocks are in sight.

    Args:
        model: the model.
        length: length of the events of a model of any length.
    """
    length = length or model.event.num_cells
    first = [list(range(model.first_kernel_size or model.kernel_size))]
    taps = first + [[m * rate for m in range(model.kernel_size)] for rate in model.dilation_rates]
    distances = {1 + sum(steps) for steps in itertools.product(*taps)}
    return {(t, s) for t in range(length) for s in range(t) if t - s not in distances}


def blind_of_locally_masked_pixel_cnn(model: Any) -> Pairs:
    """Returns the pairs that a `LocallyMaskedPixelCNN` of one order does not see: no chain of kernels connects them.

    Every tap of a chain lies on a pixel that is drawn no later than the one before.
    """
    height, width = model.event_shape[:2]
    ranks, half = model.ordering.ranks.reshape(height, width), model.kernel_size // 2
    cells = list(itertools.product(range(height), range(width)))

    def reach(rate: int, includes_self: bool) -> np.ndarray:
        taps = [rate * offset for offset in range(-half, half + 1)]
        return np.array(
            [
                [p - i in taps and q - j in taps and ranks[p, q] < ranks[i, j] + int(includes_self) for p, q in cells]
                for i, j in cells
            ]
        )

    # Up and down: two kernels in each residual block, a dilated one between the stages.
    resnets, between = (2 * model.num_stages) * model.num_resnets, 2 * (model.num_stages - 1)
    seen = reach(1, False)
    for rate in [1] * (2 * (resnets + model.num_stages - 1)) + [model.dilation_rate] * between:
        seen = (reach(rate, True).astype(int) @ seen) > 0
    drawn = ranks.reshape(-1)
    return {(int(t), int(s)) for t, s in np.argwhere((drawn[None] < drawn[:, None]) & ~seen)}


def blind_of_image_transformer(model: Any) -> Pairs:
    """Returns the pairs that an `ImageTransformer` does not see: no chain of local attentions connects them.

    A token carries the value drawn before it. Every layer adds what the tokens in sight have seen.

    Args:
        model: the model.
    """
    config, (height, width) = model.get_config(), model.event_shape[:2]
    cells = model.event.num_cells
    colours = cells // (height * width)
    if config["attention"] == "local_2d":
        (h, w), flange = config["block_shape"], config["memory_flange"] or config["block_shape"]
        pixels = [(i // h, j // w, i, j) for i in range(height) for j in range(width)]
        drawn = [(i, j) for *_, i, j in sorted(pixels) for _ in range(colours)]

        def near(t: int, s: int) -> bool:
            (i, j), (p, q) = drawn[t], drawn[s]
            top, left = i // h * h, j // w * w
            return top - flange[0] <= p < top + h and left - flange[1] <= q < left + w + flange[1]
    else:
        drawn = [(i, j) for i in range(height) for j in range(width) for _ in range(colours)]
        size = config["block_size"] if config["attention"] == "local_1d" else cells

        def near(t: int, s: int) -> bool:
            return t // size - s // size <= 1

    sees = np.array([[s <= t and near(t, s) for s in range(cells)] for t in range(cells)], int)
    reach = np.linalg.matrix_power(sees, config["num_layers"]) > 0
    # Cell of every rank: the colours of a pixel follow each other.
    cell = [(i * width + j) * colours + rank % colours for rank, (i, j) in enumerate(drawn)]
    return {(cell[t], cell[s]) for t in range(cells) for s in range(t) if not reach[t, s + 1]}


def blind_of_pooled_snail(model: Any) -> Pairs:
    """Returns the pairs that a `PixelSNAIL` with pooled attention does not see: recent pixels beyond its convolutions.

    A square is attended to once all of its pixels are past.
    """
    height, width = model.event_shape[:2]
    cells = list(itertools.product(range(height), range(width)))

    def reach(offsets: set[tuple[int, int]]) -> np.ndarray:
        return np.array([[(i - p, j - q) in offsets for p, q in cells] for i, j in cells])

    kernel = reach({(0, 0), (0, 1), (1, 0), (1, 1)})
    s = model.attention_downsample
    last = [(p // s * s + s - 1) * width + q // s * s + s - 1 for p, q in cells]
    attended = np.array([[last[source] < target for source in range(len(cells))] for target in range(len(cells))])
    seen = reach({(1, -1), (1, 0), (1, 1), (0, 1)})
    for _ in range(model.num_blocks):
        for _ in range(2 * model.num_resnets):
            seen = (kernel.astype(int) @ seen) > 0
        content = seen | np.eye(len(cells), dtype=bool)
        seen = seen | ((attended.astype(int) @ content) > 0)
    return {(t, s) for t in range(len(cells)) for s in range(t) if not seen[t, s]}


def blind_of_multiscale_pixel_cnn(model: Any) -> Pairs:
    """Returns the pairs of positions of all parts of a `MultiscalePixelCNN` that do not see each other.

    Pixels of a group are independent of each other, or those of different patches are; a later colour sees the earlier
    ones of its own pixel.
    """
    found, first = set(), 0
    for part in model.parts:
        (height, width), groups = part.model.event.grid, part.model.event.groups
        size = model.patch_size or 1
        sites = [
            (rank * groups + colour, (i // size, j // size))
            for (i, j), rank in zip(
                itertools.product(range(height), range(width)), part.model.ordering.ranks.reshape(-1), strict=True
            )
            for colour in range(groups)
        ]
        if part.link is not None:
            found |= {
                (first + t, first + s)
                for t, (rank, patch) in enumerate(sites)
                for s, (other, elsewhere) in enumerate(sites)
                if other < rank and elsewhere != patch
            }
        first += len(sites) if part.model.head.event_ndims == 0 else height * width
    return found


def blind_of_pyramid_pixel_cnn(model: Any) -> Pairs:
    """Returns the pairs of positions of all parts of a `PyramidPixelCNN` that do not see each other.

    An image is told of the next coarser one alone.
    """
    part = np.repeat(np.arange(len(model.parts)), [each.model.event.num_positions for each in model.parts])
    return {(int(t), int(s)) for t, s in np.argwhere(part[:, None] > part + 1)}
