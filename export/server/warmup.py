"""Runs the warm-up requests of a version before it is available."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from export.client.errors import Code, ServingError
from export.server.errors import invalid
from export.server.loaded_model import LoadedModel
from export.server.metrics import Metrics
from export.server.predict import predict
from pipelines.start import errors_only

logger = logging.getLogger("tfar.serving")
FILE = Path("assets.extra", "tf_serving_warmup_requests")
# The released server loads no version with more.
MAX_RECORDS = 1000
# Between two lines that say how far the requests are.
_PROGRESS_SECONDS = 5.0


def warm_up(model: LoadedModel, version: int, metrics: Metrics, iterations: int = 1) -> int:
    """Runs every record of the version's file, where it has one.

    Args:
        model: just loaded.
        version: its number.
        metrics: the duration is recorded there.
        iterations: how often every record runs.

    Returns:
        Number of records.

    Raises:
        ServingError: a record cannot be read or fails; such a version must not become available.
    """
    path = model.path / FILE
    if not path.exists():
        return 0
    started = shown = time.perf_counter()
    records = list(_records(path))
    for num, record in enumerate(records):
        if num >= MAX_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
        if time.perf_counter() - shown > _PROGRESS_SECONDS:
            shown = time.perf_counter()
            logger.info("warming version %d up: %d of %d requests, %.0f s", version, num, len(records), shown - started)
        try:
            log = prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError as error:
            text = record.decode(errors="replace")
            raise invalid(f"Failed to parse warmup record: {text} from {path}") from error
        for _ in range(iterations):
            _run(model, version, log)
    metrics.warmup_latency.add(time.perf_counter() - started, str(model.path), "OK")
    return len(records)


def _records(path: Path) -> Iterator[bytes]:
    with errors_only():
        records = tf.compat.v1.io.tf_record_iterator(str(path))
    try:
        yield from records
    except tf.errors.DataLossError as error:
        message = f"{error.message}. Please verify your warmup data is in TFRecord format."
        raise ServingError(Code.DATA_LOSS, message) from error


def _run(model: LoadedModel, version: int, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        predict(model, version, log.predict_log.request)
    else:
        number = log.DESCRIPTOR.fields_by_name[kind].number if kind else 0
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")
