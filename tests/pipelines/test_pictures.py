import xml.etree.ElementTree

import numpy as np
import pytest

from pipelines import pictures


def test_levels_span_black_to_white():
    x = np.array([0, 8, 16]).reshape(1, 1, 3, 1)
    assert pictures.to_images(x, 17).ravel().tolist() == [0, 128, 255]
    assert pictures.to_images(np.array([[-1.0, 0.0, 1.0]]), None).shape == (1, 1, 3, 1)  # a vector is a row
    assert pictures.to_images(np.zeros([2, 4, 4, 5]), 2).shape == (2, 4, 4, 1)


def test_a_grid_enlarges_pixels_to_squares():
    images = np.zeros([5, 8, 8, 1], np.uint8)
    images[3, 0, 0] = 255
    array = np.asarray(pictures.grid(images, columns=3, side=32))
    white = np.argwhere(array == 255)
    margin = (array.shape[1] - 3 * 32) // 4
    assert len(white) == 16 and array.shape == (2 * 32 + 3 * margin, 3 * 32 + 4 * margin)
    assert white.min(0).tolist() == [32 + 2 * margin, margin]  # second row, first column


@pytest.mark.parametrize("shape", [(1, 28, 28, 3), (7, 1, 30, 1), (3, 200, 200, 1)])
def test_grids_of_any_shape(shape):
    image = pictures.grid(np.zeros(shape, np.uint8))
    assert image.size[0] >= shape[2] and image.size[1] >= shape[1]


def test_heat_goes_from_dark_to_bright():
    colours = pictures.heat(np.array([[[0.0, 1.0, 2.0, 9.0]]]), 0.0, 2.0)
    brightness = colours.astype(int).sum(-1).ravel()
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]


def test_curves_are_svg_in_the_colours_of_the_page():
    svg = pictures.curves([("train", [1, 2, 3], [3.0, 2.0, 1.0]), ("valid", [1, 3], [3.0, 2.5])], "bits/dim")
    root = xml.etree.ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and "var(--first)" in svg and "var(--second)" in svg and "#0102" not in svg
