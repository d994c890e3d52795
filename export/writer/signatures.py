"""The signatures of an exported model: their inputs, computations and outputs, one entry per example.

    sample         (condition?, seed, temperature, prefix)               -> samples, seed
    complete       (x, observed_length, condition?, seed, temperature)   -> samples, seed
    log_prob       (x, condition?)                                       -> log_prob, bits_per_dim, score
    start          (condition?, seed, temperature, prefix)               -> state, position, seed
    step           (state, n)                                            -> chunk, count, position, done, state
    session_begin  (condition?, seed, temperature, prefix)               -> session_id, position, seed
    session_step   (session_id, n)                                       -> chunk, count, position, done
    session_end    (session_id)                                          -> ended
    session_stats  ()                                                    -> slots, active, begun, reclaimed, ttl_seconds
    describe       (rows)                                                -> model

The released server leaves XLA switched off, so the graphs are plain; `xla=True` adds `sample_xla` and `complete_xla`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.writer import sessions, states
from export.writer.about import about
from export.writer.batched import batched
from export.writer.inputs import (
    PREFIX_TOO_LONG,
    Input,
    Tensors,
    after,
    checked,
    condition_inputs,
    condition_of,
    count_input,
    event_input,
    fresh_seeds,
    function_of,
    positions_refusal,
    prefix_input,
    require_positions,
    require_prefix,
    seed_input,
    temperature_input,
)
from export.writer.limits import limits_of
from export.writer.options import Options
from export.writer.part_sampler import Sampler, sampler_of
from export.writer.step_sampler import has_steps
from tfar.core import noise as noises
from tfar.core.units import bits_per_dim
from tfar.models import AutoregressiveModel

DEFAULT_LENGTH = 256

_OUTPUTS = {
    "samples": "events",
    "seed": "seeds that were used",
    "length": "values of each event; what follows them is 0",
    "log_prob": "log-likelihood in nats",
    "bits_per_dim": "negative log-likelihood in bits per dimension",
    "score": "log-probability in nats of every factor; they sum to log_prob",
    "state": "state for the next step",
    "session_id": "names the session",
    "position": "units drawn so far",
    "chunk": "units drawn by this step, in the order of drawing",
    "count": "how many units of the chunk are drawn; the rest is 0",
    "done": "1 where the event is complete",
    "cells": "where in the image each unit belongs: row * width + column",
    "ended": "1 where the session was open, 0 where it is unknown",
    "slots": "sessions at a time",
    "active": "open sessions",
    "begun": "sessions opened since the version was loaded",
    "reclaimed": "slots taken from sessions that had expired",
    "ttl_seconds": "seconds without a step after which a session expires",
    "model": "JSON: event_shape, levels, condition, vocabulary, and what else assets.extra/tfar.json holds",
}


@dataclasses.dataclass(frozen=True)
class Signature:
    """One signature.

    Attributes:
        name: as in requests.
        meaning: one line for the reference.
        inputs: what it takes; those with a default may be left out.
        compute: values by name as they were fed -> outputs by name.
        refusals: how the texts begin with which it refuses requests, besides those of its inputs.
        stateful: whether a call changes what later calls find.
    """

    name: str
    meaning: str
    inputs: tuple[Input, ...]
    compute: Callable[[Tensors], Tensors]
    refusals: tuple[str, ...] = ()
    stateful: bool = False

    def function(self) -> Any:
        """Returns the `tf.function` for `tf.saved_model.save`."""
        return function_of(self.inputs, self.compute)

    @staticmethod
    def output_meaning(name: str) -> str:
        """One line on an output, for the reference."""
        return _OUTPUTS[name]


class Signatures:
    """The signatures of a model.

    Args:
        model: the model.
        options: which there are.
        name: what the model is called where it is served.
        labels: what the labels stand for.

    Attributes:
        limits: of a request.
        every: the signatures by name; "serving_default" is "sample" again.
        about: what `describe` tells of the model.
        trackables: what must be saved with them.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        options: Options | None = None,
        name: str = "model",
        labels: Sequence[str] = (),
    ):
        self.model, self.options = model, options or Options()
        self.name = name
        self.limits = limits_of(model.event, self.options.max_examples, self.options.max_positions)
        self._endless = None in model.event_shape
        self._given = condition_inputs(model)
        prefix = [prefix_input(model)] if self.model.has_prefixes else []
        self._draws = [*self._given, seed_input(), temperature_input(), *prefix]
        self.sampler: Sampler | None = None
        self.store: sessions.SessionStore | None = None
        self.every: dict[str, Signature] = {}
        # What several signatures compute is one function, traced once.
        self._draw = tf.function(self.model.sample_from_noise, autograph=False)
        for signature in self._signatures():
            self.every[signature.name] = signature
        self.every["serving_default"] = self.every["sample"]
        self.about = about(model, name, labels, self.sampler, self.store, self.limits)

    @property
    def trackables(self) -> list[Any]:
        """Objects that `tf.saved_model.save` must track beside the functions: the session store, where there is one."""
        return [] if self.store is None else [self.store]

    def functions(self) -> dict[str, Any]:
        """For the argument `signatures` of `tf.saved_model.save`."""
        made = {name: item.function() for name, item in self.every.items() if name != "serving_default"}
        return {**made, "serving_default": made["sample"]}

    def _signatures(self) -> list[Signature]:
        found = [self._sample(), self._log_prob(), self._describe()]
        if self.model.has_prefixes and not self._endless:
            found.append(self._complete())
        if self.options.xla:
            found += [self._compiled(item) for item in found if item.name in ("sample", "complete")]
        if not has_steps(self.model):
            return found
        self.sampler = sampler_of(self.model, self.options.batch_calls)
        if len(self.model.event_shape) == 1:
            found += [self._start(), self._step()]
        if self.options.sessions:
            self.store = sessions.SessionStore(self.sampler, self.options.slots, self.options.ttl)
            found += self._session_signatures(self.sampler, self.store)
        return found

    # Whole events.

    def _sample(self) -> Signature:
        inputs = list(self._draws)
        if self._endless:
            longest, usual = self.limits.length, min(self.limits.length, DEFAULT_LENGTH)
            inputs.append(count_input("length", "values to draw, the prefix included", longest, usual))

        def sample(fed: Tensors) -> Tensors:
            values = self._prepare(inputs, fed)
            return self._drawn(values, self._draw)

        refusals = () if not self.model.has_prefixes else (PREFIX_TOO_LONG,)
        return Signature("sample", "Draws events.", tuple(inputs), sample, refusals)

    def _complete(self) -> Signature:
        model = self.model
        observed = count_input(
            "observed_length", "values kept, in the order of drawing", model.event.num_dimensions, least=0
        )
        inputs = [event_input(model), observed, *self._given, seed_input(), temperature_input()]

        def complete(fed: Tensors) -> Tensors:
            return self._drawn(self._prepare(inputs, fed), self._draw)

        return Signature("complete", "Keeps the first values of events and draws the others.", tuple(inputs), complete)

    def _compiled(self, signature: Signature) -> Signature:
        """Returns the same with its sampler compiled by XLA; checks and entropy, which XLA has not, stay outside."""
        draw = tf.function(self.model.sample_from_noise, autograph=False, jit_compile=True)

        def compute(fed: Tensors) -> Tensors:
            return self._drawn(self._prepare(signature.inputs, fed), draw, alone=True)

        meaning = f"{signature.meaning} Compiled by XLA: the server needs --xla_cpu_compilation_enabled."
        return dataclasses.replace(signature, name=f"{signature.name}_xla", meaning=meaning, compute=compute)

    def _drawn(self, inputs: Tensors, draw: Any, alone: bool = False) -> Tensors:
        """Draws whole events from checked inputs; `alone` without the examples of other calls."""
        model, seed = self.model, inputs["seed"]
        if self._endless:
            size, numbers = tf.reduce_max(inputs["length"]), model.head.noise_size
        else:
            size, numbers = model.noise_shape()

        def sampled(rows: Tensors) -> Tensors:
            noise = noises.uniform(rows["seed"], size, numbers)
            given = condition_of(model, rows), rows["temperature"], rows.get("values"), rows.get("observed")
            return {"samples": draw(noise, *given)}

        def samples(*known: tf.Tensor) -> tf.Tensor:
            rows = {name: inputs[name] for name in ("seed", "temperature", *(item.name for item in self._given))}
            rows |= dict(zip(("values", "observed"), known, strict=False))
            # Events of different lengths do not go together.
            together = self.options.batch_calls and not self._endless and not alone
            return (batched("complete" if "x" in inputs else "sample", sampled, rows) if together else sampled(rows))[
                "samples"
            ]

        if "observed_length" in inputs:
            length = tf.reshape(inputs["observed_length"], [-1, *[1] * len(model.event_shape)])
            observed = ranks_of_values(model)[None] < length
            drawn = samples(tf.where(observed, inputs["x"], tf.zeros_like(inputs["x"])), observed)
        elif not self.model.has_prefixes:
            drawn = samples()
        else:
            drawn = samples(*self._place(inputs["prefix"], size))
        if not self._endless:
            return {"samples": drawn, "seed": seed}
        length = inputs["length"]
        inside = tf.range(size)[None] < length[:, None]
        return {"samples": tf.where(inside, drawn, tf.zeros_like(drawn)), "seed": seed, "length": length}

    def _place(self, prefix: tf.Tensor, length: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Events that begin with a prefix [B, P] in the order of drawing, and which of their values it holds."""
        total = length if self._endless else self.model.event.num_dimensions
        values = tf.pad(prefix, [[0, 0], [0, total - tf.shape(prefix)[1]]])
        ranks = tf.range(total) if self._endless else ranks_of_values(self.model)
        if not self._endless:
            values = tf.reshape(tf.gather(values, tf.reshape(ranks, [-1]), axis=1), [-1, *self.model.event_shape])
        return values, tf.broadcast_to(ranks[None] < tf.shape(prefix)[1], tf.shape(values))

    def _log_prob(self) -> Signature:
        model = self.model
        inputs = [event_input(model), *self._given]

        def log_prob(fed: Tensors) -> Tensors:
            values = self._prepare(inputs, fed)
            x, condition = values["x"], condition_of(model, values)
            if not self.model.has_factors:
                nats, score = model.log_prob(x, condition), {}
            else:
                score = {"score": model.score(x, condition)}
                nats = tf.reduce_sum(tf.reshape(score["score"], [tf.shape(x)[0], -1]), -1)
            size = tf.reduce_prod(tf.shape(x)[1:])
            return {"log_prob": nats, "bits_per_dim": bits_per_dim(nats, tf.cast(size, nats.dtype)), **score}

        return Signature("log_prob", "Scores events exactly.", tuple(inputs), log_prob)

    def _describe(self) -> Signature:
        meaning = "one answer for each; a server that batches takes no signature without inputs"
        rows = Input("rows", tf.TensorSpec([None], tf.int32), meaning, default=[0])

        def describe(fed: Tensors) -> Tensors:
            values = self._prepare([rows], fed)
            return {"model": tf.fill(tf.shape(values["rows"]), json.dumps(self.about))}

        return Signature("describe", "Says what the model is.", (rows,), describe)

    # Step by step.

    def _begin(self, fed: Tensors) -> Tensors:
        values = self._prepare(self._draws, fed)
        given = {item.name: values[item.name] for item in self._given}
        return self.sampler.begin(values["seed"], values["temperature"], given, values.get("prefix"))

    def _start(self) -> Signature:
        stamp = states.fingerprint(self.model)

        def start(fed: Tensors) -> Tensors:
            rows = self._begin(fed)
            return {
                "state": states.pack(rows, self.sampler.spec, stamp),
                "position": self.sampler.position(rows),
                "seed": rows["seed"],
            }

        return Signature("start", "Begins events whose state the client holds.", tuple(self._draws), start)

    def _step(self) -> Signature:
        stamp, sampler = states.fingerprint(self.model), self.sampler
        inputs = [states.state_input(sampler.spec), sessions.units_input(sampler)]

        def step(fed: Tensors) -> Tensors:
            values = self._prepare(inputs, fed)
            rows = states.unpack(values["state"], sampler.spec, stamp)
            rows, chunk = sampler.step(rows, values["n"])
            return {**chunk.outputs, "state": states.pack(rows, sampler.spec, stamp)}

        return Signature("step", "Goes on with events that start began.", tuple(inputs), step, (states.ANOTHER,))

    def _session_signatures(self, sampler: Sampler, store: sessions.SessionStore) -> list[Signature]:
        session, units = sessions.session_input(), sessions.units_input(sampler)

        def begin(fed: Tensors) -> Tensors:
            rows = self._begin(fed)
            return {"session_id": store.begin(rows), "position": self.sampler.position(rows), "seed": rows["seed"]}

        def step(fed: Tensors) -> Tensors:
            values = self._prepare([session, units], fed)
            return store.step(values["session_id"], values["n"]).outputs

        def end(fed: Tensors) -> Tensors:
            return {"ended": store.end(self._prepare([session], fed)["session_id"])}

        refused = (sessions.UNKNOWN, sessions.REPEATED, sessions.OVERTAKEN)
        return [
            Signature(
                "session_begin",
                "Begins events whose state the server holds. Where all seeds are "
                f"{(sessions.REHEARSAL_SEED,) * 2} it opens none and answers {sessions.REHEARSAL}.",
                tuple(self._draws),
                begin,
                (sessions.FULL,),
                stateful=True,
            ),
            Signature("session_step", "Goes on with events.", (session, units), step, refused, stateful=True),
            Signature("session_end", "Gives sessions up.", (session,), end, stateful=True),
            Signature("session_stats", "Counts sessions.", (), lambda fed: store.stats()),
        ]

    # Checks.

    @staticmethod
    def _sizes(inputs: Any) -> list[str]:
        """Names of the inputs that say how much of an event without a length of its own is drawn."""
        return [item.name for item in inputs if item.name in ("length", "n")]

    def refusals(self, signature: Signature) -> list[str]:
        """How the texts begin with which a signature refuses requests."""
        texts = [text for item in signature.inputs for text in item.refusals]
        open_ended = [
            item.name for item in signature.inputs if item.early is None and None in item.spec.shape[1:].as_list()
        ]
        sizes = self._sizes(signature.inputs) if self._endless else []
        texts += [positions_refusal(name, self.limits) for name in (*open_ended, *sizes)]
        return [*texts, *signature.refusals]

    def _prepare(self, inputs: Any, fed: Tensors) -> Tensors:
        """Checks the inputs of a request, repeats single values for all examples, draws missing seeds."""
        values = checked(inputs, fed, self.limits)
        checks = []
        unless = None
        if "observed_length" in values:
            # What is not observed may be anything.
            length = tf.reshape(values["observed_length"], [-1, *[1] * len(self.model.event_shape)])
            unless = ranks_of_values(self.model)[None] >= length
        for item in inputs:
            checks += item.check_values(values[item.name], unless if item.name == "x" else None)
        if self._endless:
            for name in self._sizes(inputs):
                checks.append(require_positions(name, tf.size(values[name]), tf.reduce_max(values[name]), self.limits))
            if "length" in values and "prefix" in values:
                checks.append(require_prefix(values["prefix"], tf.reduce_min(values["length"])))
        values = after(checks, values)
        if "seed" in values:
            values["seed"] = fresh_seeds(values["seed"])
        return values


def ranks_of_values(model: AutoregressiveModel) -> tf.Tensor:
    """Place of every value in the order of drawing, int32 [*event_shape]."""
    return tf.constant(np.argsort(model.value_order()[0]).reshape(model.event_shape), tf.int32)
