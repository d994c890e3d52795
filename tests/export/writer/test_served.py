import pytest

import tfar
from export.client import Client
from export.writer.served import verify


def test_server_is_verified_against_python(served, bank, tmp_path):
    with Client(served.target, "pictures") as pictures:
        line = verify(pictures, str(bank.file("pictures")))
        assert line.startswith("pictures version 1 agrees with") and "12 events equal (0 ties" in line
        other = tfar.models.load(str(bank.file("pictures")))
        tfar.testing.randomize_weights(other, seed=5)
        other.save(tmp_path / "other.keras")
        with pytest.raises(ValueError, match="differs from Python"):
            verify(pictures, str(tmp_path / "other.keras"))
