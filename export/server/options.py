"""The settings of a server, from the command's flags, checked before TensorFlow is imported."""

from __future__ import annotations

import dataclasses
import os


@dataclasses.dataclass
class Options:
    """Settings of a server; names and defaults are those of tensorflow_model_server's flags, where it has them.

    Attributes:
        host: address to listen on. The released server listens on all; this one is for its own machine.
        port: of gRPC; 0 for any free one, None for none.
        grpc_socket_path: a unix socket to listen on as well, or "".
        rest_api_port: of HTTP; 0 for any free one, None for none.
        rest_api_timeout_in_ms: milliseconds that a call over HTTP may take.
        rest_api_max_body_bytes: bytes of a JSON body; larger ones are refused unread. The released server has no limit,
            neither for this nor for the next four.
        rest_api_max_body_elements: values of a JSON body, counted by its commas and opening brackets before it is
            parsed.
        rest_api_max_connections: over HTTP at once. For one more, the connection that is idle for longest is closed.
        rest_api_read_timeout_in_ms: milliseconds in which a whole request must have come, counted from the answer
            before it.
        rest_api_allowed_hosts: names that the headers Host and Origin may have, comma-separated, beside --host; * for
            any.
        model_name: of the single model.
        model_base_path: folder of its versions.
        model_config_file: text file with a ModelServerConfig, instead of the two above.
        model_config_file_poll_wait_seconds: between two looks at it; 0 for none.
        file_system_poll_wait_seconds: between two looks for new versions; 0 for a look after every change of the
            configuration only.
        max_num_load_retries: how often a failed load is tried again.
        load_retry_interval_micros: microseconds between two tries.
        enable_model_warmup: runs the warm-up requests that a version brings.
        num_request_iterations_for_warmup: how often each of them runs.
        monitoring_config_file: text file that switches the metrics on.
        ssl_config_file: text file with the keys of TLS.
        enable_grpc_healthcheck_service: answers grpc.health.v1.
        grpc_max_threads: calls at once; None for 4 a CPU. One more is refused with RESOURCE_EXHAUSTED.
        grpc_max_message_bytes: bytes of a request over gRPC; a larger one is refused with RESOURCE_EXHAUSTED. The
            released server takes 2 GiB.
        max_call_seconds: that a call may take where its client sets no earlier deadline; the released server has none.
        grpc_channel_arguments: "key=value,..." for gRPC.
        xla_cpu_compilation_enabled: lets functions with `jit_compile=True` run; otherwise they fail.
        allow_version_labels_for_unavailable_models: lets a new label point at a version that is not loaded yet.
        enable_serialization_as_tensor_content: outputs as bytes instead of typed values.
        tensorflow_intra_op_parallelism: threads within an operation; 0 for TensorFlow's choice.
        tensorflow_inter_op_parallelism: operations at once; 0 for one more than calls. With fewer a cancelled call may
            run on.
        demo: serves the demonstration page on the REST port.
    """

    host: str = "127.0.0.1"
    port: int | None = 8500
    grpc_socket_path: str = ""
    rest_api_port: int | None = None
    rest_api_timeout_in_ms: int = 30000
    rest_api_max_body_bytes: int = 16 * 2**20
    rest_api_max_body_elements: int = 2**18
    rest_api_max_connections: int = 256
    rest_api_read_timeout_in_ms: int = 30000
    rest_api_allowed_hosts: str = "localhost,127.0.0.1,::1"
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: float = 0
    file_system_poll_wait_seconds: float = 1
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    monitoring_config_file: str = ""
    ssl_config_file: str = ""
    enable_grpc_healthcheck_service: bool = False
    grpc_max_threads: int | None = None
    grpc_max_message_bytes: int = 64 * 2**20
    max_call_seconds: float = 600
    grpc_channel_arguments: str = ""
    xla_cpu_compilation_enabled: bool = False
    allow_version_labels_for_unavailable_models: bool = False
    enable_serialization_as_tensor_content: bool = False
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    demo: bool = False

    def max_calls(self) -> int:
        """Calls at once."""
        if self.grpc_max_threads is not None:
            return self.grpc_max_threads
        return 4 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4 * (os.cpu_count() or 1)

    def allowed_hosts(self) -> frozenset[str] | None:
        """Returns the names that Host and Origin may have, in small letters; None for any."""
        names = {name.strip().strip("[]").lower() for name in self.rest_api_allowed_hosts.split(",")}
        return None if "*" in names else frozenset({self.host.lower(), *names} - {""})

    def channel_arguments(self) -> list[tuple[str, int | str]]:
        """Returns the arguments of gRPC; whole numbers as such."""
        pairs = [entry.partition("=") for entry in self.grpc_channel_arguments.split(",") if entry]
        return [(key, int(value) if value.lstrip("-").isdecimal() else value) for key, _, value in pairs]

    def wrong(self) -> str | None:
        """Returns the first mistake in one line, or None."""
        if bool(self.model_base_path) == bool(self.model_config_file):
            return "give either --model_base_path (folder of the versions) or --model_config_file"
        for name in ("port", "rest_api_port"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 65536:
                return f"--{name} must lie between 0 and 65535, got {value}"
        if self.port is None and not self.grpc_socket_path:
            return "--port=0 listens on no port: give --grpc_socket_path as well"
        if self.port and self.port == self.rest_api_port:
            return f"--rest_api_port must differ from --port, got {self.port}"
        for name, least in (
            ("rest_api_timeout_in_ms", 1),
            ("rest_api_max_body_bytes", 1),
            ("rest_api_max_body_elements", 1),
            ("rest_api_max_connections", 1),
            ("rest_api_read_timeout_in_ms", 1),
            ("grpc_max_message_bytes", 1),
            ("max_num_load_retries", 0),
            ("load_retry_interval_micros", 0),
            ("num_request_iterations_for_warmup", 1),
            ("tensorflow_intra_op_parallelism", 0),
            ("tensorflow_inter_op_parallelism", 0),
            ("model_config_file_poll_wait_seconds", 0),
        ):
            if getattr(self, name) < least:
                return f"--{name} must be at least {least}, got {getattr(self, name)}"
        if self.grpc_max_threads is not None and self.grpc_max_threads < 1:
            return f"--grpc_max_threads must be at least 1, got {self.grpc_max_threads}"
        if not 0 < self.max_call_seconds < 1e6:
            return f"--max_call_seconds must lie between 0 and a million seconds, got {self.max_call_seconds:g}"
        if any("=" not in entry for entry in self.grpc_channel_arguments.split(",") if entry):
            return f"--grpc_channel_arguments must be key=value,..., got {self.grpc_channel_arguments!r}"
        for name in ("model_config_file", "monitoring_config_file", "ssl_config_file"):
            path = getattr(self, name)
            if path and not os.path.isfile(path):
                return f"--{name}={path} does not exist"
        return None
