"""The folder of compiled samplers: where it lies, what it may hold, and what happens where it cannot be used."""

import os
import pathlib
import shutil
import time

import pytest

from pipelines import disk_cache


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TFAR_CACHE_DIR", "off")
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug=false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


def test_the_default_lies_in_the_user_s_cache_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("TFAR_CACHE_DIR")
    folder = disk_cache.use()
    assert folder == tmp_path / "user" / "tfar" and os.environ["TFAR_CACHE_DIR"] == str(folder)
    before, ours = os.environ["TF_XLA_FLAGS"].split()
    assert before == "--tf_xla_clustering_debug=false"
    assert pathlib.Path(ours.removeprefix("--tf_xla_persistent_cache_directory=")).is_dir()


def test_variable_and_argument_name_another_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TFAR_CACHE_DIR", str(tmp_path / "mine"))
    assert disk_cache.use() == tmp_path / "mine"
    assert disk_cache.use(str(tmp_path / "other")) == tmp_path / "other"


@pytest.mark.parametrize("off", ["off", ""])
def test_off_keeps_nothing(off, tmp_path):
    assert disk_cache.use(off) is None
    assert os.environ["TFAR_CACHE_DIR"] == "off" and "persistent" not in os.environ["TF_XLA_FLAGS"]
    assert not list(tmp_path.iterdir())


def test_a_user_s_own_folder_of_xla_is_left(monkeypatch, tmp_path):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=/mine")
    disk_cache.use(str(tmp_path))
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_persistent_cache_directory=/mine"


def test_a_folder_that_cannot_be_used_is_said_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert disk_cache.use(str(tmp_path / "file" / "cache")) is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(tmp_path / "file" / "cache") in said and "--cache_dir" in said
    assert os.environ["TFAR_CACHE_DIR"] == "off"


def test_a_full_disk_is_said_in_one_line(monkeypatch, tmp_path, capsys):
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 2**20, 2**20))
    assert disk_cache.use(str(tmp_path)) is None
    assert "1 MiB are free, 512 are needed" in capsys.readouterr().err
    assert "persistent" not in os.environ["TF_XLA_FLAGS"]


def test_the_oldest_files_and_unused_folders_go(tmp_path):
    disk_cache.use(str(tmp_path))
    (current,) = (tmp_path / "xla").iterdir()
    for index in range(4):
        path = current / f"program{index}"
        path.write_bytes(b"x" * 100)
        os.utime(path, (index, index))
    stale = tmp_path / "xla" / "2.20.0-other"
    stale.mkdir()
    (stale / "used").touch()
    os.utime(stale / "used", (time.time() - 40 * 86400,) * 2)
    disk_cache.prune(tmp_path, most_bytes=250)
    assert not stale.exists()
    assert sorted(path.name for path in current.iterdir()) == ["program2", "program3", "used"]


def test_other_processors_have_folders_of_their_own(monkeypatch, tmp_path):
    disk_cache.use(str(tmp_path))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    disk_cache.use(str(tmp_path))
    assert len(list((tmp_path / "xla").iterdir())) == 2
