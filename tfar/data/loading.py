"""`load` and `load_arrays`: one name for every kind of source."""

import dataclasses
import hashlib
import importlib
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tfar.data import splits as splits_lib
from tfar.data import streams, values
from tfar.data import transforms as transforms_lib
from tfar.data.data_info import DataInfo
from tfar.data.source import Source

# Kind -> (module, options it accepts). Modules are imported when first used.
_FILES = {
    "npz": ("tfar.data.npz", ("levels", "num_labels")),
    "idx": ("tfar.data.idx", ("levels", "num_labels")),
    "images": ("tfar.data.images", ("levels", "size", "mode")),
}
# Sequences: kind -> (module, options it accepts). The kind alone names a data set that needs no file.
_SEQUENCES = {
    "text": ("tfar.data.text", ("unit", "window")),
    "wav": ("tfar.data.wav", ("pattern", "sample_rate", "encoding", "hop")),
    "plucked_strings": ("tfar.data.plucked_strings", ("encoding",)),
}
_ACCEPTED = (
    "'digits', 'npz:FILE', 'idx:FOLDER', 'images:FOLDER', 'text', 'text:FILE', "
    "'wav:FOLDER', 'plucked_strings' or the name of a TFDS data set"
)
# Rows that `load` transforms at a time where a transform is random.
_CHUNK = 1024


def _check_options(name: str, options: dict, accepted: tuple[str, ...]) -> dict:
    options = {key: value for key, value in options.items() if value is not None}
    for key, value in options.items():
        if key not in accepted:
            raise ValueError(
                f"{key}={value!r} does not apply to {name!r}, which accepts {', '.join(accepted) or 'no options'}"
            )
    return options


def _path(name: str, data_dir: str | os.PathLike | None) -> pathlib.Path:
    """Returns the file or folder behind the colon of a name."""
    location = name.partition(":")[2]
    if not location:
        raise ValueError(f"name must be {_ACCEPTED}, got {name!r}")
    return pathlib.Path(data_dir or "").expanduser() / pathlib.Path(location).expanduser()


def _open(name: str, data_dir: str | os.PathLike | None, options: dict) -> Source:
    if not isinstance(name, str):
        raise ValueError(f"name must be {_ACCEPTED}, got {name!r}")
    if name == "digits":
        _check_options(name, options, ())
        from tfar.data import digits

        return digits.open_source()
    kind, colon, _ = name.partition(":")
    if colon and kind in _FILES:
        module, accepted = _FILES[kind]
        path = _path(name, data_dir)
        return importlib.import_module(module).open_source(path, **_check_options(name, options, accepted))
    from tfar.data import tfds

    if not tfds.is_name(name):
        raise ValueError(f"name must be {_ACCEPTED}, got {name!r}")
    return tfds.open_source(name, data_dir, **_check_options(name, options, ("levels",)))


def _select(
    source: Source, split: str, valid_fraction: float, test_fraction: float, seed: int
) -> tuple[str, np.ndarray | None, str]:
    """Returns the source's split to read, the indices of the examples to take (None: all), and a note."""
    own, carved = splits_lib.origin(split, source.sizes)
    num = source.sizes[own]
    if not carved:
        return own, None, f"{split}: the source's own split, all {num} examples"
    labels = None
    if "label" in source.keys:
        labels = values.as_labels(source.read(own, "label", None), num, source.num_labels)
    parts = splits_lib.carve(
        num,
        labels,
        valid_fraction=valid_fraction if "valid" in carved else 0,
        test_fraction=test_fraction if "test" in carved else 0,
        seed=seed,
    )
    whole = "the source" if own == "all" else f"the source's split {own!r}"
    sizes = "/".join(str(len(parts[name])) for name in splits_lib.SPLITS if name in carved)
    names = "/".join(name for name in splits_lib.SPLITS if name in carved)
    order = "Philox hash of the index" if labels is None else "(label, Philox hash of the index)"
    note = (
        f"{split}: {len(parts[split])} of the {num} examples of {whole}, cut {names} {sizes}, "
        f"evenly spaced in the order of {order}, split_seed={seed}"
    )
    return own, parts[split], note


