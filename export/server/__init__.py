"""A server for development and tests that answers as TensorFlow Serving does.

It speaks the same gRPC and REST APIs, takes the same flags, runs a SavedModel the same way (a v1 session) and refuses
the same requests with the same words. It is no replacement: one Python process, no batching.
`python -m pipelines.serve` starts it.
"""
