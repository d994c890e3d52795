"""Versions on disk become versions that answer."""

import contextlib
import shutil
import threading

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2, predict_pb2

from export.client import ServingError
from export.server import configuration

X = {"x": np.array([2.0], np.float32)}


def answer(client, **choice):
    return client.values("half", inputs=X, **choice)["y"].tolist()


@pytest.fixture
def folder(tmp_path, toy):
    """A model with version 1."""
    (tmp_path / "half").mkdir()
    toy(tmp_path / "half" / "1")
    return tmp_path / "half"


@pytest.fixture
def one(folder, serve):
    with serve(model_name="half", model_base_path=str(folder)) as (server, client):
        yield server, client


def test_new_version_takes_over_without_a_failed_request(one, folder, toy, half_plus, wait_until):
    _, client = one
    ended, failures, seen = threading.Event(), [], []

    def ask():
        while not ended.is_set():
            try:
                seen.append(answer(client)[0])
            except grpc.RpcError as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    states = set()
    toy(folder / "2", half_plus(3.0))
    assert wait_until(lambda: states.add(tuple(client.status("half").items())) or client.status("half").get(1) == "END")
    ended.set()
    for thread in threads:
        thread.join()
    assert not failures and set(seen) == {3.0, 4.0}
    assert client.status("half") == {2: "AVAILABLE", 1: "END"}
    # The new one was there before the old one went.
    assert ((1, "AVAILABLE"),) in states or ((2, "LOADING"), (1, "AVAILABLE")) in states
    assert not any(all(state != "AVAILABLE" for _, state in snapshot) for snapshot in states)


def test_call_in_flight_ends_before_its_version_goes(one, models, wait_until):
    server, client = one
    client.reload(("toys", models / "toys", {}))
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = "toys", "loop"
    proto = message.inputs["steps"]
    proto.dtype, proto.int64_val[:] = 9, [30_000]
    call = client.prediction.Predict.future(message, timeout=30)
    assert wait_until(lambda: server.manager._versions["toys"][1].calls)
    client.reload()  # no model at all
    assert call.result().outputs["count"].int64_val[0] == 30_000
    assert wait_until(lambda: client.status("toys") == {1: "END"})
    assert client.refusal("toys", "loop")[0] == "NOT_FOUND"


def test_latest_all_and_specific(folder, toy, half_plus, serve, wait_until):
    for number in (2, 3):
        toy(folder / f"000{number}", half_plus(1.0 + number))  # leading zeros are allowed
    (folder / "4").touch()
    (folder / "notes").mkdir()
    (folder / "99999999999999999999").mkdir()
    with serve(model_name="half", model_base_path=str(folder)) as (_, client):
        assert client.status("half") == {3: "AVAILABLE"}

        def served(policy, versions):
            client.reload(("half", folder, {"model_version_policy": policy}))
            return lambda: {v for v, state in client.status("half").items() if state == "AVAILABLE"} == versions

        for policy, versions in (
            ({"all": {}}, {1, 2, 3}),
            ({"latest": {"num_versions": 2}}, {2, 3}),
            ({"specific": {"versions": [1, 9]}}, {1}),
            ({"latest": {}}, {3}),
        ):
            assert wait_until(served(policy, versions)), policy
        assert answer(client) == [5.0]
        assert list(client.status("half")) == [3, 2, 1]
        assert client.refusal("half", inputs=X, version=1)[1] == "Servable not found for request: Specific(half, 1)"


def test_version_that_comes_back_is_loaded_again(one, folder, tmp_path, wait_until):
    _, client = one
    (folder / "1").rename(tmp_path / "away")
    assert wait_until(lambda: client.status("half") == {1: "END"})
    (tmp_path / "away").rename(folder / "1")
    assert wait_until(lambda: client.status("half") == {1: "AVAILABLE"})
    assert answer(client) == [3.0]


def test_vanished_base_path_changes_nothing(one, folder, tmp_path):
    server, client = one
    folder.rename(tmp_path / "away")
    server.manager.poll()
    assert client.status("half") == {1: "AVAILABLE"} and answer(client) == [3.0]


