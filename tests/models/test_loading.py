import json
import zipfile

import keras
import pytest

import tfar
from tfar.models import load


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    tfar.models.ToyHistogram((2,), tfar.heads.Categorical(3)).save(path)
    return path.read_bytes()


def refused(path, error, pattern):
    with pytest.raises(error, match=pattern) as found:
        load(path)
    assert "\n" not in str(found.value) and str(path) in str(found.value)


def test_a_file_and_a_work_directory(saved, tmp_path):
    (tmp_path / "model.keras").write_bytes(saved)
    for path in (tmp_path, str(tmp_path), tmp_path / "model.keras"):
        assert load(path).event_shape == (2,)


def test_what_is_missing(tmp_path):
    refused(tmp_path, FileNotFoundError, "holds no model.keras, which a run of pipelines.train writes when it ends")
    refused(tmp_path / "m.keras", FileNotFoundError, "path must be a .keras file or a work directory, there is no")
    (tmp_path / "m.h5").touch()
    refused(tmp_path / "m.h5", ValueError, "path must be a .keras file or a work directory, got")


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.99])
def test_a_truncated_file_is_called_damaged(saved, tmp_path, keep):
    path = tmp_path / "model.keras"
    path.write_bytes(saved[: keep if isinstance(keep, int) else int(keep * len(saved))])
    refused(path, ValueError, "is damaged, or no .keras file: ")


def test_a_flipped_byte_is_called_damaged(saved, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(saved)
    with zipfile.ZipFile(path) as archive:
        weights = archive.getinfo("model.weights.h5")
    data = bytearray(saved)
    data[weights.header_offset + weights.compress_size // 2] ^= 255
    path.write_bytes(data)
    refused(path, ValueError, "is damaged: ")


def test_another_model_of_keras(tmp_path):
    path = tmp_path / "other.keras"
    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(path)
    refused(path, ValueError, "must hold a model of tfar, got Sequential")


def with_class(saved, path, **changes):
    """The file with another class in its description."""
    with zipfile.ZipFile(path.parent / "whole.keras", "w") as out:
        (path.parent / "old.keras").write_bytes(saved)
        with zipfile.ZipFile(path.parent / "old.keras") as archive:
            for name in archive.namelist():
                content = archive.read(name)
                if name == "config.json":
                    content = json.dumps(json.loads(content) | changes).encode()
                out.writestr(name, content)
    (path.parent / "whole.keras").rename(path)


def test_a_class_that_nobody_has_imported(saved, tmp_path):
    path = tmp_path / "model.keras"
    with_class(saved, path, module="own.models", class_name="Mine", registered_name="own>Mine")
    refused(path, ValueError, "holds a Mine; import own.models before, which defines it")


def test_the_modules_of_a_run_are_imported(saved, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    with_class(saved, path, module="mine_of_a_test", class_name="Mine", registered_name="own_of_a_test>Mine")
    resolved = {"model": {"name": "mine_of_a_test:Mine"}, "head": {"name": "Categorical"}, "condition": None}
    (tmp_path / "config.json").write_text(json.dumps({"resolved": resolved}))
    refused(tmp_path, ValueError, "names mine_of_a_test:Mine, which cannot be imported: No module")
    (tmp_path / "mine_of_a_test.py").write_text(
        "import keras, tfar\n"
        "@keras.saving.register_keras_serializable('own_of_a_test')\n"
        "class Mine(tfar.models.ToyHistogram):\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert type(load(tmp_path)).__name__ == "Mine"
