"""The server: models, gRPC port, REST port."""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import tensorflow as tf

from export.client.errors import Code, ServingError
from export.server import configuration, rest, services
from export.server.calls import Calls
from export.server.demo import Demo
from export.server.errors import invalid
from export.server.health import add_health
from export.server.loaded_model import LoadedModel
from export.server.manager import ModelManager
from export.server.metrics import Metrics
from export.server.options import Options
from export.server.warmup import warm_up

logger = logging.getLogger("tfar.serving")
DEMO_FOLDER = Path(__file__).resolve().with_name("page")
# Calls at once that a client can cancel: every step touches all places, some microseconds each.
_WATCHED = 64


class Server:
    """Serves models until it is stopped; use it in a `with` statement, or call `start` and `stop`.

    The ports open when the models of the configuration are loaded and warmed up.

    Args:
        options: as the command takes them.

    Attributes:
        port: of gRPC, once started; None where there is none.
        rest_port: of HTTP, once started; None where there is none.
    """

    def __init__(self, options: Options):
        self.options = options
        self.metrics = Metrics()
        self.manager = ModelManager(
            self._load,
            options.file_system_poll_wait_seconds,
            options.max_num_load_retries,
            options.load_retry_interval_micros / 1e6,
            options.allow_version_labels_for_unavailable_models,
        )
        content = options.enable_serialization_as_tensor_content
        self.calls = Calls(self.manager, self.metrics, options.max_calls(), content, options.max_call_seconds)
        self.port: int | None = None
        self.rest_port: int | None = None
        self._grpc: grpc.Server | None = None
        self._messages = services.waiting_for_messages(options.grpc_max_message_bytes)
        self._rest: rest.RestServer | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Loads the models and opens the ports.

        Raises:
            ServingError: a file is wrong, a model does not load or a port is taken.
        """
        options = self.options
        try:
            # What is wrong with these files should not wait for the models.
            credentials = self._credentials()
            metrics_path = self._metrics_path()
            self.manager.reload(self._configuration())
            if options.model_config_file and options.model_config_file_poll_wait_seconds:
                threading.Thread(target=self._follow_configuration, daemon=True).start()
            self._open_grpc(credentials)
            self._open_rest(metrics_path)
        except BaseException:
            self.stop(0)
            raise

    def _configuration(self) -> configuration.model_server_config_pb2.ModelServerConfig:
        if self.options.model_config_file:
            return configuration.read_models(self.options.model_config_file)
        # The released server takes absolute paths only; a person at a shell means the folder that is there.
        return configuration.single_model(self.options.model_name, os.path.abspath(self.options.model_base_path))

    def _follow_configuration(self) -> None:
        """Takes over the file of models again and again, so that a label gets its version once that is available."""
        seconds = self.options.model_config_file_poll_wait_seconds
        last, failure = self._configuration(), ""
        while not self._stopped.wait(seconds):
            try:
                config = self._configuration()
                self.manager.reload(config, seconds)
                if config != last or failure:
                    logger.info("took over the changed %s", self.options.model_config_file)
                last, failure = config, ""
            except ServingError as error:
                if failure != str(error):
                    logger.error("the changed %s: %s", self.options.model_config_file, error)
                failure = str(error)

    def _load(self, name: str, number: int, path: Path) -> LoadedModel:
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=self.options.tensorflow_intra_op_parallelism,
            inter_op_parallelism_threads=self.options.tensorflow_inter_op_parallelism,
            allow_soft_placement=True,
        )
        logger.info("loading %s version %d, and warming it up", name, number)
        try:
            return self._warmed(
                name, number, LoadedModel(path, config, watched=min(self.options.max_calls(), _WATCHED))
            )
        except ServingError as error:
            # Clients ask for the status of a version; where it lies is no affair of theirs.
            logger.error("%s version %d is %s", name, number, path)
            raise ServingError(error.code, error.message.replace(str(path), f"{name}/{number}")) from error
        except Exception as error:
            logger.exception("%s version %d is %s", name, number, path)
            raise ServingError(Code.INTERNAL, "loading failed; the log of the server says why") from error

    def _warmed(self, name: str, number: int, model: LoadedModel) -> LoadedModel:
        try:
            if self.options.enable_model_warmup:
                started = time.perf_counter()
                num = warm_up(model, number, self.metrics, self.options.num_request_iterations_for_warmup)
                if num:
                    seconds = time.perf_counter() - started
                    logger.info("warmed %s version %d up with %d requests in %.1f s", name, number, num, seconds)
            return model
        except BaseException:
            model.close()
            raise

    def _credentials(self) -> grpc.ServerCredentials | None:
        if not self.options.ssl_config_file:
            return None
        config = configuration.read_ssl(self.options.ssl_config_file)
        if not config.server_key or not config.server_cert:
            raise invalid(f"{self.options.ssl_config_file} must hold server_key and server_cert, as PEM texts")
        if config.client_verify and not config.custom_ca:
            raise invalid(f"{self.options.ssl_config_file}: client_verify needs custom_ca")
        return grpc.ssl_server_credentials(
            [(config.server_key.encode(), config.server_cert.encode())],
            root_certificates=config.custom_ca.encode() or None,
            require_client_auth=config.client_verify,
        )

    def _metrics_path(self) -> str | None:
        if not self.options.monitoring_config_file:
            return None
        config = configuration.read_monitoring(self.options.monitoring_config_file).prometheus_config
        return (config.path or rest.METRICS_PATH) if config.enable else None

    def _open_grpc(self, credentials: grpc.ServerCredentials | None) -> None:
        options = self.options
        self._grpc = grpc.server(
            futures.ThreadPoolExecutor(options.max_calls() + services.WAITING_THREADS, thread_name_prefix="grpc"),
            handlers=services.handlers(self.calls, self._messages),
            options=[
                ("grpc.max_receive_message_length", options.grpc_max_message_bytes),
                ("grpc.max_send_message_length", 2**31 - 1),
                # A second server on the port must fail, not share it.
                ("grpc.so_reuseport", 0),
                *options.channel_arguments(),
            ],
        )
        if options.enable_grpc_healthcheck_service:
            add_health(self._grpc)
        try:
            if options.port is not None:
                address = f"[{options.host}]" if ":" in options.host else options.host
                address = f"{address}:{options.port}"
                if credentials is None:
                    self.port = self._grpc.add_insecure_port(address)
                else:
                    self.port = self._grpc.add_secure_port(address, credentials)
            if options.grpc_socket_path:
                address = f"unix:{options.grpc_socket_path}"
                self._grpc.add_insecure_port(address)
        except RuntimeError as error:
            raise invalid(f"gRPC cannot listen on {address}; is it in use?") from error
        self._grpc.start()

    def _open_rest(self, metrics_path: str | None) -> None:
        options = self.options
        if options.rest_api_port is None:
            return
        demo = Demo(self.calls, DEMO_FOLDER) if options.demo else None
        try:
            address = (options.host, options.rest_api_port)
            self._rest = rest.RestServer(address, self.calls, options, metrics_path, demo)
        except OSError as error:
            raise invalid(f"HTTP cannot listen on {address[0]}:{address[1]}: {error.strerror}") from error
        self.rest_port = self._rest.server_address[1]
        threading.Thread(target=self._rest.serve_forever, daemon=True, name="rest").start()

    def wait(self) -> None:
        """Returns when the server is stopped."""
        self._stopped.wait()

    def request_stop(self) -> None:
        """Lets `start` and `wait` return soon; may be called from a signal handler."""
        self.manager.cancel()
        self._stopped.set()

    def stop(self, grace: float = 5.0) -> None:
        """Closes the ports and frees the models.

        Args:
            grace: seconds that running calls may still take.
        """
        self._stopped.set()
        if self._rest is not None:
            self._rest.shutdown()
            self._rest.server_close()
            self._rest = None
        if self._grpc is not None:
            self._grpc.stop(grace).wait()
            self._grpc = None
        self._messages.stop()
        self.manager.stop()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop(0)
