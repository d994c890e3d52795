"""Writes SavedModels for TensorFlow Serving, and checks them against Python."""
