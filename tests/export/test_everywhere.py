"""The same noise draws the same event in Python, in a v1 session, over gRPC and in LiteRT: one model of every family.

A row may part ways with Python's at a draw that is a tie of rounding (`export.writer.ties`); any other difference is an
error.
"""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from export.client import Client
from export.litert import converter
from export.litert.model import LiteRTModel, draw_in_steps
from export.litert.signatures import LiteRTSignatures
from export.server.options import Options as ServerOptions
from export.server.server import Server
from export.writer import examples
from export.writer.canvas import Canvas
from export.writer.servable import Servable
from export.writer.ties import count_ties
from pipelines.start import errors_only
from tests.bank import OPTIONS
from tfar.core import noise as noises
from tfar.testing.registry import MODELS

# The others take more than a few seconds to export twice.
CASES = ["text", *(pytest.param(case.name, marks=pytest.mark.large) for case in MODELS if case.runtimes)]
ROWS = 4
LENGTH = 6  # of events of models without a length
SEED = 11


@pytest.mark.parametrize("name", CASES)
def test_the_same_noise_draws_the_same_event_everywhere(name, bank, request, record_property):
    model, folder = bank.model(name), bank.versions(name)
    shape = [LENGTH] if None in model.event_shape else list(model.event_shape)
    length = LENGTH if None in model.event_shape else None
    condition = examples.condition(model, ROWS)
    seed = noises.seed_rows(SEED, ROWS).numpy()
    temperature = np.array([1.0, 1.0, 0.7, 1.3], np.float32)
    noise = noises.uniform(tf.constant(seed), *model.noise_shape(shape)).numpy()
    expected = model.sample(ROWS, condition, seed, temperature, jit_compile=False, length=length).numpy()

    again = model.sample(ROWS, condition, None, temperature, noise=noise, length=length, jit_compile=False)
    drawn = {"Python, from noise": again.numpy()}
    given = {"seed": seed, "temperature": temperature, **examples.inputs(model, condition)}
    given |= {} if length is None else {"length": np.full([ROWS], length, np.int32)}
    with session_of(name, folder, request) as servable:
        drawn["v1 session"] = servable.run("sample", **given)["samples"]
    options = ServerOptions(port=0, model_name=name, model_base_path=str(folder), enable_model_warmup=False)
    with Server(options) as server, Client(f"127.0.0.1:{server.port}", name) as client:
        drawn["gRPC"] = client.predict("sample", given)["samples"]
        if client.unit is not None:
            for kind in ("session", "state"):
                if kind == "session" or "start" in client.signatures:
                    drawn[f"gRPC, {kind}"] = streamed(client, kind, condition, seed, temperature, shape)
    drawn |= in_litert(model, length, noise, temperature, given)

    ties = {
        place: count_ties(model, expected, samples, noise, temperature, condition) for place, samples in drawn.items()
    }
    record_property("compared", len(drawn) * ROWS)
    record_property("ties", sum(ties.values()))
    print(f"{name:30} {len(drawn) * ROWS:3} samples, {sum(ties.values())} ties, in {', '.join(drawn)}")
    assert {"v1 session", "gRPC", "LiteRT"} <= set(drawn)
    # Noise within 1e-5 of a boundary is rare: more than one such row in four would be something else.
    assert all(number <= 1 for number in ties.values()), ties
    # Rows differ from one another, so that no place can be right by accident.
    assert len({row.tobytes() for row in expected}) > 1


def session_of(name, folder, request):
    """A v1 session, that of other tests where they have one."""
    if name in OPTIONS:
        return contextlib.nullcontext(request.getfixturevalue(name).servable)
    return Servable(folder / "1")


def streamed(client, kind, condition, seed, temperature, shape):
    """The events, drawn in two steps or more over gRPC."""
    units = client.describe()["units"] or shape[0]
    canvas = Canvas(ROWS, shape, client.unit)
    with client.stream(ROWS, condition, seed, temperature, kind=kind) as stream:
        while stream.position < units:
            chunk = stream.step(min(max(1, units // 2), units - stream.position))
            same = {"count": np.full([ROWS], chunk.values.shape[1]), "position": np.full([ROWS], chunk.position)}
            cells = {} if chunk.cells is None else {"cells": chunk.cells}
            canvas.put({"chunk": chunk.values, **same, **cells})
    return canvas.values


def in_litert(model, length, noise, temperature, given):
    """The events drawn by `sample` and by `step` of a LiteRT model."""
    signatures = LiteRTSignatures(model, ROWS, length)
    with errors_only():
        runtime = LiteRTModel(converter.convert(signatures))
    told = {item.name: given[item.name] for item in signatures.conditions}
    return {
        "LiteRT": runtime.run("sample", noise=noise, temperature=temperature, **told)["samples"],
        "LiteRT, steps": draw_in_steps(runtime, signatures, noise, temperature, told),
    }
