"""Pictures of events, of likelihoods and of learning curves.

Events are shown as images [N, H, W, C]; vectors and sequences as images of one row.
"""

from __future__ import annotations

import base64
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tfar.core import extras
from tfar.core.files import write_atomically

_MARGIN = 0.08  # of an image's side, between images
_BACKGROUND = 128
# The colour map "magma" of van der Walt and Smith (CC0) at every 16th of its places; lines between them are within 3
# of 255 of it.
_MAGMA = np.array(
    [
        *([0, 0, 4], [10, 8, 34], [29, 17, 71], [54, 16, 107], [81, 18, 124], [106, 28, 129], [131, 38, 129]),
        *([156, 46, 127], [183, 55, 121], [207, 64, 112], [229, 80, 100], [244, 105, 92], [251, 135, 97]),
        *([254, 165, 113], [254, 194, 135], [253, 224, 161], [252, 253, 191]),
    ]
)


def to_images(x: Any, levels: int | None) -> np.ndarray:
    """Data values [N, *event_shape] as uint8 images [N, H, W, 1 or 3].

    Args:
        x: integers 0 ... levels - 1, or floats.
        levels: number of levels; None for continuous data, whose range over all of `x` is stretched to 0 ... 255.
    """
    x = np.asarray(x).astype(np.float64)
    low, high = (0.0, levels - 1.0) if levels else (x.min(), x.max())
    x = np.clip((x - low) / max(high - low, 1e-12), 0, 1)
    x = np.rint(x * 255).astype(np.uint8)
    if x.ndim == 2:
        x = x[:, None, :, None]
    if x.shape[-1] not in (1, 3):
        x = x.mean(-1, keepdims=True).astype(np.uint8)
    return x


def grid(images: np.ndarray, columns: int | None = None, side: int = 64) -> Image.Image:
    """Images side by side, each pixel enlarged to a square of whole pixels.

    Args:
        images: uint8 [N, H, W, 1 or 3].
        columns: images in a row; about as many as rows by default.
        side: an image is enlarged to about this many pixels; it is never made smaller.
    """
    num, height, width, channels = images.shape
    columns = columns or max(1, int(np.ceil(np.sqrt(num * height / width))))
    columns, rows = min(columns, num), -(-num // columns)
    zoom = max(1, round(side / max(height, min(width, 4 * height))))
    images = images.repeat(zoom, 1).repeat(zoom, 2)
    height, width = images.shape[1:3]
    margin = max(2, round(_MARGIN * min(height, width)))
    canvas = np.full(
        [rows * (height + margin) + margin, columns * (width + margin) + margin, channels], _BACKGROUND, np.uint8
    )
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = margin + row * (height + margin), margin + column * (width + margin)
        canvas[top : top + height, left : left + width] = image
    return Image.fromarray(canvas[..., 0] if channels == 1 else canvas)


def heat(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers [N, H, W] as colours, uint8 [N, H, W, 3]: dark at `low`, bright at `high`."""
    places = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * (len(_MAGMA) - 1)
    colours = [np.interp(places, np.arange(len(_MAGMA)), channel) for channel in _MAGMA.T]
    return np.stack(colours, -1).astype(np.uint8)


def png(image: Image.Image) -> bytes:
    """Returns the image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(image: Image.Image, path: str | pathlib.Path) -> None:
    """Writes a PNG file, whole or not at all."""
    write_atomically(path, png(image))


def data_uri(image: Image.Image) -> str:
    """Returns the image as a `data:` address, which needs no file beside the page."""
    return as_uri(png(image))


def as_uri(content: bytes) -> str:
    """Returns the content of a PNG file as a `data:` address."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


# Colours that the page's style sheet replaces, so that a figure follows a light or dark theme.
_INK, _SERIES = "#010203", ("#010204", "#010205")


def curves(
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    ylabel: str,
    log: bool = False,
    xlabel: str = "step",
) -> str:
    """Lines over steps or time, as inline SVG whose colours are the CSS variables --ink, --first and --second.

    Args:
        series: up to two of (name, places, values).
        ylabel: name of the values.
        log: logarithmic values.
        xlabel: name of the places.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    matplotlib = extras.load("matplotlib", "reports", "A picture of curves")
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "tfar", "font.size": 10, "font.family": "sans-serif"}
    style |= {name: _INK for name in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for (name, places, values), colour in zip(series, _SERIES, strict=False):
            marker = "o" if len(places) < 30 else None
            axes.plot(places, values, color=colour, label=name, linewidth=1.8, marker=marker, markersize=3)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.15, color=_INK)
        if log:
            axes.set_yscale("log")
        if len(series) > 1:
            axes.legend(frameon=False)
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    svg = buffer.getvalue()
    for colour, variable in ((_INK, "--ink"), (_SERIES[0], "--first"), (_SERIES[1], "--second")):
        svg = svg.replace(colour, f"var({variable})")
    return svg[svg.index("<svg") :]
