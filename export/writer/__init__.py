"""SavedModels for TensorFlow Serving: what a version can do, how it is written, and its check against Python."""
