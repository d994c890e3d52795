"""Tiny models, exported; two of them served by the local server."""

import contextlib
from pathlib import Path

import pytest

from export.serving.options import Options
from export.serving.server import Server

# What uses the same exports or the same server runs in one worker of pytest-xdist (with --dist=loadgroup): making one
# takes ten seconds.
_GROUPS = {
    "served": ("test_client.py", "test_demo.py", "test_deploy.py"),
    "stepped": ("test_sessions.py", "test_states.py"),
}
_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Gives the tests of this folder their groups."""
    groups = {name: group for group, names in _GROUPS.items() for name in names}
    for item in items:
        if _FOLDER in item.path.parents:
            server = "server" if item.path.parent.name == "serving" else item.path.stem
            item.add_marker(pytest.mark.xdist_group(groups.get(item.path.name, server)))


class Served:
    """A server of its own for exported models.

    Attributes:
        models: the models in Python, by name.
        folder: holds NAME/1 and NAME.keras.
        server: it runs.
        target: "host:port" of gRPC.
    """

    def __init__(self, models, folder, server):
        self.models, self.folder, self.server = models, folder, server
        self.target = f"127.0.0.1:{server.port}"
        self.page = f"http://127.0.0.1:{server.rest_port}/demo/"


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Pictures of 4x4 pixels with 3 levels and 3 labels, and texts of any length: the models, and where they are."""
    import tfar
    from export import saved_model

    head, folder = tfar.heads.Categorical, tmp_path_factory.mktemp("exported")
    models = {
        "pictures": tfar.models.MADE((4, 4, 1), head(3), hidden=(8,), condition=tfar.conditions.Label(3)),
        "texts": tfar.models.CharRNN((None,), head(4), vocabulary="abc ", units=4, num_layers=1),
    }
    for name, model in models.items():
        tfar.testing.randomize_weights(model)
        saved_model.export(model, folder / name, name=name)
        model.save(folder / f"{name}.keras")
    return models, folder


@contextlib.contextmanager
def serving(folder, names, **options):
    """A server of these models, its page included."""
    config = folder / f"{'-'.join(names)}.config"
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow" }}' for name in names
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    settings = {"port": 0, "rest_api_port": 0, "demo": True, "file_system_poll_wait_seconds": 0.05, **options}
    with Server(Options(model_config_file=str(config), **settings)) as server:
        yield server


@pytest.fixture(scope="session")
def served(exported):
    models, folder = exported
    with serving(folder, list(models)) as server:
        yield Served(models, folder, server)


@pytest.fixture(scope="session")
def serve():
    return serving


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """A sequence model whose state is small; sessions are few and live long."""
    import tfar
    from tests.export.tiny import Export

    model = tfar.models.CharRNN((40,), tfar.heads.Categorical(5), units=6, num_layers=1)
    export = Export(model, tmp_path_factory.mktemp("text"), slots=8, ttl=60.0)
    yield export
    export.servable.session.close()


@pytest.fixture(scope="session")
def stream(tmp_path_factory):
    """A sequence model without a length."""
    import tfar
    from tests.export.tiny import Export

    model = tfar.models.CharRNN((None,), tfar.heads.Categorical(5), units=6, num_layers=1)
    export = Export(model, tmp_path_factory.mktemp("stream"), slots=4)
    yield export
    export.servable.session.close()


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """An image model with labels; sessions are few and given up soon."""
    import tfar
    from tests.export.tiny import Export

    model = tfar.models.GatedPixelCNN(
        (4, 3, 1), tfar.heads.Categorical(3), filters=4, num_blocks=1, condition=tfar.conditions.Label(3)
    )
    export = Export(model, tmp_path_factory.mktemp("image"), slots=2, ttl=3.0)
    yield export
    export.servable.session.close()
