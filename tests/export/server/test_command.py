"""python -m pipelines.serve, as a person starts it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from export.server.options import Options
from tests.commands import run

ROOT = Path(__file__).resolve().parents[3]


def command(*flags, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.serve", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_mistake_costs_no_time():
    started = time.monotonic()
    with command("--prt=1") as process:
        out, err = process.communicate()
    assert process.returncode == 2 and not out
    assert err.startswith("error: Unknown command line flag 'prt'") and err.count("\n") == 1
    assert time.monotonic() - started < 2.5  # TensorFlow alone takes longer


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--port=x"], "error: flag --port=x: invalid literal"),
        ([], "error: give either --model_base_path (folder of the versions) or --model_config_file"),
        (["--model_base_path=x", "extra"], "error: no arguments are expected besides flags, got 'extra'"),
        (["--model_config_file=nowhere"], "error: --model_config_file=nowhere does not exist"),
        (["--model_base_path=nowhere"], "error: --model_base_path=nowhere does not exist; python -m export writes "),
        (["--model_base_path=docs"], "error: --model_base_path=docs: docs holds no version, a folder that a number "),
    ],
)
def test_mistakes_cost_one_line(flags, message):
    code, out, err = run("pipelines.serve", *flags)
    assert code == 2 and not out
    assert err.startswith(message) and err.count("\n") == 1


def test_a_missing_folder_of_a_configuration_is_named(tmp_path):
    file = tmp_path / "models.config"
    file.write_text(f'model_config_list {{ config {{ name: "a" base_path: "{tmp_path}/a" }} }}')
    code, out, err = run("pipelines.serve", f"--model_config_file={file}")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: --model_config_file={file}: {tmp_path}/a does not exist; ")
    file.write_text("nonsense")
    code, _, err = run("pipelines.serve", f"--model_config_file={file}")
    assert code == 1 and err.startswith("error: Failed to start server. Error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"port": 70000}, "--port must lie between 0 and 65535, got 70000"),
        ({"port": None}, "--port=0 listens on no port: give --grpc_socket_path as well"),
        ({"rest_api_port": 8500}, "--rest_api_port must differ from --port, got 8500"),
        ({"grpc_max_threads": 0}, "--grpc_max_threads must be at least 1, got 0"),
        ({"grpc_channel_arguments": "x"}, "--grpc_channel_arguments must be key=value,..., got 'x'"),
        ({"num_request_iterations_for_warmup": 0}, "--num_request_iterations_for_warmup must be at least 1, got 0"),
        ({"ssl_config_file": "nowhere"}, "--ssl_config_file=nowhere does not exist"),
        ({"model_config_file": "x"}, "give either --model_base_path (folder of the versions) or --model_config_file"),
        ({"grpc_channel_arguments": "a=1,b=c"}, None),
    ],
)
def test_options_that_are_wrong(options, message):
    assert Options(model_base_path="x", **options).wrong() == message


def test_channel_arguments_are_numbers_where_they_can_be():
    options = Options(grpc_channel_arguments="grpc.max_concurrent_streams=100,grpc.name=x")
    assert options.channel_arguments() == [("grpc.max_concurrent_streams", 100), ("grpc.name", "x")]


def test_it_serves_says_so_and_stops(models, connect, tmp_path):
    # A socket's path may have 107 characters; pytest's folders can be longer.
    flags = ("--model_name=tf2", f"--model_base_path={models / 'tf2'}", "--rest_api_port=0", "--port=0")
    with command(*flags, f"--grpc_socket_path={tmp_path / 's'}", "--enable_grpc_healthcheck_service=true") as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "ready\n":
                break
        assert "for development and tests" in lines[0]
        with connect(f"unix:{tmp_path / 's'}") as client:
            x = np.array([[2.0]], np.float32)
            assert client.values("tf2", inputs={"x": x})["y"] == 3.0
            # As in the released server, XLA is off unless a flag says otherwise.
            code, message = client.refusal("tf2", "compiled", {"x": x[0]})
            assert code == "INTERNAL" and "XLA compilation disabled" in message
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and out == "stopping\n"
    assert re.search("loading tf2 version 1.*\n.*loaded tf2 version 1 in [0-9.]+ s", err)


def test_it_can_be_stopped_while_it_waits_for_a_model(tmp_path, free_ports, caplog):
    # In this process, where XLA must stay on.
    flags = (f"--model_base_path={tmp_path / 'missing'}", f"--port={free_ports[0]}", "--wait")
    flags += ("--xla_cpu_compilation_enabled",)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupt():
        while "Could not find base path" not in caplog.text:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)  # to the main thread

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        code, _, err = run("pipelines.serve", *flags)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert code == 1 and err.startswith("error: Failed to start server.")


@pytest.mark.large
def test_demo_and_xla(models, free_ports):
    flags = ("--model_name=tf2", f"--model_base_path={models / 'tf2'}", "--demo", "--xla_cpu_compilation_enabled")
    port, rest_port = free_ports
    with command(*flags, f"--port={port}", f"--rest_api_port={rest_port}") as process:
        for line in process.stdout:
            if line == "ready\n":
                break
        connection = http.client.HTTPConnection("127.0.0.1", rest_port, timeout=30)
        body = json.dumps({"inputs": {"x": [1.0]}})
        connection.request("POST", "/demo/api/compiled", body, {"Content-Type": "application/json"})
        assert json.loads(connection.getresponse().read())["outputs"] == {"y": [2.0]}
        connection.close()
        process.terminate()
        process.communicate(timeout=30)
