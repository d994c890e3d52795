"""Writes the documents of a version: SIGNATURES.md, MODEL_CARD.md and assets.extra/tfar.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import tfar
from export.client.signatures import read_signature
from export.writer import batching_params, states
from export.writer.signatures import Signature, Signatures

SIGNATURES, CARD, FACTS = "SIGNATURES.md", "MODEL_CARD.md", Path("assets.extra", "tfar.json")


def write(version: Path, signatures: Signatures, report: Any, facts: Mapping[str, Any]) -> None:
    """Writes the three files.

    Args:
        version: folder of the version, with its saved_model.pb.
        signatures: what it holds.
        report: what the check of the export found.
        facts: what is known of the training: "data", "split", "bits_per_dim", "num_examples", "weights", ...
    """
    definitions = read_signatures(version)
    (version / SIGNATURES).write_text(_reference(signatures, definitions), encoding="utf-8")
    (version / CARD).write_text(_card(signatures, report, facts), encoding="utf-8")
    (version / FACTS).parent.mkdir(exist_ok=True)
    (version / FACTS).write_text(json.dumps(signatures.about, indent=2) + "\n", encoding="utf-8")


def read_signatures(version: Path) -> dict[str, Any]:
    """Returns the SignatureDefs of a version by name, without those that loaders use."""
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    every = saved.meta_graphs[0].signature_def
    return {name: every[name] for name in sorted(every) if not name.startswith("__")}


def _reference(signatures: Signatures, definitions: Mapping[str, Any]) -> str:
    """Writes the signature reference as Markdown."""
    lines = [
        f"# Signatures of {signatures.name}",
        "",
        "B is the number of examples (events). An input has B entries, or one entry for all of them. Nothing is cast:"
        " types must be those given here. What is refused, is refused with INVALID_ARGUMENT and"
        " `assertion failed: [TEXT]`, where TEXT begins as listed.",
        *_bounds(signatures),
    ]
    for key, definition in definitions.items():
        signature = signatures.every[key]
        if signature.name != key:
            lines += ["", f"## {key}", "", f"The same as {signature.name}."]
            continue
        lines += ["", f"## {key}", "", signature.meaning, "", *_tensors(signature, definition)]
        texts = signatures.refusals(signature)
        if texts:
            lines += ["", "Refused:", "", *(f"- `{text}`" for text in texts)]
        reason = batching_params.why_not(definition, signature.stateful)
        lines += ["", "Batching: " + ("possible." if reason is None else f"not possible, {reason}.")]
    return "\n".join(lines) + "\n"


def _bounds(signatures: Signatures) -> list[str]:
    """Returns what a request may ask for, what stops it, and which samples are equal."""
    limits = signatures.limits
    endless = None in signatures.model.event_shape
    positions = f", and at most {limits.positions} positions in all of them together" if endless else ""
    return [
        "",
        f"A request has at most {limits.examples} examples{positions}; more are refused before anything is repeated or"
        f" drawn (`NAME must have at most {limits.examples} examples; examples:`). Ask several times, as export/client"
        " does: an example depends on its own inputs alone.",
        "",
        "Set a deadline on every call: a plain loop stops at its deadline. TensorFlow Serving stops it at nothing else:"
        " a call whose client has gone runs to its end, which the bound above keeps near. The local server also stops a"
        " call that its client cancels, and one without a deadline after --max_call_seconds"
        f"{', except that it lets calls that are drawn together run to their end' * signatures.options.batch_calls}.",
        "",
        "The same version, processor and number of examples in a call give the same samples of the same inputs. Among"
        " another number of examples matrix products may round otherwise: samples are equal but for a draw whose noise"
        " lies within rounding of the boundary between two values, from which on that event goes another way.",
    ]


def _tensors(signature: Signature, definition: Any) -> list[str]:
    """Returns a table of inputs and outputs."""
    rows, known = ["| | name | type | meaning |", "|---|---|---|---|"], read_signature(definition)
    for item in signature.inputs:
        meaning = item.meaning if item.accepted is None else f"{item.meaning}; must {item.accepted}"
        rows.append(f"| in | `{item.name}` | {known.inputs[item.name]} | {meaning} |")
    for key, tensor in known.outputs.items():
        rows.append(f"| out | `{key}` | {tensor} | {signature.output_meaning(key)} |")
    return rows


def _card(signatures: Signatures, report: Any, facts: Mapping[str, Any]) -> str:
    """Writes the model card as Markdown."""
    model, store = signatures.model, signatures.store
    parameters = model.count_params()
    lines = [
        f"# {signatures.name}",
        "",
        f"- model: {type(model).__name__}, {parameters:,} parameters, {model.head!r}",
        f"- events: {list(model.event_shape)}, {model.head.dtype.name}",
        f"- condition: {'none' if model.condition is None else repr(model.condition)}",
        f"- fingerprint: {states.fingerprint(model)} (states of clients carry it)",
        f"- written by tfar {tfar.__version__} with TensorFlow {tf.__version__}",
    ]
    lines += [f"- {key.replace('_', ' ')}: {_plain(value)}" for key, value in facts.items()]
    lines += [
        "",
        f"Checked in a v1 session: {report.num_samples} events drawn by the exported signatures equal Python's from "
        f"the same seeds, {report.num_ties} of them up to a tie of rounding; log_prob within "
        f"{report.log_prob_difference:.1e}.",
    ]
    if store is not None:
        lines += [
            "",
            f"Sessions: {store.slots} slots, {store.bytes / 1e6:.1f} MB; a session expires {store.ttl:g} seconds after "
            "its last step. They live in one server process and end with the version: behind a balancer use `start` "
            "and `step`, or route a session to the replica that began it.",
        ]
    lines += [
        "",
        "A sample is a function of its seed, temperature and condition alone, up to ties of rounding. SIGNATURES.md "
        "lists the calls and says when samples are equal.",
    ]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
