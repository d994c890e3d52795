"""Writes the results of a run: test score, samples, likelihood maps, completions, and report.html with all of it."""

from __future__ import annotations

import html
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines import audio, evaluations, pictures, scoring, text
from pipelines import workdir as runs
from tfar import training
from tfar.core import extras
from tfar.core.files import write_atomically
from tfar.core.request import Request
from tfar.core.units import Unit, bits_per_dim
from tfar.data import DataInfo
from tfar.training.event_files import EVENTS

_SEED = 0  # of every sample in a report
# Units of the time axis: the first of which a run takes less than 120.
_TIMES = ((1.0, "seconds"), (60.0, "minutes"), (3600.0, "hours"))


_IN_A_ROW = 10  # samples of an evaluation


def at_evaluation(
    workdir: pathlib.Path, info: DataInfo, config: dict[str, Any]
) -> Callable[[int, Any], np.ndarray | None]:
    """Returns what a run calls at every evaluation: it draws, and keeps what it drew for the report.

    Args:
        workdir: of the run.
        info: of the training data.
        config: the run's configuration.

    Returns:
        (step, model) -> samples as one image, uint8 [1, H, W, C], for TensorBoard; None for sequences.
    """

    def draw(step: int, model: Any) -> np.ndarray | None:
        if info.is_sequence:
            if model.text_vocabulary is not None and model.condition is None:
                drawn = text.samples(model, config["report"]["num_samples"])[0]
                evaluations.keep(workdir, step, drawn.encode(), "txt")
            return None
        num = config["report"]["sample_batch_size"]
        samples = _samples(model, info, config, num)
        evaluations.keep(workdir, step, pictures.png(pictures.grid(samples[:_IN_A_ROW], _IN_A_ROW)), "png")
        image = np.asarray(pictures.grid(samples, _columns(info, num)))
        return image[None, :, :, None] if image.ndim == 2 else image[None]

    return draw


def finish(workdir: pathlib.Path, outcome: training.Outcome, command: str, model: Any = None) -> training.Score:
    """Scores the best checkpoint on the test split and writes model.keras, test.json, samples and report.html.

    Args:
        workdir: of the run.
        outcome: of the training loop.
        command: that reproduces the run.
        model: the run's model, where there is one that is compiled already; it gets the best averaged weights.

    Returns:
        The test score.
    """
    run = runs.load_run(workdir, model=model)
    temporary = workdir / runs.UNFINISHED_MODEL
    run.model.save(temporary)
    temporary.replace(workdir / "model.keras")
    began = time.monotonic()
    score, arrays, info = scoring.score_run(run, "test")
    record = {
        **score.to_json(),
        "step": run.step,
        "parameters": run.model.count_params(),
        "training_seconds": round(outcome.seconds, 1),
        "scoring_seconds": round(time.monotonic() - began, 3),
        "command": command,
    }
    write_atomically(workdir / "test.json", (json.dumps(record, indent=2) + "\n").encode())
    sections = _of_sequences(workdir, run, info, arrays) if info.is_sequence else _of_images(workdir, run, info, arrays)
    sections += evaluations.section(workdir, outcome.step, _shown)
    page = _page(workdir, run, info, score, outcome, command, sections)
    write_atomically(workdir / "report.html", page.encode())
    return score


# === Pictures ===


def _conditions(info: DataInfo, arrays: dict[str, np.ndarray] | None, num: int) -> Any:
    """Labels take turns; other conditions are those of the test examples."""
    if info.condition is None:
        return None
    if info.num_labels and info.condition_shape == ():
        return np.arange(num, dtype=np.int32) % info.num_labels
    if arrays is None:
        return None
    return arrays["condition"][np.arange(num) % len(arrays["condition"])]


def _columns(info: DataInfo, num: int) -> int | None:
    """Returns a column for each label, where samples are conditional on it and there are not too many."""
    if info.condition == "label" and info.num_labels and info.num_labels <= 20:
        return min(num, info.num_labels)
    return None


