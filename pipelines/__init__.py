"""The commands: train, evaluate, sample, serve."""

from export.quiet import set_log_level

# Before TensorFlow is imported.
set_log_level()
