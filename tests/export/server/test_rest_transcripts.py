"""Requests to the REST API and the answers that TensorFlow Serving's documentation and sources fix."""

import http.client
import json
import os
from pathlib import Path

import pytest

from export.server.rest import METRICS_PATH

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "rest_transcripts.json"
CASES = json.loads(GOLDEN.read_text())["cases"]


@pytest.fixture(scope="module")
def port(models, serve, tmp_path_factory):
    """The REST port of a server of all models; half has the label `stable`.

    TFAR_REST_SERVER=HOST:PORT names another one, whose models must be the same.
    """
    if "TFAR_REST_SERVER" in os.environ:
        yield os.environ["TFAR_REST_SERVER"]
        return
    config = tmp_path_factory.mktemp("config") / "models.config"
    label = 'version_labels { key: "stable" value: 1 }'
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" '
        f"{label if name == 'half' else ''} }}"
        for name in ("half", "tf2", "counter", "toys")
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    options = {"model_config_file": str(config), "allow_version_labels_for_unavailable_models": True}
    with serve(rest_api_port=0, **options) as (server, _):
        yield f"127.0.0.1:{server.rest_port}"


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection(port, timeout=10)
    connection.request(method, path, None if body is None else body.encode())
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.getheader("Content-Type") == "application/json"
    return response.status, text


def written(text):
    """JSON with numbers as they are written."""
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def test_every_case_has_the_documented_answer(port):
    assert len(CASES) > 80
    wrong = []
    for case in CASES:
        status, text = ask(port, case["method"], case["path"], case.get("body"))
        right = status == case["status"]
        if "answer" in case:
            right = right and written(text) == written(case["answer"])
        else:
            right = right and list(written(text)) == ["error"] and case["error"] in written(text)["error"]
        if not right:
            wrong.append((case, status, text))
    assert not wrong


def test_numbers_go_through_unchanged(port):
    values = [0.1, 1 / 3, 2.0**-149, 3.4028234e38, 123456.7, 1e30, -0.0]
    for name, digits in (("float32", 9), ("float64", 17)):
        body = json.dumps({"signature_name": name, "instances": values})
        status, text = ask(port, "POST", "/v1/models/toys:predict", body)
        found = json.loads(text)["predictions"]
        shown = [[f"{value:.{digits - 3}g}" for value in numbers] for numbers in (found, values)]
        assert status == 200 and shown[0] == shown[1]
    for name, values in (("int64", [2**63 - 1, -(2**63)]), ("uint64", [2**64 - 1]), ("uint32", [2**32 - 1])):
        body = json.dumps({"signature_name": name, "inputs": values})
        assert json.loads(ask(port, "POST", "/v1/models/toys:predict", body)[1])["outputs"] == values
        body = json.dumps({"signature_name": name, "inputs": [values[0] + 1]})
        assert ask(port, "POST", "/v1/models/toys:predict", body)[0] == 400


def test_bytes_that_are_no_text_stay_what_they_are(port):
    body = '{"signature_name": "string", "inputs": [{"b64": "/w=="}, {"b64": "AGE"}, "\\u00e4"]}'
    answer = ask(port, "POST", "/v1/models/toys:predict", body)[1]
    assert json.loads(answer)["outputs"] == [{"b64": "/w=="}, "\0a", "ä"]


def test_other_methods_and_metrics(port):
    for method in ("classify", "regress"):
        assert ask(port, "POST", f"/v1/models/half:{method}", "{}")[0] == 501
    assert ask(port, "GET", METRICS_PATH)[0] == 404  # no --monitoring_config_file
