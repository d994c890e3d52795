"""Tiny models, exported; two of them served by the local server."""

import contextlib
import os
from pathlib import Path

import pytest

from export.server.options import Options
from export.server.server import Server

_FOLDER = Path(__file__).parent
MONITORING = _FOLDER.parents[1] / "export" / "deploy" / "config" / "monitoring.config"


class Served:
    """A server of its own for exported models.

    Attributes:
        models: the models in Python, by name.
        folder: of the bank, holds NAME/1.
        server: it runs.
        target: "host:port" of gRPC.
    """

    def __init__(self, models, folder, server):
        self.models, self.folder, self.server = models, folder, server
        self.target = f"127.0.0.1:{server.port}"
        self.page = f"http://127.0.0.1:{server.rest_port}/demo/"


@contextlib.contextmanager
def serving(folder, names, **options):
    """A server of these models, its page included."""
    # The folder is common to the test processes: one would read what another is about to write.
    config = folder / f"{'-'.join(names)}-{os.getpid()}.config"
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow" }}' for name in names
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    settings = {"port": 0, "rest_api_port": 0, "demo": True, "file_system_poll_wait_seconds": 0.05, **options}
    with Server(Options(model_config_file=str(config), **settings)) as server:
        yield server


@pytest.fixture(scope="session")
def served(bank):
    """Pictures of 4x4 pixels with 3 levels and 3 labels, and texts of any length; metrics as in export/deploy."""
    models = {name: bank.model(name) for name in ("pictures", "texts")}
    for name in models:
        bank.versions(name)
    options = {"monitoring_config_file": str(MONITORING), "enable_grpc_healthcheck_service": True}
    with serving(bank.folder, list(models), **options) as server:
        yield Served(models, bank.folder, server)


@pytest.fixture(scope="session")
def serve():
    return serving


def in_session(name):
    """A fixture: an export of the bank in a v1 session."""

    @pytest.fixture(scope="session", name=name)
    def fixture(bank):
        from tests.export.tiny import Export

        export = Export(bank, name)
        yield export
        export.servable.session.close()

    return fixture


image, text, ensemble = (in_session(name) for name in ("image", "text", "ensemble"))
