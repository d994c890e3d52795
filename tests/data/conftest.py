"""Fixtures of the data tests."""

import os
import pathlib

import numpy as np
import pytest


@pytest.fixture
def shared_data() -> pathlib.Path:
    """The folder with real data: TFAR_SHARED_DATA, else ../shared/data beside the repository."""
    default = pathlib.Path(__file__).parents[2].parent / "shared" / "data"
    folder = pathlib.Path(os.environ.get("TFAR_SHARED_DATA") or default)
    if not folder.is_dir():
        pytest.skip("no shared data: set TFAR_SHARED_DATA to the folder that holds tfds/")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """Random values for test data."""
    return np.random.default_rng(0)


@pytest.fixture
def one_line_error():
    """Expects an error of one line that matches a pattern."""

    def expect(error: type[Exception], pattern: str, function, *args, **kwargs):
        with pytest.raises(error, match=pattern) as caught:
            function(*args, **kwargs)
        assert "\n" not in str(caught.value)

    return expect
