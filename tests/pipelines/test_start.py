import os

import pytest

from pipelines import start


@pytest.mark.parametrize(("driver", "level"), [(True, "2"), (False, "3")])
def test_errors_are_shown_where_there_may_be_a_gpu(monkeypatch, tmp_path, driver, level):
    monkeypatch.setattr(start, "_DRIVER", str(tmp_path if driver else tmp_path / "none"))
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    start.set_log_level()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == level


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    start.set_log_level()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_what_a_module_writes_while_it_is_loaded_is_dropped(capfd):
    assert start.quietly(lambda: os.write(2, b"I0000 remark")) == 12
    assert capfd.readouterr().err == ""


def test_it_is_shown_where_loading_fails(capfd):
    def load():
        os.write(2, b"F0000 reason")
        raise ImportError("no library")

    with pytest.raises(ImportError, match="no library"):
        start.quietly(load)
    assert capfd.readouterr().err == "F0000 reason"
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"
