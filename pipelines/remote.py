"""Draws samples from a server and writes them as `pipelines.sample` writes its own.

The same seed gives the same samples, up to ties of rounding. Pictures and texts need nothing but the server; the rate
of a recording, and conditions other than labels, are read from the work directory.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import flags

from export.client import Client, ServingError
from export.client import command as client_command
from pipelines import command
from pipelines.record import read_config
from pipelines.sample_request import TEXT_LENGTH, check_flags, conditions_of, kind_of

# Symbols of text, and samples of a recording, that one call draws.
_TEXT_CHUNK, _AUDIO_CHUNK = 16, 1000
_HERE_ONLY = ("weights", "top_k", "top_p", "beam_width")


def define_flags() -> None:
    """Defines the flags of the connection to a server."""
    for flag in client_command.CONNECTION:
        define = flags.DEFINE_float if flag.kind is float else flags.DEFINE_string
        define(flag.name, flag.default, flag.help)


def main() -> int:
    """Runs `pipelines.sample` with --server; returns the exit code."""
    values = flags.FLAGS
    for name in _HERE_ONLY:
        if values[name].present:
            raise ValueError(f"--{name} is for samples that are drawn here; a server draws what was exported")
    connection = {flag.name: values[flag.name].value for flag in client_command.CONNECTION}
    with client_command.connect(connection, pathlib.Path(values.workdir).name) as client:
        try:
            record = read_record(client)
            kind = kind_of(record)
            num, out = check_flags(record, kind)
            command.import_quietly()
            given: dict[str, Any] = {
                "condition": conditions_of(values.workdir, record, values.label, num),
                "temperature": values.temperature,
            }
            {"image": _images, "text": _texts, "audio": _recordings}[kind](client, record, num, out, given)
        except ServingError as error:
            raise command.RunFailed(client_command.explain(error, client)) from error
    if out is not None:
        print(f"{num} {'sample' if num == 1 else 'samples'}: {out}")
    return 0


def read_record(client: Client) -> dict[str, Any]:
    """Reads the description of the exported model, from the run or, without a run, from the server.

    Raises:
        ValueError: the work directory is that of another model, or it is needed and is not there.
    """
    values = flags.FLAGS
    workdir = pathlib.Path(values.workdir)
    event_shape = list(client.event_shape)
    if values["workdir"].present or (workdir / "config.json").exists():
        record = read_config(workdir)
        if record["resolved"]["event_shape"] == event_shape:
            return record
        if values["workdir"].present:
            raise ValueError(
                f"--workdir={workdir} holds a run of events {record['resolved']['event_shape']}, the server's "
                f"{client.model_name} has {event_shape}"
            )
    about = client.describe()
    kinds, vocabulary = [part["kind"] for part in about["condition"]], about["vocabulary"]
    if len(event_shape) == 1 and vocabulary is None:
        raise ValueError(
            f"{client.model_name} draws sequences; what their numbers stand for is written in the run: give --workdir"
        )
    if kinds not in ([], ["Label"]):
        raise ValueError(
            f"{client.model_name} takes {' and '.join(kinds)}, whose values are those of the data: give --workdir"
        )
    condition = {"name": "Label", "num_labels": about["condition"][0]["num_labels"]} if kinds else None
    shape, data = (event_shape, "") if vocabulary is None else ([None], "text")
    resolved = {"event_shape": shape, "condition": condition, "model": {"vocabulary": vocabulary}}
    return {"config": {"data": {"name": data}}, "resolved": resolved}


def _images(client: Client, record: dict[str, Any], num: int, out: str, given: dict[str, Any]) -> None:
    from pipelines import pictures

    values = flags.FLAGS
    x = client.sample(num, seed=values.seed, batch_size=values.batch_size, **given).samples
    images = pictures.to_images(x, client.describe()["levels"])
    pictures.save_png(pictures.grid(images, values.columns), out)


def _texts(client: Client, record: dict[str, Any], num: int, out: str | None, given: dict[str, Any]) -> None:
    from pipelines import text
    from tfar.core.vocabulary import Vocabulary

    values, resolved = flags.FLAGS, record["resolved"]
    symbols = Vocabulary(resolved["model"].get("vocabulary"))
    prompt = symbols.encode(values.prompt)
    length = values.length or TEXT_LENGTH
    pieces: list[str] = []
    write: Callable[[str], Any] = pieces.append if out is not None else lambda piece: print(piece, end="", flush=True)
    for row in range(num):
        if num > 1:
            write(f"--- {row + 1} ---\n")
        write(values.prompt)
        one = {**given, "condition": None if given["condition"] is None else given["condition"][row : row + 1]}
        drawn = _chunks(client, 1, length, _TEXT_CHUNK, np.array([[values.seed, row]], np.int64), prompt, one)
        for piece in text.characters(symbols, (chunk[0] for chunk in drawn)):
            write(piece)
        write("\n")
    if out is not None:
        pathlib.Path(out).write_text("".join(pieces), encoding="utf-8")


def _recordings(client: Client, record: dict[str, Any], num: int, out: str, given: dict[str, Any]) -> None:
    from pipelines import audio
    from pipelines import workdir as runs

    values, length, condition = flags.FLAGS, flags.FLAGS.length, record["resolved"]["condition"]
    arrays, info = runs.load_split(record["config"], "test")
    if condition is not None and condition["name"] == "Local":
        frames = given["condition"].shape[1]
        frames = frames if length is None else min(frames, -(-length // condition["hop"]))
        given["condition"], length = given["condition"][:, :frames], frames * condition["hop"]
    elif length is None:
        length = int(np.median(arrays["length"]))
    seeds = np.stack([np.full([num], values.seed), np.arange(num)], 1)
    if "start" in client.signatures:
        parts = list(_chunks(client, num, length, _AUDIO_CHUNK, seeds, np.zeros([0], np.int32), given))
        codes = np.concatenate(parts, 1)
    else:
        print("this model has no steps: a whole recording is one call, and --timeout may need to grow", file=sys.stderr)
        codes = client.sample(num, seed=seeds, length=length, batch_size=values.batch_size, **given).samples
    audio.write_wav(out, audio.to_samples(codes, record["resolved"]["head"]["levels"]), info.sample_rate)


def _chunks(
    client: Client, num: int, length: int, size: int, seed: np.ndarray, prompt: np.ndarray, given: dict[str, Any]
) -> Iterator[np.ndarray]:
    """Yields pieces [num, n] of sequences of `length` values behind a prompt."""
    with client.stream(num, seed=seed, prefix=prompt if len(prompt) else None, n=size, **given) as stream:
        while length > 0 and not stream.done:
            chunk = stream.step(min(size, length)).values
            length -= chunk.shape[1]
            yield chunk