def _fingerprint(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()[:16]


def _read(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None,
    condition: str | None,
    valid_fraction: float,
    test_fraction: float,
    split_seed: int,
    options: dict,
) -> tuple[dict[str, np.ndarray], DataInfo]:
    """Arrays of a split before transforms."""
    splits_lib.check_split(split)
    splits_lib.check_fractions(valid_fraction, test_fraction)
    streams.check_seed(split_seed)
    source = _open(name, data_dir, options)
    usable = sorted(set(source.keys) - {"x"})
    if condition is not None and condition not in usable:
        raise ValueError(
            f"condition must name an array of {name!r}: {', '.join(map(repr, usable)) or 'none'}, got {condition!r}"
        )
    own, rows, note = _select(source, split, valid_fraction, test_fraction, split_seed)
    num = source.sizes[own] if rows is None else len(rows)
    if num == 0:
        raise ValueError(f"split {split!r} of {name!r} is empty ({note})")
    stored = {"x": values.as_values(source.read(own, "x", rows), source.levels)}
    if "label" in source.keys:
        labels = source.read(own, "label", rows)
        stored["label"] = values.as_labels(labels, num, source.num_labels)
    if condition not in (None, "label"):
        whole = values.as_condition(source.read(own, condition, None), condition, source.sizes[own])
        stored[condition] = whole if rows is None else whole[rows]
    arrays = {"x": stored["x"]}
    if condition is not None:
        arrays["condition"] = stored[condition]
    elif "label" in stored:
        arrays["label"] = stored["label"]
    info = DataInfo(
        name=name,
        split=split,
        event_shape=tuple(int(size) for size in stored["x"].shape[1:]),
        levels=source.levels,
        num_examples=num,
        num_labels=source.num_labels,
        label_names=source.label_names,
        dtype=str(stored["x"].dtype),
        transforms=(),
        split_note=note,
        fingerprint=_fingerprint(stored),
        condition=condition,
        condition_shape=None if condition is None else stored[condition].shape[1:],
        skipped=source.skipped,
    )
    return arrays, info


def _read_sequences(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None,
    condition: str | None,
    valid_fraction: float,
    test_fraction: float | None,
    options: dict,
) -> tuple[dict[str, np.ndarray], DataInfo]:
    """Arrays of a split of sequences, whole."""
    splits_lib.check_split(split)
    splits_lib.check_fractions(valid_fraction, test_fraction or 0.0)
    kind, colon, _ = name.partition(":")
    path = _path(name, data_dir) if colon else None
    module, accepted = _SEQUENCES[kind]
    options = _check_options(name, options, accepted)
    if condition is not None:
        if kind == "text":
            raise ValueError(f"condition must name an array of {name!r}: none, got {condition!r}")
        options["condition"] = condition
    load_split = importlib.import_module(module).load_split
    arrays, info = load_split(name, path, split, valid_fraction, test_fraction, **options)
    return arrays, dataclasses.replace(info, fingerprint=_fingerprint(arrays))


def _with_transforms(info: DataInfo, transforms: tuple[transforms_lib.Transform, ...], draw: str) -> DataInfo:
    if not transforms:
        return info
    levels = transforms_lib.output_levels(transforms, info.levels)
    return dataclasses.replace(
        info,
        levels=levels,
        # A transform's output is always discrete.
        dtype="uint8" if (levels or 0) <= 256 else "int32",
        transforms=transforms_lib.describe(transforms, draw),
    )


def load_arrays(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    *,
    condition: str | None = None,
    transforms: str | transforms_lib.Transform | Iterable[str | transforms_lib.Transform] = (),
    seed: int = 0,
    valid_fraction: float = 0.1,
    test_fraction: float | None = None,
    split_seed: int = 0,
    levels: int | None = None,
    num_labels: int | None = None,
    size: int | tuple[int, int] | None = None,
    mode: str | None = None,
    unit: str | None = None,
    window: int | None = None,
    pattern: str | None = None,
    sample_rate: int | None = None,
    encoding: str | None = None,
    hop: int | None = None,
) -> tuple[dict[str, np.ndarray], DataInfo]:
    """Reads a split of a data set into memory.

    Random transforms are drawn **once** here, from `seed`, as evaluation wants it. For training
    give them to `Batches` instead, which draws anew every step.

    Args:
        name: `"digits"`, `"npz:FILE"`, `"idx:FOLDER"`, `"images:FOLDER"`, `"text:FILE"`, `"text"` (see
            `tfar.data.text`), `"wav:FOLDER"` (see `tfar.data.wav`), `"plucked_strings"` (see
            `tfar.data.plucked_strings`), or the name of a TFDS data set that is prepared on this machine: `"mnist"`,
            `"cifar10"`, `"name/config:1.0.0"`.
        split: `"train"`, `"valid"` or `"test"`. Own splits of the source are used; a missing one
            is carved from `train` by a fixed rule that `info.split_note` states.
        data_dir: Where TFDS data are prepared (default: `TFDS_DATA_DIR`, else
            ~/tensorflow_datasets); for files, the folder that relative names start from.
        condition: The array to yield as `"condition"`: `"label"`, or another array of the source.
        transforms: Objects or strings, see `tfar.data.transforms`.
        seed: Int >= 0, of random transforms.
        valid_fraction: Share of a carved `valid`, 0.1 by default.
        test_fraction: Share of a carved `test`, 0.1 by default; of a text none, and `test` is `valid`.
        split_seed: Int >= 0, of the carved splits.
        levels: Number of levels, for `npz`, `idx`, `images` and TFDS; default: inferred.
        num_labels: Number of classes, for `npz` and `idx`; default: the largest label + 1.
        size: Resize to (height, width), for `images`.
        mode: `"grey"` or `"rgb"`, for `images`.
        unit: `"char"` or `"byte"`, for `text`.
        window: Length of the windows that a `text` is cut into; default: one sequence.
        pattern: Names of the files with {fields}, for `wav`.
        sample_rate: Rate that files are resampled to, for `wav`; default: that of the files.
        encoding: `"mu_law"` (256 codes) or `"pcm16"` (65,536 values), for `wav` and `plucked_strings`.
        hop: Samples per frame of the condition `"letters"`, for `wav`.

    Returns:
        The arrays and their `DataInfo`. `"x"`: [N, *event_shape], uint8 (up to 256 levels), int32
        (up to 65,536 levels) or float32 (continuous). Without `condition` also `"label"`: int32
        [N], where there are labels; with it `"condition"`: [N, ...], int32 or float32.

    Raises:
        FileNotFoundError: A missing file or folder, or TFDS data that are not prepared.
        ValueError: An unknown name, split, condition, transform or option; unacceptable arrays
            (shape, range, non-finite values, labels out of range, more than 65,536 levels); an
            empty split.

    Example:
        >>> arrays, info = load_arrays("digits", "train", transforms="binarize")
        >>> arrays["x"].shape, arrays["label"].shape, info.transforms
        ((1437, 8, 8, 1), (1437,), ('binarization=threshold(0.5)',))
    """
    resolved, seed = transforms_lib.resolve(transforms), streams.check_seed(seed)
    options = {"levels": levels, "num_labels": num_labels, "size": size, "mode": mode, "unit": unit, "window": window}
    options |= {"pattern": pattern, "sample_rate": sample_rate, "encoding": encoding, "hop": hop}
    if isinstance(name, str) and name.partition(":")[0] in _SEQUENCES:
        if resolved:
            raise ValueError(f"transforms do not apply to sequences, got {transforms!r} for {name!r}")
        return _read_sequences(name, split, data_dir, condition, valid_fraction, test_fraction, options)
    test_fraction = 0.1 if test_fraction is None else test_fraction
    arrays, info = _read(name, split, data_dir, condition, valid_fraction, test_fraction, split_seed, options)
    new_info = _with_transforms(info, resolved, f"drawn once, seed={seed}")
    noise = streams.generator(streams.FIXED_NOISE, seed)
    arrays["x"] = transforms_lib.apply(resolved, arrays["x"], info.levels, noise)
    return arrays, new_info


def load(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    *,
    condition: str | None = None,
    transforms: str | transforms_lib.Transform | Iterable[str | transforms_lib.Transform] = (),
    with_info: bool = False,
    seed: int = 0,
    **options: Any,
) -> Any:
    """Reads a split of a data set as a `tf.data.Dataset` of single examples, in a fixed order.

    Random transforms are drawn anew in every pass over `train` (pass k from [seed, k]) and once,
    from `seed`, for `valid` and `test`. For training that must resume exactly use `load_arrays`
    with `Batches`.

    Args:
        name: See `load_arrays`.
        split: `"train"`, `"valid"` or `"test"`.
        data_dir: See `load_arrays`.
        condition: The array to yield as `"condition"`: `"label"`, or another array of the source.
        transforms: Objects or strings, see `tfar.data.transforms`.
        with_info: Return (dataset, info) instead of the dataset.
        seed: Int >= 0, of random transforms.
        **options: `valid_fraction`, `test_fraction`, `split_seed`, `levels`, `num_labels`, `size`
            and `mode` of `load_arrays`.

    Returns:
        A `tf.data.Dataset`, unbatched, with a known cardinality and the attribute `info` (datasets
        derived from it, by `batch` and so on, do not have it). Elements are
        `{"x": [*event_shape], "label": int32 []}`, the latter where there are labels; with
        `condition` they are `{"x", "condition"}`.

    Raises:
        FileNotFoundError: See `load_arrays`.
        ValueError: See `load_arrays`.

    Example:
        >>> dataset, info = load("digits", "test", condition="label", with_info=True)
        >>> batch = next(iter(dataset.batch(16)))
        >>> batch["x"].shape, batch["condition"].shape
        (TensorShape([16, 8, 8, 1]), TensorShape([16]))
    """
    # Imported here: the NumPy side of this package works without TensorFlow.
    import tensorflow as tf

    resolved, seed = transforms_lib.resolve(transforms), streams.check_seed(seed)
    redraw = split == "train" and any(transform.random for transform in resolved)
    arrays, info = load_arrays(
        name,
        split,
        data_dir,
        condition=condition,
        transforms=() if redraw else resolved,
        seed=seed,
        **options,
    )
    # On the CPU: a data set should not occupy an accelerator's memory.
    with tf.device("CPU:0"):
        if not redraw:
            dataset = tf.data.Dataset.from_tensor_slices(arrays)
        else:
            dataset, info = _redrawn(arrays, info, resolved, seed)
    dataset.info = info
    return (dataset, info) if with_info else dataset


def _redrawn(
    arrays: dict[str, np.ndarray],
    info: DataInfo,
    transforms: tuple[transforms_lib.Transform, ...],
    seed: int,
) -> tuple[Any, DataInfo]:
    """A data set whose random transforms are drawn anew in every pass."""
    import tensorflow as tf

    input_levels = info.levels
    info = _with_transforms(info, transforms, f"redrawn every pass, seed={seed}")
    passes = 0

    def chunks() -> Iterator[dict[str, np.ndarray]]:
        nonlocal passes
        noise = streams.generator(streams.EPOCH_NOISE, seed, passes)
        passes += 1
        for start in range(0, info.num_examples, _CHUNK):
            chunk = {key: array[start : start + _CHUNK] for key, array in arrays.items()}
            chunk["x"] = transforms_lib.apply(transforms, chunk["x"], input_levels, noise)
            yield chunk

    signature = {
        key: tf.TensorSpec([None, *array.shape[1:]], info.dtype if key == "x" else array.dtype)
        for key, array in arrays.items()
    }
    dataset = tf.data.Dataset.from_generator(chunks, output_signature=signature).unbatch()
    return dataset.apply(tf.data.experimental.assert_cardinality(info.num_examples)), info
