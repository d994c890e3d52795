"""Loads and unloads versions of models: polls folders, and loads new versions before old ones go.

The order of events is that of TensorFlow Serving's FileSystemStoragePathSource and AvailabilityPreservingPolicy.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2

from export.client.errors import Code, ServingError
from export.server import configuration
from export.server.errors import invalid
from export.server.folders import Folders
from export.server.loaded_model import LoadedModel
from export.server.version import State, Version

logger = logging.getLogger("tfar.serving")


class ModelManager:
    """Keeps the loaded versions equal to those that the configuration and the folders ask for.

    Args:
        load: loads a folder and warms it up: (name, number, path) -> model, or raises ServingError.
        poll_seconds: between two looks at the folders; 0 or less for a look after every change of the configuration
            only.
        max_retries: how often a failed load is tried again.
        retry_seconds: between two tries.
        labels_for_unavailable: lets a new label point at a version that is not loaded yet.
    """

    def __init__(
        self,
        load: Callable[[str, int, Path], LoadedModel],
        poll_seconds: float = 1.0,
        max_retries: int = 5,
        retry_seconds: float = 60.0,
        labels_for_unavailable: bool = False,
    ):
        self._load = load
        self._poll_seconds = poll_seconds
        self._max_retries, self._retry_seconds = max_retries, retry_seconds
        self._labels_for_unavailable = labels_for_unavailable
        # Guards everything below and is notified of every change of a state.
        self._changed = threading.Condition()
        self._models: dict[str, model_server_config_pb2.ModelConfig] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._versions: dict[str, dict[int, Version]] = {}
        self._aspired: dict[str, dict[int, Path]] = {}
        self._config: model_server_config_pb2.ModelServerConfig | None = None
        self._reloading = threading.Lock()
        # TensorFlow's Python loader gains nothing from running twice at once.
        self._loading = threading.Lock()
        self._polling = threading.Lock()
        self._folders = Folders()
        self._stopped = threading.Event()
        self._poller: threading.Thread | None = None

    # === Configuration ===

    def reload(self, config: model_server_config_pb2.ModelServerConfig, timeout: float | None = None) -> None:
        """Serves another set of models; returns when those that are new are available.

        Args:
            config: the set.
            timeout: seconds to wait for new models; None for ever, which a folder that does not exist can take.

        Raises:
            ServingError: the configuration is refused and the old one stays, or a new model did not load (in time).
        """
        with self._reloading:
            models = configuration.check(config, self._config)
            with self._changed:
                labels = self._new_labels(models)
                new = sorted(set(models) - set(self._models))
                self._config, self._models, self._labels = config, models, labels
            self.poll()
            if self._poller is None and self._poll_seconds > 0:
                self._poller = threading.Thread(target=self._poll_forever, daemon=True, name="poll")
                self._poller.start()
        self._wait_available(new, timeout)  # without the lock: another configuration may put it right

    def _new_labels(self, models: dict[str, model_server_config_pb2.ModelConfig]) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for name, model in models.items():
            for label, number in model.version_labels.items():
                old = self._labels.get(name, {}).get(label)
                known = self._versions.get(name, {}).get(number)
                allowed = self._labels_for_unavailable and old in (None, number)
                if not allowed and (known is None or known.state != State.AVAILABLE):
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {name}, which is not currently "
                        "available for inference",
                    )
                labels.setdefault(name, {})[label] = number
        return labels

    def _wait_available(self, names: list[str], timeout: float | None) -> None:
        """Returns when a version of every model is available; raises when none will be."""

        def failed(name: str) -> list[Version]:
            versions = list(self._versions.get(name, {}).values())
            given_up = versions and all(version.state == State.END and version.error for version in versions)
            return versions if given_up else []

        def settled(name: str) -> bool:
            return self._latest(name) is not None or bool(failed(name)) or name not in self._models

        end = math.inf if timeout is None else time.monotonic() + timeout
        with self._changed:
            # Looks again every now and then: `cancel` is called from a signal handler, which must not take the lock.
            while not self._changed.wait_for(lambda: all(map(settled, names)), min(0.5, end - time.monotonic())):
                if time.monotonic() >= end:
                    missing = ", ".join(name for name in names if not settled(name))
                    raise ServingError(Code.DEADLINE_EXCEEDED, f"still waiting for {missing} to become available")
                if self._stopped.is_set():
                    raise ServingError(Code.CANCELLED, "the server was stopped while it loaded models")
            lost = [version for name in names for version in failed(name)]
        if lost:
            reasons = ", ".join(
                f"{{{{name: {version.name} version: {version.number}}} due to error: {version.error}}}"
                for version in lost
            )
            raise ServingError(Code.UNKNOWN, f"{len(lost)} model(s) did not become available: {{{reasons}, }}")

    # === Folders ===

    def _poll_forever(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            try:
                self.poll()
            except Exception:  # The thread must live on; a folder may have vanished under its hands.
                logger.exception("a look at the folders failed")

    def poll(self) -> None:
        """Looks at the folders, and starts to load and unload what has changed."""
        with self._polling:
            with self._changed:
                models = dict(self._models)
            found = {name: self._folders.find_versions(model) for name, model in models.items()}
            with self._changed:
                for name in set(self._aspired) - set(self._models):
                    self._aspired[name] = {}
                for name, versions in found.items():
                    if versions is not None and name in self._models:
                        self._aspired[name] = versions
                self._reconcile()

    # === Loading and unloading ===

    def _reconcile(self) -> None:
        """Starts loads and unloads; the lock is held."""
        for name, aspired in self._aspired.items():
            versions = self._versions.setdefault(name, {})
            for number in sorted(aspired, reverse=True):
                version = versions.get(number)
                # A version that failed is tried again only after it was gone for a while.
                if version is None or (version.state == State.END and not version.error):
                    versions[number] = Version(name, number, aspired[number])
                    threading.Thread(target=self._bring_up, args=(versions[number],), daemon=True).start()
            ready = any(versions[number].state == State.AVAILABLE for number in aspired)
            for number, version in versions.items():
                if number in aspired:
                    continue
                if version.state == State.AVAILABLE and (ready or not aspired):
                    version.state = State.UNLOADING
                    threading.Thread(target=self._take_down, args=(version,), daemon=True).start()
                elif version.state == State.END:
                    version.error = None
        self._changed.notify_all()

    def _bring_up(self, version: Version) -> None:
        """Loads a version, again and again if need be; runs in a thread of its own."""
        for attempt in range(self._max_retries + 1):
            with self._loading:
                with self._changed:
                    if self._stopped.is_set() or version.number not in self._aspired.get(version.name, {}):
                        self._finish(version, State.END, None)
                        return
                    version.state = State.LOADING
                    self._changed.notify_all()
                started = time.perf_counter()
                try:
                    model = self._load(version.name, version.number, version.path)
                    break
                except ServingError as error:
                    failure = error
                except Exception as error:  # A bug, or a file like no other: the server goes on.
                    logger.exception("loading failed")
                    failure = ServingError(Code.INTERNAL, str(error) or type(error).__name__)
            logger.error("%s version %d failed to load: %s", version.name, version.number, failure)
            if attempt < self._max_retries:
                logger.error("trying again in %g s", self._retry_seconds)
                self._stopped.wait(self._retry_seconds)
        else:
            with self._changed:
                self._finish(version, State.END, failure)
            return
        seconds = time.perf_counter() - started
        with self._changed:
            version.model = model
            self._finish(version, State.AVAILABLE, None)
            self._reconcile()  # An older version may go now.
        logger.info("loaded %s version %d in %.1f s", version.name, version.number, seconds)

    def _finish(self, version: Version, state: State, error: ServingError | None) -> None:
        version.state, version.error = state, error
        self._changed.notify_all()

    def _take_down(self, version: Version) -> None:
        """Unloads a version when the calls that use it have ended; runs in a thread of its own."""
        with self._changed:
            self._changed.wait_for(lambda: not version.calls)
            model, version.model = version.model, None
        if model is not None:
            model.close()
        del model
        gc.collect()  # A graph refers to itself in circles.
        with self._changed:
            self._finish(version, State.END, None)
        logger.info("unloaded %s version %d", version.name, version.number)

    def cancel(self) -> None:
        """Lets a `reload` that waits for models end soon; may be called from a signal handler."""
        self._stopped.set()

    def stop(self) -> None:
        """Ends the polling, and closes every version when its calls have ended."""
        self._stopped.set()
        with self._changed:
            self._aspired = {name: {} for name in self._versions}
            self._reconcile()
            self._changed.wait_for(
                lambda: all(
                    version.state in (State.END, State.START, State.LOADING)
                    for versions in self._versions.values()
                    for version in versions.values()
                ),
                timeout=10,
            )

    # === Requests ===

    @contextlib.contextmanager
    def acquire(self, spec: model_pb2.ModelSpec) -> Iterator[Version]:
        """The version that a request asks for; it stays loaded until the `with` block ends.

        Raises:
            ServingError: there is none.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        with self._changed:
            choice = spec.WhichOneof("version_choice")
            if choice is None:
                version, wanted = self._latest(spec.name), f"Latest({spec.name})"
            else:
                number = spec.version.value
                if choice == "version_label":
                    known = self._labels.get(spec.name, {})
                    if spec.version_label not in known:
                        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
                    number = known[spec.version_label]
                version = self._versions.get(spec.name, {}).get(number)
                wanted = f"Specific({spec.name}, {number})"
            if version is None or version.state != State.AVAILABLE:
                raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
            version.calls += 1
        try:
            yield version
        finally:
            with self._changed:
                version.calls -= 1
                if version.state == State.UNLOADING:
                    self._changed.notify_all()

    def _latest(self, name: str) -> Version | None:
        available = [version for version in self._versions.get(name, {}).values() if version.state == State.AVAILABLE]
        return max(available, key=lambda version: version.number, default=None)

    def status(self, name: str, number: int | None = None) -> list[tuple[int, State, ServingError | None]]:
        """Number, state and error of the versions, newest first; those that are gone are listed as END.

        Args:
            name: of the model.
            number: of one version, or None for all.

        Raises:
            ServingError: none is known.
        """
        with self._changed:
            known = self._versions.get(name, {})
            found = [version for version in known.values() if number in (None, version.number)]
            if not found:
                what = f"any versions of model {name}" if number is None else f"version {number} of model {name}"
                raise ServingError(Code.NOT_FOUND, f"Could not find {what}")
            found.sort(key=lambda version: -version.number)
            return [(version.number, version.state, version.error) for version in found]

    def labels(self, name: str) -> dict[str, int]:
        """Returns the labels of a model."""
        with self._changed:
            return dict(self._labels.get(name, {}))

    def names(self) -> list[str]:
        """Returns the configured models, in the order of the configuration."""
        with self._changed:
            return list(self._models)
