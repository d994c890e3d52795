"""Colour groups: which feature maps belong to R, G and B, and which group sees which inside of one pixel.

mask A   R G B -> R G B          mask B   R G B -> R G B
         R sees -                         R sees R
         G sees R                         G sees R G
         B sees R G                       B sees R G B
"""

from __future__ import annotations

import numpy as np

LAYOUTS = ("interleaved", "contiguous")


def channel_groups(num_channels: int, groups: int, layout: str, halves: int = 1) -> np.ndarray:
    """Returns the group of every channel.

    Args:
        num_channels: number of feature maps; it need not be a multiple of `groups`.
        groups: number of colours.
        layout: "interleaved" (channel % groups) or "contiguous" (equal runs).
        halves: number of equal parts with the same groups each (2 where a gate splits the maps).

    Returns:
        int [num_channels].

    Raises:
        ValueError: unknown layout.

    Example:
        >>> channel_groups(5, 3, "interleaved").tolist(), channel_groups(5, 3, "contiguous").tolist()
        ([0, 1, 2, 0, 1], [0, 0, 1, 1, 2])
    """
    if layout not in LAYOUTS:
        raise ValueError(f"channel_groups must be one of {LAYOUTS}, got {layout!r}")
    part = np.arange(num_channels // halves)
    part = part % groups if layout == "interleaved" else part * groups // max(len(part), 1)
    return np.tile(part, halves)


def centre_mask(in_groups: np.ndarray, out_groups: np.ndarray, mask_type: str) -> np.ndarray:
    """Returns the mask [in, out] of the tap that lies on the current pixel, type "A" or "B"."""
    before = in_groups[:, None] < out_groups[None, :]
    return (before if mask_type == "A" else before | (in_groups[:, None] == out_groups[None, :])).astype(np.float32)
