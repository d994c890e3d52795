import pytest


@pytest.mark.large
def test_the_command(example):
    out = example("parallel_sampling", "--steps=2", "--num=6").run()
    assert "whole image:" in out and "row by row:" in out
    assert out.count("0 values differ from the incremental sample") == 2
