"""The commands: train, evaluate, sample, serve; `tfar` runs them by their names."""

from pipelines.start import set_log_level

# Before TensorFlow is imported.
set_log_level()
