"""Colour groups and the mask of the current pixel."""

import numpy as np
import pytest

from tfar.layers.groups import centre_mask, channel_groups


@pytest.mark.parametrize(
    ("count", "layout", "halves", "expected"),
    [
        (3, "interleaved", 1, [0, 1, 2]),
        (7, "interleaved", 1, [0, 1, 2, 0, 1, 2, 0]),
        (7, "contiguous", 1, [0, 0, 0, 1, 1, 2, 2]),
        (6, "contiguous", 1, [0, 0, 1, 1, 2, 2]),
        (8, "interleaved", 2, [0, 1, 2, 0, 0, 1, 2, 0]),
        (8, "contiguous", 2, [0, 0, 1, 2, 0, 0, 1, 2]),
        (2, "interleaved", 1, [0, 1]),
    ],
)
def test_groups(count, layout, halves, expected):
    assert channel_groups(count, 3, layout, halves).tolist() == expected


def test_masks_of_the_paper():
    """A: G sees R, B sees R and G, nothing sees itself; B adds the own colour."""
    colours = np.arange(3)
    assert centre_mask(colours, colours, "A").tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert centre_mask(colours, colours, "B").tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]


def test_one_group_sees_all_or_nothing():
    one = channel_groups(4, 1, "contiguous")
    assert not centre_mask(one, one, "A").any()
    assert centre_mask(one, one, "B").all()


def test_refuses_an_unknown_layout():
    with pytest.raises(ValueError, match="channel_groups must be one of .'interleaved', 'contiguous'., got 'rgb'"):
        channel_groups(3, 3, "rgb")