def test_labels_point_at_available_versions(one, folder, toy, half_plus, wait_until):
    _, client = one
    toy(folder / "2", half_plus(3.0))
    both = {"model_version_policy": {"all": {}}}
    client.reload(("half", folder, both))
    assert wait_until(lambda: client.status("half") == {2: "AVAILABLE", 1: "AVAILABLE"})
    client.reload(("half", folder, both | {"version_labels": {"stable": 1, "canary": 2}}))
    assert answer(client, label="stable") == [3.0] and answer(client, label="canary") == [4.0]
    client.reload(("half", folder, both | {"version_labels": {"stable": 2}}))
    assert answer(client, label="stable") == [4.0]
    assert client.refusal("half", inputs=X, label="canary")[1] == "Unrecognized servable version label: canary"
    refused = client.reload_refusal(("half", folder, both | {"version_labels": {"stable": 7}}))
    assert refused == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 7 of model half, which is not currently available for inference",
    )
    assert answer(client, label="stable") == [4.0]  # the refused configuration changed nothing


def test_labels_for_versions_to_come(folder, toy, half_plus, serve, tmp_path):
    path = tmp_path / "models.config"
    entry = (
        f'model_config_list {{ config {{ name: "half" base_path: "{folder}" model_platform: "tensorflow" '
        'version_labels { key: "stable" value: 1 } } }'
    )
    path.write_text(entry)
    with pytest.raises(ServingError, match="label to version 1 of model half, which is not currently available"):
        with serve(model_config_file=str(path)):
            pass
    with serve(model_config_file=str(path), allow_version_labels_for_unavailable_models=True) as (_, client):
        assert answer(client, label="stable") == [3.0]
        moved = {"version_labels": {"stable": 5}}
        assert client.reload_refusal(("half", folder, moved))[0] == "FAILED_PRECONDITION"  # it is in use
        client.reload(("half", folder, {"version_labels": {"stable": 1, "next": 5}}))
        message = "Servable not found for request: Specific(half, 5)"
        assert client.refusal("half", inputs=X, label="next") == ("NOT_FOUND", message)


def test_reload_replaces_the_set(one, folder, models, wait_until):
    _, client = one
    response = client.reload(("a", folder, {}), ("b", models / "tf2", {}))
    assert response.status.error_code == 0
    assert client.values("a", inputs=X)["y"].tolist() == [3.0]  # new models are waited for
    assert client.status("b") == {1: "AVAILABLE"}
    assert wait_until(lambda: client.status("half") == {1: "END"})
    assert client.refusal("half", inputs=X) == ("NOT_FOUND", "Servable not found for request: Latest(half)")


@pytest.mark.parametrize(
    "entries, code, message",
    [
        ([("m", "/x", {}), ("m", "/y", {})], "INVALID_ARGUMENT", "Illegal to list model m multiple times"),
        (
            [("m", "x", {})],
            "INVALID_ARGUMENT",
            "Expected model m to have an absolute path or URI; got base_path()=x",
        ),
        (
            [("m", "/x", {"model_platform": "torch"})],
            "INVALID_ARGUMENT",
            "Model m requests unsupported platform torch",
        ),
        ([("m", "/x", {"model_platform": ""})], "INVALID_ARGUMENT", "Illegal setting neither ModelServerConfig::model"),
        (
            [("half", "/x", {"model_platform": "torch"})],
            "INVALID_ARGUMENT",
            "Illegal to change a model's platform. For model half platform was tensorflow and new platform requested "
            "is torch",
        ),
    ],
)
def test_configurations_that_are_refused(one, entries, code, message):
    _, client = one
    got, details = client.reload_refusal(*entries)
    assert got == code and details.startswith(message)
    assert answer(client) == [3.0]


def test_reload_that_waits_for_ever_ends_at_its_deadline_and_can_be_put_right(one, folder, tmp_path):
    _, client = one
    request = model_management_pb2.ReloadConfigRequest()
    model = {"name": "missing", "base_path": str(tmp_path / "missing"), "model_platform": "tensorflow"}
    request.config.model_config_list.config.add(**model)
    with pytest.raises(grpc.RpcError) as caught:
        client.model.HandleReloadConfigRequest(request, timeout=0.4)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    client.reload(("half", folder, {}), ("again", folder, {}))
    assert client.status("again") == {1: "AVAILABLE"}


