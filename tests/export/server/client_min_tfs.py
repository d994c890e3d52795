"""Run by the interpreter of an environment that holds min-tfs-client: HOST PORT, prints JSON."""

import json
import sys

import numpy as np
from min_tfs_client.requests import TensorServingClient
from min_tfs_client.tensors import tensor_proto_to_ndarray

client = TensorServingClient(host=sys.argv[1], port=int(sys.argv[2]))
x = np.array([2.0, 3.0], np.float32)
response = client.predict_request(model_name="half", model_version=1, input_dict={"x": x}, timeout=10)
try:
    client.predict_request(model_name="half", model_version=1, input_dict={"z": x}, timeout=10)
    refusal = None
except Exception as error:
    refusal = f"{error.code().name}: {error.details()}"
print(
    json.dumps(
        {
            "y": tensor_proto_to_ndarray(response.outputs["y"]).tolist(),
            "refusal": refusal,
        }
    )
)
