"""The commands: train, evaluate, sample, serve."""

from pipelines.start import set_log_level

# Before TensorFlow is imported.
set_log_level()
