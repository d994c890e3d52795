"""A client of TensorFlow Serving for the models that `python -m export` writes: NumPy in, NumPy out.

    with Client("localhost:8500", "digits") as client:
        samples, seeds = client.sample(16, condition=3, seed=1, temperature=0.9)
        scores = client.log_prob(samples, condition=3)
        with client.stream(4, condition=3) as stream:
            for rows in stream:
                ...                                  # rows.values [4, 1, width, channels]

A request of more examples than the model takes becomes several calls, whose answers are joined: every example is a
function of its own seed. The client talks to any server of PredictionService, and needs grpcio, protobuf and NumPy, but
neither TensorFlow nor tfar.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from export.client import parts
from export.client.calls import Calls
from export.client.messages import GET_MODEL_METADATA, MESSAGES, PREDICT, to_array, to_proto
from export.client.parts import Drawn, Limits, Scores
from export.client.signatures import Signature, cast, read_signature, seeds
from export.client.streams import JoinedStream, SessionStream, StateStream, Stream
from export.client.tls import channel_credentials

# Calls whose repetition would act twice. `session_end` may be repeated: a session that is unknown is not ended.
_ACT = ("session_begin", "session_step")
_UNITS_OF_A_STEP = {"row": 1, "value": 64, "cell": 64}
_BATCH = 64


class Client:
    """Calls one model of a server. Use it in a `with` statement, or call `close`; threads may share it.

    Args:
        server: "host:port"; "dns:///name:port" for every address of a name.
        model_name: name of the model.
        version: number of the version; None for the one that the server chooses.
        label: label of the version ("stable", "canary"), instead of a number.
        timeout: seconds that a call may take with its retries; no call goes without a deadline.
        retries: how often a call is tried again after UNAVAILABLE or RESOURCE_EXHAUSTED, where nothing can happen
            twice; calls.py says when.
        root_certificates: PEM of the authority that signed the server's certificate, or its file; switches TLS on.
        private_key: PEM of the client's own key, or its file, where the server asks for one.
        certificate_chain: PEM of the client's own certificate, or its file.
        round_robin: sends calls to all addresses in turn. Sessions live in one server: `stream` then holds states.
        channel_options: further options of gRPC, (name, value).

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        server: str,
        model_name: str = "default",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        root_certificates: str | bytes | os.PathLike | None = None,
        private_key: str | bytes | os.PathLike | None = None,
        certificate_chain: str | bytes | os.PathLike | None = None,
        round_robin: bool = False,
        channel_options: Sequence[tuple[str, Any]] = (),
    ):
        if version is not None and label is not None:
            raise ValueError(f"give either version or label, got version={version} and label={label!r}")
        if not 0 < timeout < float("inf"):
            raise ValueError(f"timeout must be a positive number of seconds, got {timeout}")
        if retries < 0:
            raise ValueError(f"retries must be at least 0, got {retries}")
        self.server, self.model_name, self.version, self.label = server, model_name, version, label
        self.round_robin = round_robin
        credentials = channel_credentials(root_certificates, private_key, certificate_chain)
        self.calls = Calls(server, timeout, retries, credentials, round_robin, channel_options)
        self.answered: int | None = None
        """Version that answered last."""
        self._known: tuple[int, dict[str, Signature]] | None = None
        self._limits: tuple[int | None, Limits] | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.calls.close()

    # What the model is.

    @property
    def signatures(self) -> dict[str, Signature]:
        """The signatures by name; asked for once, and again when another version has answered.

        Raises:
            ServingError: the server does not answer, or has no such model.
        """
        if self._known is None or self.answered not in (None, self._known[0]):
            request = MESSAGES["GetModelMetadataRequest"](metadata_field=["signature_def"])
            self._specify(request.model_spec, self.version)
            reply = self.calls.call(GET_MODEL_METADATA, request, MESSAGES["GetModelMetadataResponse"])
            every = MESSAGES["SignatureDefMap"].FromString(reply.metadata["signature_def"].value).signature_def
            found = {name: read_signature(every[name]) for name in sorted(every) if not name.startswith("__")}
            self.answered = reply.model_spec.version.value
            self._known = self.answered, found
        return self._known[1]

    @property
    def retries(self) -> int:
        """How often a call is tried again."""
        return self.calls.retries

    @property
    def event_shape(self) -> tuple[int | None, ...]:
        """Shape of an event; (None,) where a model has no length of its own."""
        return tuple(self._signature("sample").outputs["samples"].shape[1:])

    @property
    def unit(self) -> str | None:
        """The unit that a step of a stream draws: "row", "value" or "cell"; None where there are no steps."""
        for name in ("session_step", "step"):
            if name in self.signatures:
                outputs = self.signatures[name].outputs
                return "cell" if "cells" in outputs else "value" if len(outputs["chunk"].shape) == 2 else "row"
        return None

    @property
    def values_per_unit(self) -> int:
        """Values that a unit holds."""
        name = "session_step" if "session_step" in self.signatures else "step"
        return int(np.prod([size or 1 for size in self._signature(name).outputs["chunk"].shape[2:]]))

    def describe(self) -> dict[str, Any]:
        """Asks the server for the model's description: "event_shape", "levels", "condition", "vocabulary", and so on.

        Raises:
            ServingError: the call failed.
            ValueError: the model was not exported by `python -m export`.
        """
        return json.loads(self.predict("describe", {"rows": 0})["model"][0])

    @property
    def limits(self) -> Limits:
        """The most that one call may ask of the model; asked for once, and again when another version has answered.

        Raises:
            ServingError: the server does not answer.
        """
        known = self._limits
        if known is None or known[0] != self.answered:
            limits = Limits.read(self.describe()) if "describe" in self.signatures else Limits()
            known = self._limits = self.answered, limits
        return known[1]

    # Calls.

    def sample(
        self,
        num: int = 1,
        condition: Any = None,
        seed: Any = None,
        temperature: Any = 1.0,
        prefix: Any = None,
        length: Any = None,
        batch_size: int = _BATCH,
        timeout: float | None = None,
    ) -> Drawn:
        """Draws events.

        Args:
            num: number of events.
            condition: [num, ...], or one value that stands for all; a tuple where there are several conditions.
            seed: int s for the seeds [s, row] that `model.sample(seed=s)` uses; int64 [num, 2]; None for entropy.
            temperature: positive, [num] or one number.
            prefix: [num, P] or [P], the first values in the order of drawing, kept as they are.
            length: values to draw, for models of any length.
            batch_size: events of one call; fewer where the model takes fewer.
            timeout: seconds of one call.

        Raises:
            ServingError: a call failed.
            ValueError: an argument has no examples, or does not fit the signature.
        """
        inputs = self._draws("sample", num, condition, seed, temperature, prefix)
        if length is not None:
            inputs["length"] = length
        inputs = self._fill("sample", inputs, num)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        drawn = parts.join([self.predict("sample", part, timeout=timeout) for part in parts.split(inputs, batch_size)])
        return Drawn(drawn["samples"], drawn["seed"])

    def complete(
        self,
        x: Any,
        observed_length: Any,
        condition: Any = None,
        seed: Any = None,
        temperature: Any = 1.0,
        timeout: float | None = None,
    ) -> Drawn:
        """Keeps the first values of events and draws the others.

        Args:
            x: events [B, *event_shape].
            observed_length: values kept, in the order of drawing: [B] or one number.
            condition: as of `sample`.
            seed: as of `sample`.
            temperature: as of `sample`.
            timeout: seconds of one call.
        """
        inputs = {"x": x, "observed_length": observed_length}
        inputs |= self._draws("complete", self._rows("complete", x), condition, seed, temperature, None)
        outputs = self.predict("complete", inputs, timeout=timeout)
        return Drawn(outputs["samples"], outputs["seed"])

    def log_prob(self, x: Any, condition: Any = None, timeout: float | None = None) -> Scores:
        """Scores events [B, *event_shape]; arguments as of `sample`."""
        outputs = self.predict("log_prob", {"x": x, **self._conditions("log_prob", condition)}, timeout=timeout)
        return Scores(outputs["log_prob"], outputs["bits_per_dim"], outputs.get("score"))

    def stream(
        self,
        num: int = 1,
        condition: Any = None,
        seed: Any = None,
        temperature: Any = 1.0,
        prefix: Any = None,
        n: int | None = None,
        kind: str | None = None,
        timeout: float | None = None,
    ) -> Stream:
        """Draws events piece by piece: the same events as `sample`.

        Args:
            num: number of events.
            condition: as of `sample`.
            seed: as of `sample`.
            temperature: as of `sample`.
            prefix: as of `sample`.
            n: units of a step; by default 1 row of an image, or 64 values.
            kind: "state" (the client holds it: any replica continues, restarts do no harm), or "session" (the server
                holds it); None for the first of them that the model has.
            timeout: seconds of one call.

        Raises:
            ServingError: a call failed.
            ValueError: the model has no such signatures, or an argument does not fit.
        """
        kinds = {"state": ("start", StateStream), "session": ("session_begin", SessionStream)}
        if kind not in (None, *kinds):
            raise ValueError(f"kind must be one of {', '.join(kinds)}, got {kind!r}")
        if self.round_robin and kind == "session":
            raise ValueError("kind='session' needs one server: a client with round_robin asks another one each time")
        there = [key for key, (name, _) in kinds.items() if name in self.signatures]
        if self.round_robin and "session" in there:
            there.remove("session")
        if not there or (kind is not None and kind not in there):
            raise ValueError(f"{self.model_name} has no signatures for a stream of kind {kind}; it has {there}")
        name, made = kinds[kind or there[0]]
        inputs = self._fill(name, self._draws(name, num, condition, seed, temperature, prefix), num)
        units = _UNITS_OF_A_STEP[self.unit or "value"] if n is None else n
        if units < 1:
            raise ValueError(f"n must be at least 1, got {units}")
        split = made is SessionStream and num > 1
        most = self._most({**inputs, "n": np.array([units])}) if split else num
        if num <= most:
            return made(self, inputs, units, timeout)
        return JoinedStream(self, parts.split(inputs, most), units, timeout)

    def session_stats(self) -> dict[str, float]:
        """Numbers of slots and sessions of the server that answers."""
        return {name: value.item() for name, value in self.predict("session_stats", {}).items()}

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        output_filter: Sequence[str] = (),
        timeout: float | None = None,
        version: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Calls any signature.

        Every input is sent, with as many examples as the others, whatever may be left out: a server that batches knows
        no defaults of one example. More examples than the model takes become several calls of one version, except of
        `session_begin` and `session_step`: half of their work could be lost.

        Args:
            signature: its name.
            inputs: arrays by name, cast to the types of the signature where no value changes by it. One example, or a
                value without the dimension of examples, stands for all examples.
            output_filter: names of outputs; all of them by default.
            timeout: seconds of one call.
            version: number of the version; None for the client's.

        Returns:
            Arrays by name; strings are objects, of type bytes.

        Raises:
            ServingError: the call failed; it has `code` and `message`.
            ValueError: there is no such signature or input, one is missing, has no examples or does not fit.
        """
        values = self._fill(signature, inputs)
        num, most = parts.count(values), 1
        if num > 1:
            most = num if signature in _ACT else self._most(values)
        found = []
        for part in parts.split(values, most):
            outputs, answered = self._predict(signature, part, output_filter, timeout, version)
            version = answered if num > most else version
            found.append(outputs)
        return found[0] if len(found) == 1 else parts.join(found)

    def _most(self, values: Mapping[str, np.ndarray]) -> int:
        """Returns how many of these examples one call may have."""
        return self.limits.fitting(values, "sample" in self.signatures and None in self.event_shape)

    def _predict(
        self,
        signature: str,
        values: Mapping[str, np.ndarray],
        output_filter: Sequence[str],
        timeout: float | None,
        version: int | None,
    ) -> tuple[dict[str, np.ndarray], int]:
        """One call: the outputs, and the version that answered."""
        request = MESSAGES["PredictRequest"](output_filter=list(output_filter))
        self._specify(request.model_spec, self.version if version is None else version)
        request.model_spec.signature_name = signature
        for name, value in values.items():
            to_proto(value, request.inputs[name])
        reply = self.calls.call(PREDICT, request, MESSAGES["PredictResponse"], timeout, acts=signature in _ACT)
        self.answered = answered = reply.model_spec.version.value
        return {name: to_array(proto) for name, proto in reply.outputs.items()}, answered

    # Parts of requests.

    def _specify(self, spec: Any, version: int | None) -> None:
        spec.name = self.model_name
        if version is not None:
            spec.version.value = version
        elif self.label is not None:
            spec.version_label = self.label

    def _signature(self, name: str) -> Signature:
        if name not in self.signatures:
            raise ValueError(f"{self.model_name} has no signature {name!r}; it has {', '.join(self.signatures)}")
        return self.signatures[name]

    def _draws(self, name: str, num: int, condition: Any, seed: Any, temperature: Any, prefix: Any) -> dict[str, Any]:
        if num < 1:
            raise ValueError(f"num must be at least 1, got {num}: a server that batches never answers an empty batch")
        inputs = {"seed": seeds(num, seed), "temperature": temperature, **self._conditions(name, condition)}
        return inputs if prefix is None else {**inputs, "prefix": prefix}

    def _conditions(self, name: str, condition: Any) -> dict[str, Any]:
        """Returns the values of the condition by the names of the inputs."""
        names = [key for key in self._signature(name).inputs if key.partition("_")[0] == "condition"]
        if condition is None:
            return {}
        if not names:
            raise ValueError(f"{self.model_name} takes no condition, got {condition!r}")
        values = [condition] if names == ["condition"] else list(condition)
        if len(values) != len(names):
            raise ValueError(f"condition must be a tuple of {len(names)} values, got {len(values)}")
        return dict(zip(sorted(names, key=lambda key: (len(key), key)), values, strict=True))

    def _rows(self, name: str, x: Any) -> int:
        return len(cast("x", x, self._signature(name).inputs["x"]))

    def _fill(self, name: str, given: Mapping[str, Any], rows: int | None = None) -> dict[str, np.ndarray]:
        """Fills in all inputs of a signature, each for all examples."""
        signature = self._signature(name)
        unknown = sorted(set(given) - set(signature.inputs))
        if unknown:
            raise ValueError(f"{name} has no input {unknown[0]!r}; it takes {', '.join(signature.inputs)}")
        values = {}
        for key, tensor in signature.inputs.items():
            if key not in given and tensor.default is None:
                raise ValueError(f"{name} needs the input {key!r}")
            values[key] = cast(key, given.get(key, tensor.default), tensor)
            if not len(values[key]):
                raise ValueError(f"{key} has no examples: a server that batches never answers an empty batch")
        rows = max([len(value) for value in values.values()], default=0) if rows is None else rows
        for key, value in values.items():
            if len(value) not in (1, rows):
                raise ValueError(f"{key} must have one example, or {rows}, got shape {value.shape}")
            values[key] = value if len(value) == rows else np.repeat(value, rows, 0)
        return values