def test_only_lists_of_models_can_be_reloaded(one):
    _, client = one
    with pytest.raises(grpc.RpcError) as caught:
        client.model.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=10)
    assert caught.value.code().name == "INVALID_ARGUMENT"
    assert caught.value.details().startswith("ServerModelConfig type not supported by HandleReloadConfigRequest.")


def test_broken_version_is_an_error_and_the_old_one_stays(one, folder, wait_until):
    _, client = one
    (folder / "2").mkdir()
    (folder / "2" / "saved_model.pb").write_bytes(b"\xff broken")
    assert wait_until(lambda: client.status("half").get(2) == "END")
    assert client.status("half") == {2: "END", 1: "AVAILABLE"} and answer(client) == [3.0]
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name, request.model_spec.version.value = "half", 2
    status = client.model.GetModelStatus(request, timeout=10).model_version_status[0].status
    assert status.error_code != 0 and status.error_message
    shutil.rmtree(folder / "2")


def test_failed_load_is_tried_again(folder, tmp_path, serve, wait_until):
    (folder / "1").rename(tmp_path / "whole")
    (folder / "1").mkdir()
    options = {"max_num_load_retries": 100, "load_retry_interval_micros": 50_000}
    repaired = threading.Timer(0.4, lambda: [(folder / "1").rmdir(), (tmp_path / "whole").rename(folder / "1")])
    repaired.start()
    with serve(model_name="half", model_base_path=str(folder), **options) as (_, client):  # waits until it loads
        assert answer(client) == [3.0]
    repaired.join()


def test_server_does_not_start_when_a_model_does_not_load(folder, serve):
    shutil.rmtree(folder / "1" / "variables")
    with pytest.raises(ServingError, match=r"1 model\(s\) did not become available: \{\{\{name: half version: 1\} due"):
        with serve(model_name="half", model_base_path=str(folder)):
            pass


def test_status_of_what_is_unknown(one):
    _, client = one
    for arguments, message in (
        (("m",), "Could not find any versions of model m"),
        (("half", 9), "Could not find version 9 of model half"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            client.status(*arguments)
        assert (caught.value.code().name, caught.value.details()) == ("NOT_FOUND", message)
    assert client.status("half", 1) == {1: "AVAILABLE"}


def test_configuration_file_is_followed(folder, models, serve, tmp_path, wait_until):
    path = tmp_path / "models.config"

    def write(*entries):
        text = "\n".join(
            f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }}' for name, base in entries
        )
        path.write_text(f"model_config_list {{ {text} }}")

    write(("half", folder))
    with serve(model_config_file=str(path), model_config_file_poll_wait_seconds=0.05) as (_, client):
        assert answer(client) == [3.0]
        path.write_text("model_config_list { broken")
        write(("half", folder), ("tf2", models / "tf2"))

        def loaded():
            with contextlib.suppress(grpc.RpcError):
                return client.status("tf2") == {1: "AVAILABLE"}

        assert wait_until(loaded) and answer(client) == [3.0]


def test_configuration_file_waits_for_the_version_of_its_label(folder, toy, half_plus, serve, tmp_path, wait_until):
    path = tmp_path / "models.config"
    model = f'name: "half" base_path: "{folder}" model_platform: "tensorflow"'
    path.write_text(f"model_config_list {{ config {{ {model} }} }}")
    with serve(model_config_file=str(path), model_config_file_poll_wait_seconds=0.05) as (server, client):
        label = 'version_labels { key: "stable" value: 2 }'
        path.write_text(f"model_config_list {{ config {{ {model} {label} }} }}")
        assert not wait_until(lambda: server.manager.labels("half"), seconds=0.3)
        assert answer(client) == [3.0]
        toy(folder / "2", half_plus(3.0))
        assert wait_until(lambda: server.manager.labels("half") == {"stable": 2})
        assert answer(client, label="stable") == [4.0]


def test_broken_configuration_file(tmp_path):
    path = tmp_path / "models.config"
    path.write_text("model_config_list {")
    with pytest.raises(ServingError, match="Error parsing text-format tensorflow.serving.ModelServerConfig"):
        configuration.read_models(str(path))