def _samples(model: Any, info: DataInfo, config: dict[str, Any], num: int) -> np.ndarray:
    arrays = None
    if info.condition is not None and info.condition_shape != ():
        arrays, _ = runs.load_split(config, "test")
    bar = training.ProgressBar(1, "sample")

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)

    x = model.sample(
        num,
        condition=_conditions(info, arrays, num),
        seed=_SEED,
        batch_size=min(num, config["report"]["sample_batch_size"]),
        jit_compile=runs.worth_compiling(num, model.event_shape),
        progress=progress,
    )
    bar.close()
    return pictures.to_images(x, info.levels)


def _examples(arrays: dict[str, np.ndarray], info: DataInfo, num: int) -> np.ndarray:
    """Rows of the split to show: the first of each label in turn where there are labels."""
    num = min(num, info.num_examples)
    labels = arrays.get("label", arrays.get("condition") if info.condition == "label" else None)
    if labels is None:
        return np.arange(num)
    rounds = np.zeros(len(labels), np.int64)  # how many of its label came before
    for label in np.unique(labels):
        rounds[labels == label] = np.arange((labels == label).sum())
    return np.lexsort((labels, rounds))[:num]


def _heat_maps(run: runs.Run, info: DataInfo, x: np.ndarray, condition: Any) -> tuple[str, float]:
    """Test images above the bits that each of their pixels cost, and the top of the colour scale."""
    bits = bits_per_dim(run.model.score(x, condition, **_member(run.model)).numpy(), 1)
    image_rank = len(info.event_shape) == 3
    if image_rank and bits.ndim == 4:
        bits = bits.sum(-1)
    bits = bits if image_rank else bits[:, None, :]
    high = float(np.quantile(bits, 0.99))
    colours = pictures.heat(bits, 0.0, high)
    images = pictures.to_images(x, info.levels)
    images = np.broadcast_to(images, [*images.shape[:3], 3])
    both = np.concatenate([images, colours])
    return _image(pictures.grid(both, len(x)), "test images above the cost of their pixels"), high


def _member(model: Any) -> dict[str, Any]:
    """Returns `member=0` for an ensemble, which has no factors of its own; nothing for other models."""
    return {"member": 0} if not model.has_factors else {}


def _completions(run: runs.Run, info: DataInfo, x: np.ndarray, condition: Any, times: int = 3) -> str:
    """Shows originals, their observed first half (in the model's order), and completions."""
    model = run.model
    half = model.event.num_cells // 2 * model.event.channels
    observed = np.zeros(info.event_shape, bool)
    observed.reshape(-1)[model.value_order(Request(**_member(model)))[0, :half]] = True
    repeated = np.concatenate([x] * times)
    conditions = None if condition is None else np.concatenate([condition] * times)
    # A completion of a chain with auxiliary parts is exact where these are known: they are those of the example.
    choice: dict[str, Any] = {"auxiliary": model.auxiliary_of(repeated)} if model.has_auxiliary else _member(model)
    drawn = model.complete(
        repeated,
        observed,
        conditions,
        seed=_SEED,
        batch_size=run.config["report"]["sample_batch_size"],
        jit_compile=runs.worth_compiling(len(repeated), model.event_shape),
        **choice,
    ).numpy()
    images = pictures.to_images(np.concatenate([x, x, drawn]).astype(drawn.dtype), info.levels)
    hidden = images[len(x) : 2 * len(x)]
    seen = observed if images.ndim == observed.ndim + 1 else observed[None, :, None]
    hidden[np.broadcast_to(~seen.all(-1, keepdims=True), hidden.shape)] = 128
    return _image(pictures.grid(images, len(x)), "originals, their observed halves, completions")


def _image(image: Any, description: str) -> str:
    return f'<img src="{pictures.data_uri(image)}" alt="{html.escape(description)}">'


# === The page ===

