"""Requests and the answers that TensorFlow Serving's own C++ request path gave to them."""

import json
import re
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

TRANSCRIPTS = Path(__file__).resolve().parents[2] / "golden" / "serving_transcripts.json"
CASES = json.loads(TRANSCRIPTS.read_text())["cases"]


def proto(value):
    if "raw" in value:
        return tensor_pb2.TensorProto.FromString(bytes.fromhex(value["raw"]))
    dtype = tf.as_dtype(value["dtype"])
    values = [entry.encode() for entry in value["values"]] if dtype == tf.string else value["values"]
    return tf.make_tensor_proto(values, dtype, value["shape"])


def before_nodes(message):
    """Names of nodes differ between the tools that wrote a graph."""
    return re.split(r"\[\[|\{\{", message)[0]


# The order matters: the model `counter` counts.
def test_every_case_has_the_same_answer(client):
    assert len(CASES) == 25
    wrong = []
    for number, case in enumerate(CASES):
        inputs = {name: proto(value) for name, value in case["inputs"].items()}
        arguments = (case["model"], case["signature"], inputs, case["output_filter"])
        try:
            response = client.predict(*arguments)
        except grpc.RpcError as error:
            answer = (error.code().name, before_nodes(error.details()))
            if answer != (case["code"], before_nodes(case.get("message", ""))):
                wrong.append((number, answer, case))
            continue
        if case["code"] != "OK" or response.model_spec.signature_name != case["response_signature"]:
            wrong.append((number, response, case))
            continue
        assert response.model_spec.name == case["model"] and response.model_spec.version.value == 1
        assert set(response.outputs) == set(case["outputs"])
        for name, expected in case["outputs"].items():
            value = tf.make_ndarray(response.outputs[name])
            assert not response.outputs[name].tensor_content and len(response.outputs[name].float_val) == value.size
            assert value.dtype == expected["dtype"] and list(value.shape) == expected["shape"], (number, case)
            np.testing.assert_allclose(value.ravel(), expected["values"], rtol=1e-6, err_msg=f"case {number}")
    assert not wrong
