"""What an extra of the installation brings is not needed elsewhere, and where it is missing one line says so."""

import sys

import pytest

from pipelines import pictures, report
from tests.commands import run
from tfar.core import extras
from tfar.core.units import DIM


@pytest.fixture
def without(monkeypatch):
    """Makes a package look as if it were not installed."""

    def block(package):
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return block


def test_a_report_says_what_its_curves_need(without, capsys):
    without("matplotlib")
    assert pictures.heat(pictures.np.zeros([1, 2, 2]), 0.0, 1.0).shape == (1, 2, 2, 3)
    section = report._curves([{"step": 1, DIM.key("train"): 2.0}], DIM, float)
    message = "A picture of curves needs matplotlib; install it: pip install &#x27;tfar[reports]&#x27;"
    assert section.startswith(f'<p class="quiet">{message}')
    assert capsys.readouterr().err.count("\n") == 1


def test_training_goes_on_without_tensorboard(without, capsys, tmp_path):
    from tfar.training.event_files import EventFiles

    without("tensorboard")
    files = EventFiles(tmp_path / "tensorboard")
    files.write(1, {"loss": 1.0})
    files.write_image(1, "samples", [[[[0]]]])
    files.close()
    assert not list(tmp_path.iterdir())
    message = f"{tmp_path}/tensorboard is not written: TensorBoard is missing: pip install 'tfar[reports]'\n"
    assert capsys.readouterr().err == message


def test_a_data_set_of_tfds_says_what_it_needs(without, tmp_path):
    without("tensorflow_datasets")
    code, _, err = run(
        "pipelines.train", "--config=digits_tiny", "--config.data.name=mnist", f"--workdir={tmp_path}/run"
    )
    message = "error: Data 'mnist' needs tensorflow_datasets; install it: pip install 'tfar[tfds]'"
    assert code == 1 and err.splitlines()[1:] == [message]


@pytest.mark.parametrize(
    "package, name", [("tensorflow_serving", "tensorflow-serving-api"), ("grpc_health", "grpcio-health-checking")]
)
def test_a_server_says_what_it_needs(without, tmp_path, package, name):
    without(package)
    code, _, err = run("pipelines.serve", "--model_name=x", f"--model_base_path={tmp_path}", "--port=8500")
    assert code != 0
    assert err == f"error: serving needs {name}; install it: pip install 'tfar[serving]'\n"


def test_a_check_of_litert_says_what_it_needs(without):
    from export.litert.model import LiteRTModel
    from export.writer.errors import ExportError

    without("ai_edge_litert")
    with pytest.raises(ExportError, match=r"needs ai_edge_litert; install it: pip install 'tfar\[litert\]'"):
        LiteRTModel(b"")


def test_an_error_inside_of_a_package_is_no_missing_extra(monkeypatch, tmp_path):
    (tmp_path / "package_with_a_fault.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        extras.load("package_with_a_fault", "tfds", "It")
    assert not isinstance(caught.value, extras.MissingExtra)
