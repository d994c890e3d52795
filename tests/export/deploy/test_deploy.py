"""The files for deployment, as far as they can be checked without their engines; the server's own are run."""

import dataclasses
import json
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml

from export.client import Client, Code, ServingError
from export.server import configuration
from export.server.options import Options
from export.writer.options import DEFAULT_TTL

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "export" / "deploy"
CONFIG = DEPLOY / "config"
FLAGS = {field.name for field in dataclasses.fields(Options)}


def load(name):
    """The documents of a YAML file."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


COMPOSE = load("compose.yaml")[0]
SERVING = COMPOSE["services"]["serving"]
MANIFESTS = {
    (document["kind"], document["metadata"]["name"]): document
    for name in load("kubernetes/kustomization.yaml")[0]["resources"]
    for document in load(f"kubernetes/{name}")
}
POD = MANIFESTS["Deployment", "tfar-serving"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]


def flags(arguments):
    """{name: value} of "--name=value"."""
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


def test_both_start_the_server_with_flags_that_it_has():
    for arguments in (SERVING["command"], CONTAINER["args"]):
        assert set(flags(arguments)) <= FLAGS
    assert flags(SERVING["command"]) == flags(CONTAINER["args"])
    assert SERVING["entrypoint"] == CONTAINER["command"] == ["tensorflow_model_server"]


def test_image_is_the_release_of_the_lock():
    (locked,) = re.findall(r"(?m)^tensorflow-serving-api==([\w.]+)", (ROOT / "requirements.lock").read_text())
    assert SERVING["image"] == f"tensorflow/serving:${{TF_SERVING_TAG:-{locked}}}"
    assert CONTAINER["image"] == f"tensorflow/serving:{locked}"


def test_files_that_are_mounted_are_there():
    mounted = [volume.split(":") for service in COMPOSE["services"].values() for volume in service.get("volumes", [])]
    folders = {target: DEPLOY / source for source, target, *_ in mounted if source.startswith("./")}
    assert len(folders) == 4 and all(folder.is_dir() for folder in folders.values())
    for name in ("model_config_file", "monitoring_config_file"):
        path = Path(flags(SERVING["command"])[name])
        assert (folders[str(path.parent)] / path.name).is_file()
    for provider in load("grafana/provisioning/dashboards/tfar.yaml")[0]["providers"]:
        assert list(folders[provider["options"]["path"]].glob("*.json"))
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in POD["spec"]["volumes"]}
    assert mounts["configuration"] == "/etc/tfar" and mounts["models"] == "/models"


@pytest.mark.parametrize("name", ["models.config", "models.canary.config"])
def test_model_configurations_parse(name):
    config = configuration.read_models(str(CONFIG / name))
    (model,) = configuration.check(config, None).values()
    assert (model.name, model.base_path) == ("digits", "/models/digits")
    # The released server takes labels only for versions that the policy loads.
    loaded = set(model.model_version_policy.specific.versions)
    assert set(model.version_labels.values()) <= loaded and model.version_labels["stable"] == 1
    if name == "models.config":
        assert flags(SERVING["command"])["allow_version_labels_for_unavailable_models"] == "true"


def test_config_map_holds_the_same_files():
    data = MANIFESTS["ConfigMap", "tfar-serving"]["data"]
    assert data == {name: (CONFIG / name).read_text() for name in ("models.config", "monitoring.config")}


def test_ports_agree():
    ports = {name: flags(SERVING["command"])[name] for name in ("port", "rest_api_port")}
    assert SERVING["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports.values()]
    assert all(port.startswith("127.0.0.1:") for service in COMPOSE["services"].values() for port in service["ports"])
    named = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert named == {"grpc": int(ports["port"]), "rest": int(ports["rest_api_port"])}
    for kind, name in MANIFESTS:
        if kind == "Service":
            for port in MANIFESTS[kind, name]["spec"]["ports"]:
                assert port["port"] == named[port["targetPort"]]
    assert CONTAINER["startupProbe"]["grpc"]["port"] == named["grpc"]
    path = configuration.read_monitoring(str(CONFIG / "monitoring.config")).prometheus_config.path
    annotations = POD["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == ports["rest_api_port"] and annotations["prometheus.io/path"] == path
    (job,) = load("prometheus/prometheus.yml")[0]["scrape_configs"]
    assert job["metrics_path"] == path
    assert job["static_configs"] == [{"targets": [f"serving:{ports['rest_api_port']}"]}]
    (source,) = load("grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"]
    assert source["url"].endswith(COMPOSE["services"]["prometheus"]["ports"][0].rpartition(":")[2])


def test_manifests_name_one_another():
    labels = POD["metadata"]["labels"]
    spec = MANIFESTS["Deployment", "tfar-serving"]["spec"]
    assert spec["selector"]["matchLabels"] == labels
    for kind, name in MANIFESTS:
        if kind == "Service":
            assert MANIFESTS[kind, name]["spec"]["selector"] == labels
    budget = MANIFESTS["PodDisruptionBudget", "tfar-serving"]["spec"]
    assert budget["selector"]["matchLabels"] == labels and budget["minAvailable"] < spec["replicas"]
    scaler = MANIFESTS["HorizontalPodAutoscaler", "tfar-serving"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == "tfar-serving" and scaler["minReplicas"] == spec["replicas"]
    assert MANIFESTS["Service", "tfar-serving"]["spec"]["clusterIP"] == "None"


def test_a_pod_outlives_its_longest_call():
    with Client("localhost:1") as client:
        deadline = client.calls.timeout
    stay = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert deadline < stay < POD["spec"]["terminationGracePeriodSeconds"]


def test_sessions_outlive_balancing_and_scaling():
    sticky = MANIFESTS["Service", "tfar-sessions"]["spec"]
    assert sticky["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] >= DEFAULT_TTL
    down = MANIFESTS["HorizontalPodAutoscaler", "tfar-serving"]["spec"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= DEFAULT_TTL


# === The server itself ===


@pytest.fixture(scope="module")
def running(served):
    """A server with the metrics of the folder, which answered a call, and the address of its REST port."""
    assert served.server.options.monitoring_config_file == str(CONFIG / "monitoring.config")
    with Client(served.target, "pictures") as client:
        client.log_prob(np.zeros([1, 4, 4, 1]), 0)
    return served.server, f"http://127.0.0.1:{served.server.rest_port}"


def get(url):
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.read().decode()


def expressions():
    """Every PromQL expression of the dashboard and of the alerts."""
    dashboard = json.loads((DEPLOY / "grafana/dashboards/tfar.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    found += [variable["query"] for variable in dashboard["templating"]["list"]]
    return found + [rule["expr"] for group in load("prometheus/alerts.yml")[0]["groups"] for rule in group["rules"]]


def test_metrics_and_labels_exist(running):
    lines = get(f"{running[1]}/monitoring/prometheus/metrics").splitlines()
    served = {}
    for line in lines:
        if not line.startswith("#"):
            name, labels = re.fullmatch(r"([\w:]+)\{(.*)\} \S+", line).groups()
            served.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    asked = 0
    for expression in expressions():
        names = re.findall(r":tensorflow:serving:\w+", expression)
        assert set(names) <= set(served), expression
        known = set.union({"instance"}, *(served[name] for name in names)) if names else {"job"}
        labels = {label for group in re.findall(r"by \((.*?)\)", expression) for label in group.split(", ")}
        labels |= {
            label
            for group in re.findall(r"\{(.*?)\}", expression)
            for label in re.findall(r"(\w+)\s*(?:=~|!=|=)", group)
        }
        assert labels <= known, expression
        assert all(expression.count(opened) == expression.count(closed) for opened, closed in ("()", "[]", "{}"))
        asked += len(names)
    assert asked >= 10


def test_dashboard_is_whole():
    dashboard = json.loads((DEPLOY / "grafana/dashboards/tfar.json").read_text())
    (source,) = load("grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"]
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == 6
    used = {target["datasource"]["uid"] for panel in panels for target in panel["targets"]}
    assert used == {source["uid"]}
    taken = np.zeros([64, 24], int)
    for panel in panels:
        place = panel["gridPos"]
        taken[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]] += 1
        legends = [
            label for target in panel["targets"] for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        ]
        kept = [group for target in panel["targets"] for group in re.findall(r"by \((.*?)\)", target["expr"])]
        assert not kept or all(any(label in group for group in kept) for label in legends)
    assert taken.max() == 1
    limit = int(flags(SERVING["command"])["grpc_max_threads"])
    assert f"({limit})" in panels[4]["description"]
    assert f"/ 1e6 > {limit * 3 // 4}" in (DEPLOY / "prometheus/alerts.yml").read_text()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, which the image has")
def test_health_check_tells_a_server_from_none(running):
    server = running[0]
    *program, script = SERVING["healthcheck"]["test"][1:]
    assert script.count("8501") == 1 and script.count("digits") == 1

    def check(port, model):
        command = script.replace("8501", str(port)).replace("digits", model)
        return subprocess.run([*program, command], capture_output=True, timeout=20).returncode

    assert check(server.rest_port, "pictures") == 0
    assert check(server.rest_port, "nobody") != 0 and check(1, "pictures") != 0


def test_probes_ask_what_the_server_answers(running):
    for name in ("readinessProbe", "livenessProbe"):
        probe = CONTAINER[name]["httpGet"]
        assert "AVAILABLE" in get(running[1] + probe["path"].replace("digits", "pictures"))


@pytest.fixture
def two_versions(bank, tmp_path):
    """A folder with versions 1 and 2, and a function that writes a configuration for it."""
    for number in ("1", "2"):
        shutil.copytree(bank.versions("pictures") / "1", tmp_path / "digits" / number)

    def write(text):
        text = text.replace("/models/digits", str(tmp_path / "digits"))
        (tmp_path / "new.config").write_text(text)
        (tmp_path / "new.config").rename(tmp_path / "models.config")
        return str(tmp_path / "models.config")

    return write


def answers(client):
    """The version that answers."""
    client.session_stats()
    return client.answered


def wait_for(value, function):
    end = time.monotonic() + 30
    while True:
        try:
            found = function()
        except ServingError as error:
            found = error.code
        if found == value:
            return
        assert time.monotonic() < end, f"{found}, not {value}"
        time.sleep(0.02)


def test_canary_and_rollback_are_as_the_readme_says(two_versions):
    from export.server.server import Server

    first, canary = ((CONFIG / name).read_text() for name in ("models.config", "models.canary.config"))
    path = two_versions(first)
    given = flags(SERVING["command"])
    common = {
        "port": 0,
        "model_config_file": path,
        "model_config_file_poll_wait_seconds": 0.05,
        "file_system_poll_wait_seconds": 0.05,
        "enable_model_warmup": False,
    }
    with pytest.raises(ServingError, match="not currently available"):
        Server(Options(**common)).start()
    allowed = given["allow_version_labels_for_unavailable_models"] == "true"
    with Server(Options(**common, allow_version_labels_for_unavailable_models=allowed)) as server:
        target = f"127.0.0.1:{server.port}"
        with (
            Client(target, "digits", label="stable") as stable,
            Client(target, "digits", label="canary") as new,
            Client(target, "digits") as latest,
        ):
            assert answers(stable) == 1 and answers(latest) == 1
            two_versions(canary.replace('version_labels { key: "canary" value: 2 }', ""))
            wait_for(2, lambda: answers(latest))
            assert answers(stable) == 1
            with pytest.raises(ServingError, match="canary"):
                answers(new)
            two_versions(canary)
            wait_for(2, lambda: answers(new))
            with stable.stream(1, 0, seed=3) as stream:
                stream.step()
                two_versions(canary.replace('"stable" value: 1', '"stable" value: 2'))
                wait_for(2, lambda: answers(stable))
                assert stream.version == 1 and stream.step().position == 2
            two_versions(canary)
            wait_for(1, lambda: answers(stable))


def test_label_moves_only_when_its_version_is_there(two_versions, caplog):
    from export.server.server import Server

    first = (CONFIG / "models.config").read_text()
    options = {"port": 0, "model_config_file_poll_wait_seconds": 0.05, "enable_model_warmup": False}
    options |= {"model_config_file": two_versions(first), "allow_version_labels_for_unavailable_models": True}
    with Server(Options(**options)) as server, Client(f"127.0.0.1:{server.port}", "digits", label="stable") as client:
        two_versions(first.replace("versions: 1", "versions: 1 versions: 7").replace("value: 1", "value: 7"))
        wait_for(True, lambda: "not currently available" in caplog.text)
        assert answers(client) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_certificates_serve_and_keep_strangers_out(bank, serve, tmp_path):
    script, made = DEPLOY / "tls" / "make_certificates.sh", tmp_path / "a folder"
    subprocess.run(["sh", str(script), str(made), "localhost"], check=True, capture_output=True)
    assert not {path.name for path in made.iterdir()} & {"names.txt", "errors.txt"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in made.iterdir())
    own = {"private_key": made / "client.key", "certificate_chain": made / "client.pem"}
    options = {"ssl_config_file": str(made / "ssl.config"), "enable_model_warmup": False}
    with serve(bank.versions("ensemble").parent, ["ensemble"], **options) as server:
        target = f"localhost:{server.port}"
        with Client(target, "ensemble", root_certificates=made / "ca.pem", **own) as client:
            assert client.sample(1).samples.shape == (1, 2, 3, 1)
        with Client(target, "ensemble", root_certificates=(made / "ca.pem").read_bytes(), retries=0) as stranger:
            with pytest.raises(ServingError) as caught:
                stranger.sample(1)
            assert caught.value.code == Code.UNAVAILABLE


def test_readme_names_what_there_is():
    text = (DEPLOY / "README.md").read_text()
    commands = " ".join((ROOT / path).read_text() for path in ("export/__main__.py", "export/client/command.py"))
    commands += (ROOT / "pipelines/sample.py").read_text()
    theirs = {"enable_batching", "enable_per_model_batching_parameters"}
    for flag in set(re.findall(r"--([a-z][a-z_-]*)", text)) - theirs:
        assert flag in FLAGS or re.search(rf'"(--)?{flag}"', commands), flag
    for path in re.findall(r"`([\w./-]+(?:\.\w+|/))`", text):
        if "/" in path and not path.startswith("runs"):
            assert (DEPLOY / path).exists() or (ROOT / path).exists(), path
