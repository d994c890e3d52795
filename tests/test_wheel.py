"""The wheel holds the three packages with their data, and nothing else."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tfar", "pipelines", "export")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, because setuptools writes beside the sources; the path has a space in it."""
    copy = tmp_path_factory.mktemp("wheel") / "a copy"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=copy, check=True, capture_output=True)
    (path,) = (copy / "dist").glob("tfar-*-py3-none-any.whl")
    return path


def test_the_wheel_holds_the_packages_and_their_data(wheel):
    expected = set()
    for name in PACKAGES:
        for folder, folders, files in os.walk(ROOT / name):
            folders[:] = [entry for entry in folders if entry != "__pycache__"]
            expected |= {(Path(folder) / file).relative_to(ROOT).as_posix() for file in files}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected
    assert {"export/server/page/index.html", "export/deploy/compose.yaml", "pipelines/configs/digits.py"} <= found
    assert wheel.stat().st_size < 2 * 2**20


def test_the_wheel_has_one_command_and_extras(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        assert archive.read(names["entry_points.txt"]).decode().split() == [
            "[console_scripts]", "tfar", "=", "pipelines.__main__:main",
        ]  # fmt: skip
        metadata = archive.read(names["METADATA"]).decode()
    for extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]:
        assert f"Provides-Extra: {extra}\n" in metadata