_STYLE = """
:root { color-scheme: light dark;
  --ink: #222; --paper: #fff; --quiet: #667; --line: #ddd; --first: #1668b8; --second: #c4501b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #16181c; --quiet: #99a; --line: #383c44; --first: #6cb2f5; --second: #f0925c; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 100rem;
  margin: 2rem auto; padding: 0 2rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; } .quiet, figcaption { color: var(--quiet); }
figure { margin: 0 0 1rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(34rem, 100%), 1fr)); gap: 0 3rem; }
.columns > section { min-width: 0; }
.sections { columns: 2 34rem; column-gap: 3rem; } .sections > section { break-inside: avoid; }
.sections h2 { margin-top: 0; padding-top: 1.5rem; }
.score { font-size: 1.3rem; } table { border-collapse: collapse; } th { text-align: left; font-weight: normal;
  color: var(--quiet); padding-right: 2rem; vertical-align: top; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--line); padding-top: .3rem; padding-bottom: .3rem; }
code { overflow-wrap: anywhere; } pre { overflow-x: auto; }
img { width: 100%; max-height: 44rem; object-fit: contain; object-position: left; image-rendering: pixelated; }
svg { width: 100%; height: auto; }
.scale { display: inline-block; width: 10rem; height: .8rem; vertical-align: middle;
  background: linear-gradient(90deg, #000004, #51127c, #b73779, #fc8961, #fcfdbf); }
"""


def _page(
    workdir: pathlib.Path,
    run: runs.Run,
    info: DataInfo,
    score: training.Score,
    outcome: training.Outcome,
    command: str,
    sections: str,
) -> str:
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    # The configuration may have been given other data than its name says.
    title = f"{type(run.model).__name__} on {run.config['data']['name']} ({run.config['name']})"
    low, top = score.bits_per_dim_interval
    unit = Unit(info.unit)
    nats = f"{score.nats:.3f} {unit.nats}" if info.is_sequence else f"{score.nats:.2f} nats per {score.unit}"
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head>
<body>
<h1>{html.escape(title)}</h1>
<p class="quiet">{html.escape(str(info))}</p>
<p class="score"><b>{score.bits_per_dim:.3f} {unit.bits}</b> on the test split
(95% confidence interval {low:.3f} to {top:.3f}), {nats}</p>

<div class="sections">
{sections}
</div>
<h2>Learning curves</h2>
<div class="columns">
{_curves(records, unit, evaluations.clock(workdir))}
</div>
{_tensorboard(workdir)}
<div class="columns">
<section><h2>Numbers</h2>
{_table(run, info, score, outcome, command)}</section>
<section><h2>Configuration</h2>
<pre>{html.escape(json.dumps(run.config, indent=2))}</pre></section>
</div>
</body></html>
"""


def _of_images(workdir: pathlib.Path, run: runs.Run, info: DataInfo, arrays: dict[str, np.ndarray]) -> str:
    """Shows samples, also written to samples.png, the cost of pixels, and completions."""
    num = run.config["report"]["num_samples"]
    samples = pictures.grid(_samples(run.model, info, run.config, num), _columns(info, num), side=48)
    pictures.save_png(samples, workdir / "samples.png")
    rows = _examples(arrays, info, run.config["report"]["num_images"])
    x, condition = arrays["x"][rows], arrays["condition"][rows] if "condition" in arrays else None
    heat_maps, high = _heat_maps(run, info, x, condition)
    drawn = "a column for each label" if _columns(info, 1) else "in the order of drawing"
    return f"""<section><h2>Samples</h2>
<figure>{_image(samples, "samples")}
<figcaption>Drawn from the averaged weights at temperature 1, seed {_SEED}; {drawn}.
None was selected.</figcaption></figure></section>

<section><h2>What each pixel costs</h2>
<figure>{heat_maps}
<figcaption>Test examples above -log2 p of each pixel given those before it:
0 bits <span class="scale"></span> {high:.1f} bits and more; bright pixels surprise the model.</figcaption></figure>
</section>

