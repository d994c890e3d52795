"""What the pages for users name exists: modules, attributes, commands and files."""

import functools
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

DOTTED = re.compile(r"(?<![\w/.\-])tfar(?:\.[A-Za-z_]\w*)+")
IMPORT = re.compile(r"from (tfar[\w.]*) import \(?([\w, ]+)")
COMMAND = re.compile(r"python3? -m ([\w.]+)")
INSTALLED = re.compile(r"(?:^ {4}|`)tfar ([a-z]\w*)", re.MULTILINE)
FILE = re.compile(r"(?<![\w/.\-])(?:tfar|export|pipelines|benchmarks|examples|tests|docs)/[\w./]*\w\.\w+")


def resolve(name: str) -> object:
    """The object of a dotted name, by attributes alone, as one who has only said `import tfar` sees it."""
    first, *rest = name.split(".")
    return functools.reduce(getattr, rest, importlib.import_module(first))


def names(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    imported = (f"{module}.{name.strip()}" for module, found in IMPORT.findall(text) for name in found.split(","))
    return {*DOTTED.findall(text), *imported}


def test_something_is_looked_at():
    found = set().union(*map(names, PAGES))
    assert {"tfar.models.from_preset", "tfar.sampling.beam_search", "tfar.convert"} <= found
    assert any(FILE.search(page.read_text(encoding="utf-8")) for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_dotted_names_exist(page):
    missing = []
    for name in sorted(names(page)):
        try:
            resolve(name)
        except AttributeError as error:
            missing.append(f"{name}: {error}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    for name in sorted(set(COMMAND.findall(page.read_text(encoding="utf-8")))):
        spec = importlib.util.find_spec(name)
        assert spec is not None, f"python -m {name}"
        if spec.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{name}.__main__") is not None, f"python -m {name}: a package without one"
    assert set(INSTALLED.findall(page.read_text(encoding="utf-8"))) <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_exist(page):
    found = sorted(set(FILE.findall(page.read_text(encoding="utf-8"))))
    assert not [name for name in found if not (ROOT / name).exists()]


def test_converters_need_no_import_of_their_own(monkeypatch):
    import tfar

    monkeypatch.delattr(tfar, "convert", raising=False)  # another test may have imported it
    assert callable(tfar.convert.from_pixel_snail)


def test_every_locked_package_has_hashes():
    packages = re.split(r"^(?=[a-z])", (ROOT / "requirements.lock").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(packages) > 50
    for package in packages:
        assert re.fullmatch(r"[\w.\-\[\]]+==\S+( ; .*)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n", package), package


def test_every_public_name_is_there():
    import tfar

    for name in tfar.__all__:
        module = getattr(tfar, name)
        for inner in getattr(module, "__all__", ()):
            assert hasattr(module, inner), f"tfar.{name}.{inner}"
    assert set(tfar.__all__) <= set(dir(tfar))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tfar.nothing
