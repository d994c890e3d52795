"""Scripts that end in a picture: `python -m examples.NAME`."""

import tfar as tfar  # before Keras, so that TensorFlow starts without its remarks
