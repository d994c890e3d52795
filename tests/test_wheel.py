"""The wheel holds the three packages with their data, and nothing else."""

import os
import shutil
import subprocess
import sys
import sysconfig
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


EXTRAS = ("ai_edge_litert", "grpc_health", "matplotlib", "tensorboard", "tensorflow_datasets", "tensorflow_serving")


@pytest.mark.large  # 67 processor seconds: an environment, and three times TensorFlow
def test_tfar_trains_samples_and_exports_without_extras(wheel, tmp_path):
    """In an environment of its own, which borrows what tfar depends on from this one, and in an empty folder."""
    environment, folder = tmp_path / "an environment", tmp_path / "an empty folder"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    install = [environment / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    (packages / "sitecustomize.py").write_text(f"import sys; sys.modules.update(dict.fromkeys({EXTRAS}))\n")
    folder.mkdir()

    def tfar(*arguments):
        command = [environment / "bin/tfar", *arguments]
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        return found.returncode, found.stdout, found.stderr

    run = folder / "runs/digits"
    code, out, err = tfar("train", "--config=digits_tiny", "--config.train.steps=10", "--workdir=runs/digits")
    assert code == 0 and "report:  runs/digits/report.html\n" in out, err
    assert {"model.keras", "report.html", "samples.png"} <= {path.name for path in run.iterdir()}
    assert not (run / "tensorboard").exists() and "tfar[reports]" in (run / "report.html").read_text()
    code, out, err = tfar("sample", "--workdir=runs/digits", "--num=2", "--out=two.png")
    assert (code, out) == (0, "2 samples: two.png\n"), err
    code, _, err = tfar("export", "--workdir=runs/digits", "--no-sessions")
    assert code == 0 and (run / "export/1/saved_model.pb").exists(), err
    code, _, err = tfar("serve", "--model_name=digits", f"--model_base_path={run}/export", "--port=8500")
    assert code != 0 and err.endswith("install it: pip install 'tfar[serving]'\n")
