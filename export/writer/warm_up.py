"""Writes the requests that a server runs before it answers others: a signature's first call takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.client.messages import MESSAGES, to_proto
from export.writer import examples
from export.writer.servable import Servable
from export.writer.sessions import REHEARSAL, REHEARSAL_SEED
from export.writer.signatures import Signatures

# Of events without a length of their own.
_LENGTH = 64
FILE = Path("assets.extra", "tf_serving_warmup_requests")


def write(version: Path, servable: Servable, signatures: Signatures) -> None:
    """Writes one request per signature; sessions are rehearsed, so that none is left behind.

    Args:
        version: folder of the version.
        servable: the version, loaded.
        signatures: its signatures.
    """
    path = version / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, values in _requests(servable, signatures):
            log = MESSAGES["PredictionLog"]()
            request = log.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = signatures.name, signature
            for key, value in values.items():
                to_proto(np.asarray(value), request.inputs[key])
            writer.write(log.SerializeToString())


def _requests(servable: Servable, signatures: Signatures) -> list[tuple[str, dict[str, Any]]]:
    """Signatures and inputs."""
    model, every = signatures.model, signatures.every
    given = examples.inputs(model, examples.condition(model, 1))
    seed = {"seed": np.zeros([1, 2], np.int64)}
    endless = None in model.event_shape
    shape = [_LENGTH if size is None else size for size in model.event_shape]
    x = np.zeros([1, *shape], model.head.dtype.as_numpy_dtype)
    requests: list[tuple[str, dict[str, Any]]] = [
        ("sample", {**seed, **given}),
        ("serving_default", {**seed, **given}),
        ("log_prob", {"x": x, **given}),
        ("describe", {"rows": np.zeros([1], np.int32)}),
    ]
    if endless:
        for _, values in requests[:2]:
            values["length"] = np.array([8], np.int32)
    if "complete" in every:
        half = np.array([x.size // 2], np.int32)
        requests.append(("complete", {"x": x, "observed_length": half, **seed, **given}))
    if "start" in every:
        requests += [("start", {**seed, **given}), ("step", {"state": servable.run("start", **seed, **given)["state"]})]
    if "session_end" in every:
        nobody = {"session_id": np.array([REHEARSAL], np.int64)}
        begin = {"seed": np.full([1, 2], REHEARSAL_SEED, np.int64), **given}
        requests += [("session_begin", begin), ("session_step", nobody), ("session_end", nobody), ("session_stats", {})]
    return requests
