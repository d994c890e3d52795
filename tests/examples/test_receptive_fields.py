import numpy as np
import pytest

from tfar.testing import blind


def test_a_pixel_sees_all_before_it_but_for_the_blind_spot(example):
    fields = example("receptive_fields")
    models = fields.image_models(8)
    assert set(models) == {"PixelCNN", "Gated PixelCNN", "PixelCNN++", "PixelSNAIL"}
    row, column = 5, 3
    position = row * 8 + column
    for name, model in models.items():
        # What is seen shows in one draw; what is hidden is so in all of them.
        seen = fields.seen_by_pixel(model, row, column, draws=3 if name == "PixelCNN" else 1) > 0
        expected = np.arange(64) < position
        if name == "PixelCNN":
            hidden = [source for target, source in blind.blind_of_pixel_cnn(model) if target == position]
            assert len(hidden) == 6  # of the 4 columns to the right: 3 one row above, 2 two, 1 three rows above
            expected[hidden] = False
        np.testing.assert_array_equal(seen.reshape(-1), expected, err_msg=name)


def test_depth_is_linear_or_exponential(example):
    fields = example("receptive_fields")
    assert [fields.reach(layers, "linear", 2) for layers in (1, 3)] == [2, 4]
    assert [fields.reach(layers, "exponential", 2) for layers in (1, 3)] == [2, 8]


@pytest.mark.large
def test_the_command(example):
    out = example("receptive_fields", "--size=8", "--draws=2", "--layers=3").run()
    assert "PixelSNAIL      sees 52 of 52 earlier pixels, 0 later ones" in out
    assert "dilated 1, 2, 4, ...    2    4    8" in out
