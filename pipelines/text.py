"""Text out of a trained model: written to a terminal as it is produced, and shown in report.html."""

from __future__ import annotations

import codecs
import html
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfar import training
from tfar.core.units import bits_per_dim
from tfar.core.vocabulary import Vocabulary
from tfar.sampling import beam_search, decode, stream

# Compiling the loop with XLA takes half a minute, so that it pays for long texts only.
_XLA_FROM = 20_000

# Of the report.
_SAMPLES, _SAMPLE_LENGTH, _SCORED_LENGTH, _SEED = 5, 400, 1500, 0
_SHADES, _MOST_BITS = 12, 8.0


def vocabulary(model: Any) -> Vocabulary:
    """Returns the vocabulary that a model carries.

    Raises:
        ValueError: its symbols are no text.
    """
    if model.text_vocabulary is None:
        raise ValueError(f"this {type(model).__name__} was not trained on text: it carries no vocabulary")
    return model.text_vocabulary


def generate(
    model: Any,
    prompt: str = "",
    length: int = 500,
    num: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    beam_width: int | None = None,
    seed: int = 0,
    condition: Any = None,
    write: Callable[[str], Any] | None = None,
) -> list[str]:
    """Texts that begin with a prompt.

    Args:
        model: trained on text.
        prompt: their beginning; every character must be in the model's vocabulary.
        length: characters that follow (bytes, where the model's symbols are bytes).
        num: number of texts; of a beam search the best ones.
        temperature: positive; below 1 the texts are more probable ones.
        top_k: draw among the k most probable characters.
        top_p: draw among the most probable characters that have this probability together.
        beam_width: search for the most probable text with so many beams, instead of drawing.
        seed: int >= 0; text r is the same whatever `num` is.
        condition: values of the condition, [num, ...], or None.
        write: called with each piece of text as soon as it is there; texts follow one another, separated by lines.

    Returns:
        The texts, prompts included.

    Raises:
        ValueError: an argument is out of range, or the prompt holds an unknown character, which is named.
    """
    write = write or (lambda piece: None)
    known = vocabulary(model).encode(prompt)
    size: dict[str, Any] = {"length": len(known) + length, "prompt": known, "jit_compile": num * length >= _XLA_FROM}
    if beam_width is not None:
        if not num <= beam_width:
            raise ValueError(f"beam_width must be at least the number of texts, {num}, got {beam_width}")
        return _search(model, num, beam_width, condition, write, size)
    size |= {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    texts = []
    for row in range(num):
        write((f"--- {row + 1} ---\n" if num > 1 else "") + prompt)
        one = None if condition is None else condition[row : row + 1]
        pieces = stream(model, seed=np.array([[seed, row]], np.int64), condition=one, **size)
        texts.append(prompt + _written(characters(vocabulary(model), (piece[0] for piece in pieces)), write))
        write("\n")
    return texts


def _search(
    model: Any, num: int, width: int, condition: Any, write: Callable[[str], Any], size: dict[str, Any]
) -> list[str]:
    """Writes and returns the `num` most probable texts of a beam search."""
    found = beam_search(model, width, condition=None if condition is None else condition[:1], **size)
    texts = [vocabulary(model).decode(x) for x in found.x[:num]]
    for text, nats in zip(texts, found.log_prob, strict=False):
        write(f"--- {nats:.2f} nats ---\n{text}\n" if num > 1 else f"{text}\n")
    return texts


def _written(pieces: Iterator[str], write: Callable[[str], Any]) -> str:
    """Writes pieces of a text as they come; returns the text."""
    parts = []
    for piece in pieces:
        parts.append(piece)
        write(piece)
    return "".join(parts)


def characters(symbols: Vocabulary, pieces: Iterator[Sequence[int]]) -> Iterator[str]:
    """Text of pieces of symbols; a character of several bytes may begin in one piece and end in the next."""
    if symbols.characters is not None:
        for piece in pieces:
            yield symbols.decode(piece)
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        yield decoder.decode(bytes(np.asarray(piece, np.uint8)))
    yield decoder.decode(b"", final=True)


# === The report ===


def report_section(workdir: pathlib.Path, model: Any, arrays: dict[str, np.ndarray], num_samples: int) -> str:
    """Samples, also written to samples.txt, and a text of the split coloured by surprise.

    Args:
        workdir: where samples.txt is written.
        model: trained on text.
        arrays: of the split that is shown, {"x": [N, T]}.
        num_samples: samples, at most 5 are shown.

    Returns:
        HTML.
    """
    symbols, texts = vocabulary(model), samples(model, num_samples, arrays)
    separator = "\n" + "-" * 40 + "\n"
    (workdir / "samples.txt").write_text(separator.join(texts) + "\n", encoding="utf-8")
    shown = "".join(f"<pre class='text'>{html.escape(text)}</pre>" for text in texts)
    first = {key: value[:1] for key, value in arrays.items() if key in ("x", "condition")}
    first["x"] = first["x"][:, :_SCORED_LENGTH]
    bits = bits_per_dim(training.sequence_log_probs(model, first, batch_size=16)[0], 1)
    return f"""<section><h2>Samples</h2>
{shown}<p class="quiet">Drawn from the averaged weights at temperature 1, seed {_SEED}, without a prompt. None was
selected.</p></section>

<section><h2>What each character costs</h2>
<style>{_shades()}</style>
<p class="key">{_key()} bits for a character, given those before it; the mean is {bits.mean():.2f}.</p>
<pre class="text">{coloured(symbols, first["x"][0], bits)}</pre>
<p class="quiet">The beginning of the test split. Point at a character to read what it costs.</p></section>
"""


def samples(model: Any, num: int, arrays: dict[str, np.ndarray] | None = None) -> list[str]:
    """Texts without a prompt, at temperature 1, as reports show them.

    Args:
        model: trained on text.
        num: number of texts, at most 5.
        arrays: of the split whose conditions they have, where the model takes any.
    """
    num = min(num, _SAMPLES)
    condition = None if arrays is None else _conditions(model, arrays, num)
    drawn = decode(model, num, length=_sample_length(model), seed=_SEED, condition=condition, jit_compile=False)
    return [vocabulary(model).decode(row) for row in drawn.x]


def coloured(symbols: Vocabulary, x: np.ndarray, bits: np.ndarray) -> str:
    """HTML of a text with every character on the shade of its cost; the bytes of a character are added.

    Args:
        symbols: of the text.
        x: int [n].
        bits: [n].
    """
    parts, cost = [], 0.0
    pieces = characters(symbols, ([symbol] for symbol in x))
    for piece, own in zip(pieces, [*bits, 0.0], strict=False):
        cost += float(own)
        if piece:
            shade = round(min(max(cost, 0.0), _MOST_BITS) / _MOST_BITS * _SHADES)
            name = "line break" if piece == "\n" else piece
            shown = "\u21b5\n" if piece == "\n" and shade > _SHADES // 4 else piece
            title = f"{html.escape(name, quote=True)}: {cost:.1f} bits"
            parts.append(f'<span class="s{shade}" title="{title}">{html.escape(shown)}</span>')
            cost = 0.0
    return "".join(parts)


def _key() -> str:
    """Shades from 0 to the deepest, each with its bits."""
    steps = [round(_SHADES * part / 4) for part in range(5)]
    shown = [f'<span class="s{shade}">&nbsp;{_MOST_BITS * shade / _SHADES:.2g}&nbsp;</span>' for shade in steps]
    return " ".join(shown) + " and more"


def _shades() -> str:
    rules = [".text { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid var(--line);"]
    rules.append("padding-left: 1rem; }")
    for shade in range(_SHADES + 1):
        rules.append(f".s{shade} {{ background: rgba(224, 84, 32, {0.85 * shade / _SHADES:.2f}); }}")
    return "\n".join(rules)


def _sample_length(model: Any) -> int:
    return min(_SAMPLE_LENGTH, model.event_shape[0] or model.longest_event or _SAMPLE_LENGTH)


def _conditions(model: Any, arrays: dict[str, np.ndarray], num: int) -> Any:
    """Conditions of the first sequences of the split, in turn."""
    if model.condition is None:
        return None
    return arrays["condition"][np.arange(num) % len(arrays["condition"])]
