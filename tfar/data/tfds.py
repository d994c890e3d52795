"""Any data set of TensorFlow Datasets that has been prepared on this machine.

Nothing is downloaded and no network is touched: the prepared DATA_DIR/NAME[/CONFIG]/VERSION is
found by listing folders, and read by `tfds.builder_from_directory`, which needs neither the code of
the data set nor Google Cloud Storage (whose look-ups hang behind firewalls).
"""

import contextlib
import difflib
import functools
import os
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from tfar.core import extras
from tfar.data import values
from tfar.data.source import Source

_SPLIT_NAMES = {"train": "train", "validation": "valid", "valid": "valid", "val": "valid"}
_SPLIT_NAMES |= {"dev": "valid", "test": "test"}
_NAME = re.compile(r"[a-z][a-z0-9_]*(/[A-Za-z0-9_.\-]+)?(:\d+\.\d+\.\d+)?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_BATCH = 1024


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Inside of it TFDS keeps its remarks to itself: what it loads from where, and advice to its own authors."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def is_name(name: str) -> bool:
    """Returns whether a name has the form of a TFDS name: `name`, `name/config`, `name:1.0.0`."""
    return bool(_NAME.fullmatch(name))


def _tfds(name: str) -> Any:
    """Imports TFDS, here because it takes seconds, for a data set."""
    return extras.load("tensorflow_datasets", "tfds", f"Data {name!r}")


def _versions(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if _VERSION.fullmatch(p.name)]
    found = [p for p in found if (p / "dataset_info.json").is_file()]
    return sorted(found, key=lambda p: tuple(map(int, p.name.split("."))))


def find(name: str, data_dir: pathlib.Path) -> pathlib.Path:
    """Returns the prepared folder of a data set.

    Args:
        name: `name`, `name/config`, each with or without `:1.0.0`; by default the newest version.
        data_dir: The folder TFDS was told to prepare it in.

    Returns:
        The folder with `dataset_info.json`.

    Raises:
        FileNotFoundError: It is a TFDS name, but not prepared in `data_dir`.
        ValueError: TFDS knows no such name, or several configs are prepared and none is named.
    """
    path, _, version = name.partition(":")
    found = [p for p in _versions(data_dir / path) if version in ("", p.name)]
    if found:
        return found[-1]
    base = data_dir / path
    configs = [p.name for p in base.iterdir() if _versions(p)] if base.is_dir() else []
    if configs and "/" not in path:
        options = [f"{path}/{config}" for config in sorted(configs)]
        if len(options) > 1:
            raise ValueError(f"name must be one of {options}, got {name!r}")
        return find(name.replace(path, options[0], 1), data_dir)
    tfds = _tfds(name)
    known = tfds.list_builders(with_community_datasets=False)
    if path.split("/")[0] not in known and not base.is_dir():
        near = difflib.get_close_matches(path, ["digits", *known], 3)
        hint = f" (did you mean {', '.join(map(repr, near))}?)" if near else ""
        raise ValueError(
            "name must be 'digits', 'npz:FILE', 'idx:FOLDER', 'images:FOLDER' or the name of a "
            f"TFDS data set, got {name!r}{hint}"
        )
    raise FileNotFoundError(
        f"TFDS data set {name!r} is not prepared in data_dir={str(data_dir)!r}; prepare it once, "
        f"with a network, by: python -c \"import tensorflow_datasets as tfds; tfds.load('{name}', "
        f"data_dir='{data_dir}')\""
    )


def _own_splits(name: str, stored: Collection[str]) -> dict[str, str]:
    """Names of the splits of a data set by ours; "all" where there is one without a name that we know."""
    own: dict[str, str] = {}
    for split in stored:
        if split in _SPLIT_NAMES:
            own.setdefault(_SPLIT_NAMES[split], split)
    if "train" in own:
        return own
    if len(stored) != 1:
        raise ValueError(f"TFDS data set {name!r} must have a split 'train', got {sorted(stored)}")
    return {"all": next(iter(stored))}


def _source_keys(tfds: Any, name: str, info: Any, fixed: Mapping[str, Any]) -> dict[str, str]:
    """Returns the features of a source by its keys: x, label where there are classes, others by their own names."""
    features = info.features
    # Supervised keys may be nested; only plain names are of use here.
    supervised = [key if isinstance(key, str) else "" for key in info.supervised_keys or ()]
    x_key, label_key = (*supervised, "", "")[:2]
    x_key = "image" if "image" in features else x_key
    label_key = "label" if "label" in fixed else label_key
    numeric = x_key in fixed and np.dtype(fixed[x_key].np_dtype).kind in "biuf"
    if not numeric or not fixed[x_key].shape:
        shapes = {key: getattr(feature, "shape", "nested") for key, feature in features.items()}
        raise ValueError(f"TFDS data set {name!r} must have a numeric feature 'image' of one fixed shape, got {shapes}")
    keys = {"x": x_key}
    if isinstance(fixed.get(label_key), tfds.features.ClassLabel):
        keys["label"] = label_key
    return keys | {k: k for k in fixed if k not in keys.values() and k not in ("x", "label")}


def open_source(name: str, data_dir: str | os.PathLike | None, levels: int | None = None) -> Source:
    """Opens a prepared data set.

    Args:
        name: A TFDS name, see `find`.
        data_dir: Where it was prepared; default: `TFDS_DATA_DIR`, else ~/tensorflow_datasets.
        levels: Number of levels of x; default 256 for uint8, continuous for floats, else inferred.

    Returns:
        The source. x is the feature `image`, else the first supervised key; `label` is the
        feature `label`, else the second supervised key if it holds classes.

    Raises:
        FileNotFoundError: Not prepared.
        ValueError: An unknown name, or a data set without an x of one fixed shape.
    """
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folder = find(name, pathlib.Path(data_dir).expanduser())
    tfds = _tfds(name)
    with _silent():
        builder = tfds.builder_from_directory(os.fspath(folder))
    features = builder.info.features
    if not hasattr(features, "keys"):
        raise ValueError(f"TFDS data set {name!r} must have named features, got {features}")
    fixed = {
        key: feature
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Tensor | tfds.features.Image) and None not in feature.shape
    }
    keys = _source_keys(tfds, name, builder.info, fixed)
    label = fixed[keys["label"]] if "label" in keys else None
    own = _own_splits(name, builder.info.splits)

    @functools.lru_cache(maxsize=2)
    def read_stored(split: str, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
        return _read_stored(tfds, builder, own[split], keys)

    @_silent()
    def read(split: str, key: str, indices: np.ndarray | None) -> np.ndarray:
        # x and label come from one pass over the files, anything else from a second one.
        main = tuple(keys[k] for k in ("x", "label") if k in keys)
        array = read_stored(split, main if keys[key] in main else (keys[key],))[keys[key]]
        array = array if indices is None else array[indices]
        feature = fixed[keys[key]]
        if isinstance(feature, tfds.features.Image):
            # Images are stored compressed, and only the chosen ones are decoded.
            array = _decode(feature, array)
        return values.as_events(array) if key == "x" else array

    if levels is not None:
        values.check_levels(levels)
    elif fixed[keys["x"]].np_dtype == np.uint8:
        levels = 256
    else:
        levels = values.infer_levels(read(split, "x", None) for split in own)
    return Source(
        sizes={split: builder.info.splits[split_name].num_examples for split, split_name in own.items()},
        keys=tuple(keys),
        read=read,
        levels=levels,
        num_labels=label.num_classes if label else None,
        label_names=tuple(label.names) if label and label.names else None,
    )


def _read_stored(tfds: Any, builder: Any, split: str, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Features of all examples, in the order in which they were written; images still encoded."""
    import tensorflow as tf

    features = builder.info.features
    images = [key for key in keys if isinstance(features[key], tfds.features.Image)]
    with tf.device("CPU:0"):
        dataset = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(
                dict.fromkeys(keys, True),
                decoders={key: tfds.decode.SkipDecoding() for key in images},
            ),
            # One file after another: the order is that of the files, whatever their number.
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        batches = list(dataset.batch(_BATCH).as_numpy_iterator())
    if not batches:
        return {key: np.zeros((0, *features[key].shape), features[key].np_dtype) for key in keys}
    return {key: np.concatenate([batch[key] for batch in batches]) for key in keys}


def _decode(feature: Any, encoded: np.ndarray) -> np.ndarray:
    """[N] encoded images as [N, H, W, C]."""
    import tensorflow as tf

    if encoded.dtype != object:  # an empty split, already of the right shape
        return encoded
    if not len(encoded):
        return np.zeros((0, *feature.shape), feature.np_dtype)
    with tf.device("CPU:0"):
        dataset = tf.data.Dataset.from_tensor_slices(encoded)
        dataset = dataset.map(feature.decode_example, num_parallel_calls=tf.data.AUTOTUNE)
        return np.concatenate(list(dataset.batch(_BATCH).as_numpy_iterator()))
