"""`images:FOLDER`: png, jpg and other 8-bit images, sub-folders being labels.

    FOLDER/*.png                        no labels
    FOLDER/cat/*.png, FOLDER/dog/*.png  labels 0 = cat, 1 = dog (sorted by name)
    FOLDER/train/..., FOLDER/test/...   own splits (train, valid, test), each as above

Files are taken in the order of their names. x is uint8, [N, H, W, 1] (grey) or [N, H, W, 3] (RGB).
"""

import dataclasses
import pathlib

import numpy as np

from tfar.data import skipped
from tfar.data.source import Source, from_arrays
from tfar.data.splits import SPLITS

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_MODES = {"grey": "L", "rgb": "RGB"}
_GREY_MODES = ("1", "L", "LA", "La")


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return [p for p in _visible(folder) if p.is_file() and p.suffix.lower() in EXTENSIONS]


def _list(folder: pathlib.Path) -> list[tuple[pathlib.Path, str | None]]:
    """Image files of one split and the name of their class."""
    classes = [path for path in _visible(folder) if path.is_dir() and _files(path)]
    files = _files(folder)
    if files and classes:
        raise ValueError(
            f"images:FOLDER {str(folder)!r} must hold images or sub-folders of images, got both: "
            f"{files[0].name!r} beside {classes[0].name + '/'!r}"
        )
    return [(file, None) for file in files] + [(f, c.name) for c in classes for f in _files(c)]


def _check_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(isinstance(s, int) and s >= 1 for s in pair):
        raise ValueError(f"size must be an integer >= 1 or (height, width), got {size!r}")
    return pair


def _read(
    files: list[pathlib.Path], mode: str | None, size: tuple[int, int] | None, folder: pathlib.Path
) -> list[np.ndarray]:
    # Imported here: `import tfar.data` stays cheap.
    from PIL import Image, UnidentifiedImageError

    opened, unreadable = [], []
    for file in files:
        try:
            with Image.open(file) as lazy:
                if lazy.mode.startswith(("I", "F")):
                    raise ValueError(f"8-bit pixels are accepted, these are of mode {lazy.mode}")
                # A palette may hold colours or greys; RGB keeps both. `copy` decodes the file.
                opened.append((lazy.copy(), lazy.mode in _GREY_MODES))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
            unreadable.append(f"{file.relative_to(folder).as_posix()} ({reason})")
    if unreadable:
        raise ValueError(
            f"images:FOLDER {str(folder)!r} has {len(unreadable)} unreadable of {len(files)} "
            f"files: {skipped.first_of(unreadable)}"
        )
    if mode is None:
        mode = _common_mode(files, [grey for _, grey in opened], folder)
    arrays = []
    first = opened[0][0]
    for file, (image, _) in zip(files, opened, strict=True):
        if size is None and image.size != first.size:
            raise ValueError(
                "size must be given where images differ in size (width x height): "
                f"{files[0].relative_to(folder).as_posix()} is {first.width}x{first.height}, "
                f"{file.relative_to(folder).as_posix()} is {image.width}x{image.height}"
            )
        converted = image.convert(_MODES[mode])
        if size is not None and converted.size != size[::-1]:
            converted = converted.resize(size[::-1], Image.Resampling.LANCZOS)
        array = np.asarray(converted, np.uint8)
        arrays.append(array[..., None] if array.ndim == 2 else array)
    return arrays


def _common_mode(files: list[pathlib.Path], grey: list[bool], folder: pathlib.Path) -> str:
    if len(set(grey)) == 1:
        return "grey" if grey[0] else "rgb"
    first = {kind: files[grey.index(kind)].relative_to(folder).as_posix() for kind in (True, False)}
    raise ValueError(
        f"mode must be 'grey' or 'rgb' where both kinds are mixed: images:FOLDER {str(folder)!r} has {sum(grey)} grey "
        f"images (such as {first[True]}) and {len(grey) - sum(grey)} in colour (such as {first[False]})"
    )


def open_source(
    path: pathlib.Path,
    *,
    levels: int | None = None,
    size: int | tuple[int, int] | None = None,
    mode: str | None = None,
) -> Source:
    """Reads all images of a folder.

    Args:
        path: The folder.
        levels: Number of levels of x; default 256.
        size: (height, width), or one number for both: images of another size are resized
            (Lanczos), their aspect not kept. Default: all must have one size.
        mode: `"grey"` or `"rgb"`; by default what all images are. An alpha channel is dropped.

    Returns:
        The source, with the folder's own splits or one split `all`.

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
        ValueError: Unreadable files, images beside class folders, images of differing sizes, grey images beside
            coloured ones without `mode`, or bad options.
    """
    if mode is not None and mode not in _MODES:
        raise ValueError(f"mode must be 'grey' or 'rgb', got {mode!r}")
    size = _check_size(size)
    if not path.is_dir():
        raise FileNotFoundError(f"images:FOLDER needs an existing folder, got {str(path)!r}")
    folders = [p for p in _visible(path) if p.is_dir()]
    own = bool(folders) and all(p.name in SPLITS for p in folders) and not _files(path)
    parts = {p.name: _list(p) for p in folders} if own else {"all": _list(path)}
    empty = [name for name, items in parts.items() if not items]
    if empty:
        folder = path / empty[0] if own else path
        raise FileNotFoundError(f"images:FOLDER {str(folder)!r} must hold images ({' '.join(EXTENSIONS)}), found none")
    labelled = {label is not None for items in parts.values() for _, label in items}
    if len(labelled) > 1:
        raise ValueError(f"images:FOLDER {str(path)!r} must have class folders in all splits")
    names = tuple(sorted({c for items in parts.values() for _, c in items if c is not None}))
    # All splits are read at once: the mode and the size must be the same everywhere.
    files = [file for items in parts.values() for file, _ in items]
    arrays = iter(_read(files, mode, size, path))
    splits = {}
    for name, items in parts.items():
        splits[name] = {"x": np.stack([next(arrays) for _ in items])}
        if names:
            splits[name]["label"] = np.array([names.index(label) for _, label in items], np.int32)
    levels = 256 if levels is None else levels
    source = from_arrays(splits, levels, len(names) or None, names or None)
    return dataclasses.replace(source, skipped=skipped.describe(path, files))
