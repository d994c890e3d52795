"""A client of the models that `python -m export` writes; it needs grpcio, protobuf and NumPy alone."""

from export.client.client import Client, Drawn, Scores
from export.client.errors import Code, ServingError
from export.client.streams import Chunk, Stream

__all__ = ["Chunk", "Client", "Code", "Drawn", "Scores", "ServingError", "Stream"]
