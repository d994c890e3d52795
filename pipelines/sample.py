"""Draws samples of a trained model.

Images go into a PNG picture, text to the terminal as it is produced (or into a file), audio into a WAV file.

python -m pipelines.sample --workdir=runs/digits --num=16 --out=samples.png [--label=3] [--temperature=0.9] [--seed=1]
python -m pipelines.sample --workdir=runs/text_transformer --prompt="ROMEO:" --length=500 [--top_k=20] [--top_p=0.9]
                           [--beam_width=8] [--out=samples.txt]
python -m pipelines.sample --server=localhost:8500 [--model_name=digits]       the same drawn by a server
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from absl import flags

from pipelines import command, remote
from pipelines.record import read_config
from pipelines.sample_request import TEXT_LENGTH, check, check_flags, check_length, conditions_of, kind_of


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", "runs/digits", "Work directory of the run.")
    flags.DEFINE_integer("num", None, "Number of samples; by default 16 images, 1 text or 1 recording.")
    flags.DEFINE_string("out", None, "File to write; samples.png for images, samples.wav for audio, none for text.")
    flags.DEFINE_integer("label", None, "Label to condition on; without it the labels take turns.")
    flags.DEFINE_float("temperature", 1.0, "Positive; below 1 the samples are more probable ones.")
    flags.DEFINE_integer("seed", 0, "Seed: the same seed gives the same samples.")
    flags.DEFINE_enum("weights", "ema", ["ema", "raw"], "Averaged or raw weights, of the best checkpoint.")
    flags.DEFINE_integer("batch_size", 64, "Samples drawn together.", lower_bound=1)
    flags.DEFINE_integer("columns", None, "Images: samples in a row of the picture.", lower_bound=1)
    flags.DEFINE_integer("length", None, "Text: characters behind the prompt. Audio: samples.", lower_bound=1)
    flags.DEFINE_string("prompt", "", "Text: how the samples begin.")
    flags.DEFINE_integer("top_k", None, "Text: draw among the k most probable characters.", lower_bound=1)
    flags.DEFINE_float("top_p", None, "Text: draw among the most probable characters of this probability together.")
    flags.DEFINE_integer("beam_width", None, "Text: search with so many beams instead of drawing.", lower_bound=1)
    remote.define_flags()


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    check(1 if values.num is None else values.num, values.temperature, values.seed)  # before TensorFlow loads
    if values.server is not None:
        return remote.main()
    record = read_config(values.workdir)
    kind = kind_of(record)
    num, out = check_flags(record, kind)
    command.import_quietly()
    shared = {key: getattr(values, key) for key in ("label", "temperature", "seed", "weights")}
    if kind == "image":
        sample(values.workdir, num, out, batch_size=values.batch_size, columns=values.columns, **shared)
    elif kind == "text":
        decoding = {key: getattr(values, key) for key in ("prompt", "top_k", "top_p", "beam_width")}
        sample_text(values.workdir, num, out, length=values.length or TEXT_LENGTH, **decoding, **shared)
    else:
        sample_audio(values.workdir, num, out, length=values.length, batch_size=values.batch_size, **shared)
    if out is not None:
        print(f"{num} {'sample' if num == 1 else 'samples'}: {out}")
    return 0


def sample(
    workdir: str,
    num: int,
    out: str,
    label: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    weights: str = "ema",
    batch_size: int = 64,
    columns: int | None = None,
) -> np.ndarray:
    """Draws samples and writes the picture.

    Args:
        workdir: of the run.
        num: number of samples.
        out: PNG file to write.
        label: to condition on; None lets the labels take turns.
        temperature: positive.
        seed: int >= 0.
        weights: "ema" or "raw".
        batch_size: samples drawn together.
        columns: samples in a row of the picture; about as many as rows by default.

    Returns:
        The samples [num, *event_shape].

    Raises:
        ValueError: an argument is out of range, or a label is given to a model without a Label condition.
    """
    check(num, temperature, seed, out, ".png")
    from pipelines import pictures
    from pipelines import workdir as runs
    from tfar import training

    record = read_config(workdir)
    conditions = conditions_of(workdir, record, label, num)
    model = runs.load_run(workdir, weights).model
    bar = training.ProgressBar(1, "sample")

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)

    x = model.sample(
        num,
        condition=conditions,
        seed=seed,
        temperature=temperature,
        batch_size=min(num, batch_size),
        jit_compile=runs.worth_compiling(num, model.event_shape),
        progress=progress,
    ).numpy()
    bar.close()
    pictures.save_png(pictures.grid(pictures.to_images(x, model.head.levels), columns), out)
    return x


def sample_text(
    workdir: str,
    num: int,
    out: str | None = None,
    length: int = TEXT_LENGTH,
    prompt: str = "",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    beam_width: int | None = None,
    label: int | None = None,
    seed: int = 0,
    weights: str = "ema",
) -> list[str]:
    """Draws texts; each piece is written to the terminal as soon as it is there, or all of them into a file.

    Args:
        workdir: of the run.
        num: number of texts.
        out: TXT file to write; None writes to the terminal.
        length: characters behind the prompt.
        prompt: how the texts begin.
        temperature: positive.
        top_k: draw among the k most probable characters.
        top_p: draw among the most probable characters of this probability together.
        beam_width: search with so many beams instead of drawing.
        label: to condition on; None lets the labels take turns.
        seed: int >= 0.
        weights: "ema" or "raw".

    Returns:
        The texts.

    Raises:
        ValueError: an argument is out of range; a character of the prompt is not in the vocabulary (it is named).
    """
    check(num, temperature, seed, out, ".txt")
    from pipelines import text
    from pipelines import workdir as runs

    record = read_config(workdir)
    conditions = conditions_of(workdir, record, label, num)
    model = runs.load_run(workdir, weights).model
    check_length(length, len(text.vocabulary(model).encode(prompt)), model)
    pieces: list[str] = []

    def show(piece: str) -> None:
        print(piece, end="", flush=True)

    decoding: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "beam_width": beam_width}
    write = show if out is None else pieces.append
    texts = text.generate(model, prompt, length, num, seed=seed, condition=conditions, write=write, **decoding)
    if out is not None:
        pathlib.Path(out).write_text("".join(pieces), encoding="utf-8")
    return texts


def sample_audio(
    workdir: str,
    num: int,
    out: str = "samples.wav",
    length: int | None = None,
    label: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    weights: str = "ema",
    batch_size: int = 64,
) -> np.ndarray:
    """Draws recordings and writes them into one file, with pauses in between.

    Args:
        workdir: of the run.
        num: number of recordings.
        out: WAV file to write.
        length: samples of each; by default the median length of the test split, or that of its local condition.
        label: to condition on; None lets the labels take turns.
        temperature: positive.
        seed: int >= 0.
        weights: "ema" or "raw".
        batch_size: recordings drawn together.

    Returns:
        Samples [num, length] in [-1, 1].

    Raises:
        ValueError: an argument is out of range, or a label is given to a model without a Label condition.
    """
    check(num, temperature, seed, out, ".wav")
    from pipelines import audio
    from pipelines import workdir as runs
    from tfar import training

    record = read_config(workdir)
    conditions = conditions_of(workdir, record, label, num)
    run = runs.load_run(workdir, weights)
    arrays, info = runs.load_split(run.config, "test")
    hop = None if run.model.condition is None else run.model.condition.hop
    if hop is not None:
        frames = conditions.shape[1] if length is None else min(conditions.shape[1], -(-length // hop))
        conditions, length = conditions[:, :frames], frames * hop
    elif length is None:
        length = int(np.median(arrays["length"]))
    bar = training.ProgressBar(1, "sample")

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)

    options = {"batch_size": min(num, batch_size), "progress": progress}
    samples = audio.draw(run.model, num, length, conditions, seed, temperature, **options)
    bar.close()
    audio.write_wav(out, samples, info.sample_rate)
    return samples


if __name__ == "__main__":
    command.run(main, define_flags)
