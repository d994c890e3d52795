"""The command `tfar`, and the configurations that are found by name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tfar
from pipelines import config_files, program
from pipelines.__main__ import COMMANDS, main
from tests.commands import run

ROOT = Path(__file__).resolve().parents[2]


def test_help_is_fast_and_lists_every_command(tmp_path):
    code = """
import json, sys, time
import pipelines.__main__
pipelines.__main__.main(["--help"])
print(json.dumps([time.process_time(), [name for name in sys.modules if "." not in name]]))
"""
    paths = f"import sys; sys.path.extend({[str(ROOT), *sys.path]!r})\n"  # without .pth files, of other packages
    found = subprocess.run([sys.executable, "-S", "-c", paths + code], cwd=tmp_path, capture_output=True, text=True)
    *lines, measured = found.stdout.splitlines()
    seconds, modules = json.loads(measured)
    assert seconds < 0.5 and not {"tensorflow", "tfar", "numpy", "absl"} & set(modules)
    for name, command in COMMANDS.items():
        assert sum(line.split(maxsplit=1) == [name, command.help] for line in lines) == 1


def test_every_command_has_a_name():
    found = set()
    for path in (*ROOT.glob("pipelines/*.py"), *ROOT.glob("export/**/*.py")):
        if path != ROOT / "pipelines/__main__.py" and '\nif __name__ == "__main__":\n' in path.read_text():
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.add(module.removesuffix(".__main__"))
    assert found == {command.module for command in COMMANDS.values()}


@pytest.mark.parametrize("arguments", [["trian"], ["--workdir=runs/digits"], []])
def test_an_unknown_command_is_one_line(capsys, arguments):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith("error: the command must be one of train, evaluate, ")


@pytest.mark.parametrize(("name", "flags"), [("evaluate", ["--workdir=no where"]), ("export", ["--format=x"])])
def test_a_command_is_that_of_its_module(name, flags):
    """Flags, exit code and messages."""
    code, out, err = run("pipelines", name, *flags)
    assert (code, out, err) == run(COMMANDS[name].module, *flags)
    assert code != 0 and err.startswith("error: ") and flags[0].partition("=")[0] in err


def test_help_of_a_command():
    _, out, _ = run("pipelines", "train", "--help")
    assert "Trains a model" in out and "--workdir" in out and "digits_tiny" in out


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tfar {tfar.__version__}\n"


@pytest.mark.parametrize("name", ["digits_tiny", "digits_tiny.py", "pipelines/configs/digits_tiny.py"])
def test_installed_configurations_have_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert config_files.find(name) == str(ROOT / "pipelines/configs/digits_tiny.py")
    assert config_files.find(f"{name}:argument") == str(ROOT / "pipelines/configs/digits_tiny.py:argument")
    own = tmp_path / name
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("")
    assert config_files.find(name) == name


@pytest.mark.parametrize("name", ["digit", "own/digits_tiny.py", "defaults", "../digits_tiny", ""])
def test_an_unknown_configuration_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no such file, and no installed configuration; those are .*digits_tiny, "):
        config_files.find(name)


INSTALLED = ["/usr/bin/python3", "/usr/bin/tfar", "sample", "-m", "x"]


@pytest.mark.parametrize(
    ("started", "installed"),
    [
        (INSTALLED, True),
        (["python", "-m", "pipelines", "sample"], True),
        (["python", "-W", "error", "-m", "pipelines.sample", "--out=tfar"], False),
        (["python", "-m", "pytest", "-m", "large"], False),
        (["python", "-c", "pass"], False),
    ],
)
def test_messages_say_what_the_user_types(monkeypatch, started, installed):
    monkeypatch.setattr(sys, "orig_argv", started)
    flags = ["--workdir=a b"]
    expected = "tfar train '--workdir=a b'" if installed else "python -m pipelines.train '--workdir=a b'"
    assert program.typed("train", flags) == expected


@pytest.mark.parametrize(
    ("name", "flags", "hint"),
    [
        ("sample", "--workdir=nowhere", "train first: tfar train"),
        ("evaluate", "--workdir=nowhere", "train first: tfar train"),
        ("export", "--workdir=.", "train one: tfar train --workdir=."),
        (
            "client",
            "--server=127.0.0.1:1 --timeout=5",
            "at 127.0.0.1:1; is it running? (tfar serve starts one)",
        ),
    ],
)
def test_hints_of_commands(tmp_path, monkeypatch, name, flags, hint):
    monkeypatch.chdir(tmp_path)
    for started, expected in ((INSTALLED, hint), (["python"], hint.replace("tfar ", "python -m pipelines."))):
        monkeypatch.setattr(sys, "orig_argv", started)
        _, _, stderr = run("pipelines", name, *flags.split())
        assert expected in stderr and stderr.count("\n") == 1
