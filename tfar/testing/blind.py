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

    Who sees whom is a boolean matrix per layer; layers multiply.

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
    """The blind spot of a `PixelCNN`, from its kernel sizes."""
    kernel_sizes = [model.kernel_size] * model.num_blocks + [1, 1, 1]
    height, width = model.event.grid
    return blind_of_masked_convolutions(height, width, model.event.groups, model.first_kernel_size, kernel_sizes)


def blind_of_causal_conv_net(model: Any, length: int | None = None) -> Pairs:
    """What a `CausalConvNet` does not see: all that is farther back than its receptive field, or between its taps.

    Args:
        model: the model.
        length: length of the events of a model of any length.
    """
    length = length or model.event.num_cells
    taps = [[m * rate for m in range(model.kernel_size)] for rate in model.dilation_rates]
    distances = {1 + sum(steps) for steps in itertools.product(*taps)}
    return {(t, s) for t in range(length) for s in range(t) if t - s not in distances}


def blind_of_wavenet(model: Any, length: int | None = None) -> Pairs:
    """What a `WaveNet` does not see: all that is farther back than its receptive field, or between its taps.

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