<section><h2>Completions</h2>
<figure>{_completions(run, info, x, condition)}
<figcaption>First row: test examples. Second: the half that the model was shown (the first half of its order).
Below: three draws of the rest from p(rest | shown half).</figcaption></figure></section>
"""


def _of_sequences(workdir: pathlib.Path, run: runs.Run, info: DataInfo, arrays: dict[str, np.ndarray]) -> str:
    """Shows samples of text or audio, and the cost of their elements."""
    num = run.config["report"]["num_samples"]
    if run.model.text_vocabulary is not None:
        return text.report_section(workdir, run.model, arrays, num)
    return audio.report_section(workdir, run.model, info, arrays, num)


def _shown(path: pathlib.Path) -> str:
    """HTML of what was drawn at an evaluation."""
    if path.suffix == ".txt":
        return f"<pre class='text'>{html.escape(path.read_text(encoding='utf-8'))}</pre>"
    return f'<img src="{pictures.as_uri(path.read_bytes())}" alt="samples">'


def _tensorboard(workdir: pathlib.Path) -> str:
    if not (workdir / EVENTS).is_dir():
        return ""
    command = html.escape(f"tensorboard --logdir={workdir / EVENTS}")
    return f'<p class="quiet">The same in TensorBoard, beside other runs: <code>{command}</code></p>'


def _curves(records: list[dict[str, Any]], unit: Unit, seconds: Callable[[float], float]) -> str:
    """Losses over steps and over time, norm of the gradient and learning rate over steps."""

    def column(key: str) -> tuple[list[float], list[float]]:
        rows = [record for record in records if key in record]
        return [row["step"] for row in rows], [row[key] for row in rows]

    losses = [
        ("train, as it went (raw weights)", *column(unit.key("train"))),
        ("validation (averaged weights)", *column(unit.key("valid"))),
    ]
    last = max((seconds(steps[-1]) for _, steps, _ in losses if steps), default=0.0)
    scale, name = next(entry for entry in _TIMES if last < 120 * entry[0] or entry is _TIMES[-1])
    timed = [(series, [seconds(step) / scale for step in steps], values) for series, steps, values in losses]
    others = [("gradient norm", *column("gradient_norm")), ("learning rate", *column("learning_rate"))]
    try:
        shown = [pictures.curves(losses, unit.bits), pictures.curves(timed, unit.bits, xlabel=f"{name} of training")]
        shown += [pictures.curves([series], series[0], log=series[0] == "gradient norm") for series in others]
        return "\n".join(f"<figure>{svg}</figure>" for svg in shown)
    except extras.MissingExtra as error:
        print(f"report.html has no learning curves: {error}", file=sys.stderr)
        return f'<p class="quiet">{html.escape(str(error))}, then run the command below once more</p>'


def _table(run: runs.Run, info: DataInfo, score: training.Score, outcome: training.Outcome, command: str) -> str:
    unit = Unit(info.unit)
    rows = {
        "data": f"{info.name} ({', '.join(info.transforms) or 'no transforms'}), fingerprint {info.fingerprint}",
        "split": info.split_note,
        unit.bits: f"{score.bits_per_dim:.4f}, 95% interval {_interval(score.bits_per_dim_interval)}",
        f"nats per {score.unit}": f"{score.nats:.3f}, 95% interval {_interval(score.nats_interval)}",
        f"{unit.plural if info.is_sequence else 'examples'} scored": f"{score.examples}, all of the split",
        "weights": f"{score.weights}, {score.ensemble}, step {run.step} (best on the validation split)",
        "best validation score": f"{outcome.best_bits_per_dim:.4f} {unit.bits}",
        "steps": f"{outcome.step}{' (stopped early)' if outcome.stopped_early else ''}",
        "training time": training.duration(outcome.seconds),
        "parameters": f"{run.model.count_params():,}",
        "head": repr(run.model.head),
        "condition": repr(run.model.condition),
    }
    if score.how:
        rows["scored"] = score.how
    if score.parts is not None:
        rows[f"{unit.bits} of parts"] = " + ".join(f"{name} {bits:.4f}" for name, bits in score.parts.items())
    if run.model.has_auxiliary:
        rows["bound"] = "bits are of images with their auxiliary values: at least those of the images alone"
    lines = [f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>" for name, value in rows.items()]
    lines.append(f"<tr><th>command</th><td><code>{html.escape(command)}</code></td></tr>")
    return f"<table>{''.join(lines)}</table>"


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"
