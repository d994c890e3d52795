"""Finds the signatures that TensorFlow Serving can batch, and writes its batching parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.writer.limits import Limits

FILE = "batching_params.pbtxt"
_BATCH = 64

_PARAMETERS = """\
# Read by tensorflow_model_server --enable_batching --enable_per_model_batching_parameters.
# Callers send every input for all examples, as a batch has no defaults of one example; export/client does.
# The examples of a batch must not be more than the graph takes: "must have at most ... examples".
max_batch_size {{ value: {size} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: 2 }}
"""


def why_not(definition: Any, stateful: bool = False) -> str | None:
    """Returns the reason why requests of a signature cannot form one batch; None where they can.

    Args:
        definition: SignatureDef.
        stateful: whether a call changes what later calls find: a batch is filled up with copies of an example.
    """
    if stateful:
        return "a batch is padded with copies of an example, and every copy would act"
    if not definition.inputs:
        return "it has no inputs"
    for direction, tensors in (("input", definition.inputs), ("output", definition.outputs)):
        for name in sorted(tensors):
            shape = tensors[name].tensor_shape
            if shape.unknown_rank or not shape.dim:
                return f"{direction} {name} is a scalar"
            if shape.dim[0].size >= 0:
                return f"the first dimension of {direction} {name} is not the examples"
    return None


def write(version: Path, limits: Limits, endless: bool = False) -> None:
    """Writes the parameters beside a version; a server that is not told of them ignores the file.

    Args:
        version: folder of the version.
        limits: of a request, which a batch of requests is to the graph.
        endless: whether events have no length of their own: the examples of a batch may all be long.
    """
    size = min(_BATCH, limits.examples, limits.positions // limits.length if endless else _BATCH)
    (version / FILE).write_text(_PARAMETERS.format(size=size), encoding="utf-8")
