import re

import numpy as np
import pytest


def test_a_paired_difference_has_an_interval(example):
    autoencoder = example("autoencoder")
    first, second = np.array([3.0, 5.0, 7.0]), np.array([1.0, 2.0, 3.0])
    # Differences 2, 3, 4: mean 3, standard deviation 1, over 3 images.
    assert autoencoder.difference(first, second) == f"{3:+8.2f} +- {1.96 / np.sqrt(3):.2f}"


@pytest.mark.large
def test_the_command(example):
    tiny = ["--steps=50", "--filters=8", "--blocks=0", "--held_out=40"]
    out = example("autoencoder", *tiny).run()
    nats = {name: float(value) for name, value in re.findall(r"(?m)^(no code|m = 10|m = 100) +(\d+\.\d\d)", out)}
    assert set(nats) == {"no code", "m = 10", "m = 100"} and "on 40 test images" in out
    assert all(value < 64 * np.log(17) for value in nats.values())  # better than all values alike
