from benchmarks import positions


def test_examples_stand_at_positions_of_their_own():
    result = positions.measure("char_rnn", 4, 1, tiny=True)
    assert result["positions"] == 4
    assert result["ratio"] == result["own_s"] / result["same_s"] > 0
