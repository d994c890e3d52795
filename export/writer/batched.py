"""Batches simultaneous calls inside the graph.

A sampler's loop costs nearly the same for one example as for sixteen, and a server runs every request by itself. Here
the examples of requests that wait while others are drawn become one batch; an example's draw is independent of the
others.

A batch is stopped by the deadline of the request that came last, and then fails for all: where all clients allow the
same time, that is the latest of their deadlines. Where they do not, those that waited longer get CANCELLED,
DEADLINE_EXCEEDED or INTERNAL ("Missing 0-th output from ... BatchFunction") before their own time; nothing of theirs is
kept or torn, and they may call again. So this is an option: for clients that all wait equally long.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from export.writer.inputs import Tensors

MAX_ROWS = 64
_THREADS = 2
_MAX_WAITING = 10_000


def batched(name: str, compute: Callable[[Tensors], Tensors], inputs: Tensors) -> Tensors:
    """Runs `compute(inputs)` with the examples of other calls; requests of more than `MAX_ROWS` examples go alone.

    Args:
        name: calls of one name go together; one name, one function.
        compute: tensors [B, ...] by name -> tensors [B, ...] by name, each example depending on its own alone.
        inputs: what it is given; further dimensions must be equal in all calls.

    Returns:
        Its outputs; dimensions beside the first may be those that the whole batch needed.
    """
    names: list[str] = []

    def rows(*tensors: tf.Tensor) -> list[tf.Tensor]:
        outputs = compute(dict(zip(inputs, tensors, strict=True)))
        names[:] = outputs
        return list(outputs.values())

    specs = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in inputs.values()]
    function = tf.function(rows, autograph=False).get_concrete_function(*specs)

    def together() -> list[tf.Tensor]:
        return tf.raw_ops.BatchFunction(
            in_tensors=list(inputs.values()),
            captured_tensors=function.captured_inputs,
            f=function,
            Tout=[x.dtype for x in function.outputs],
            num_batch_threads=_THREADS,
            max_batch_size=MAX_ROWS,
            # Nobody waits for company: it gathers while the threads are busy.
            batch_timeout_micros=0,
            max_enqueued_batches=_MAX_WAITING,
            shared_name=f"batched/{name}",
        )

    few = tf.shape(next(iter(inputs.values())))[0] <= MAX_ROWS
    outputs = tf.cond(few, together, lambda: function(*inputs.values()))
    shaped = [tf.ensure_shape(x, made.shape) for x, made in zip(outputs, function.outputs, strict=True)]
    return dict(zip(names, shaped, strict=True))
