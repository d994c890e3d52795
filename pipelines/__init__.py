"""The commands: train, evaluate, sample, serve."""

import os

# TensorFlow's start-up messages say nothing about a run; set before it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
