"""Run by the interpreter of an environment that holds ovmsclient: ADDRESS, prints JSON."""

import json
import sys

import numpy as np
from ovmsclient import make_grpc_client

client = make_grpc_client(sys.argv[1])
x = np.array([2.0, 3.0], np.float32)
try:
    client.predict({"x": x.astype(np.int32)}, "half", 1, timeout=10)
    refusal = None
except Exception as error:
    refusal = f"{type(error).__name__}: {error}"
# Its own default, version 0, means "all" to OpenVINO Model Server and nothing to TensorFlow Serving.
status = {number: entry["state"] for number, entry in client.get_model_status("half", 1, timeout=10).items()}
metadata = client.get_model_metadata("half", 1, timeout=10)
answer = client.predict({"x": x}, "half", 1, timeout=10)
big = client.predict({"x": np.zeros([500_000], np.float32)}, "half", 1, timeout=10)
print(
    json.dumps(
        {
            "status": status,
            "inputs": sorted(metadata["inputs"]),
            "outputs": sorted(metadata["outputs"]),
            "y": np.asarray(answer).tolist(),
            "big": np.asarray(big).shape,
            "refusal": refusal,
        }
    )
)
