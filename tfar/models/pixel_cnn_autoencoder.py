r"""An auto-encoder whose decoder is a conditional Gated PixelCNN.

    h = encoder(image)                    m numbers
    p(x | h) = prod_i p(x_i | x_<i, h)    trained end to end on x = image

The decoder models pixels given pixels, so the code need not hold texture; samples show what it holds.

Reference: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, section 2.4.

Differences from the paper: the paper takes the encoder of another convolutional auto-encoder (unpublished); here it is
a stack of strided convolutions. The image whose code conditions the decoder is an explicit argument, `condition`: for
the likelihood of an image given its own code it is given twice.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import check_sizes
from tfar.core.conditions import Spatial
from tfar.core.protocols import EventShape, Head
from tfar.core.request import Request
from tfar.layers.composite import Composite
from tfar.models.gated_pixel_cnn import GatedPixelCNN


@keras.saving.register_keras_serializable("tfar")
class ImageEncoder(Composite):
    """Convolutions of strides 2 down to at most 4 x 4, with twice the features each time, then one vector."""

    def __init__(self, height: int, width: int, filters: int, code_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.convolutions = [keras.layers.Conv2D(filters, 3, padding="same", activation="relu")]
        while max(height, width) > 4:
            height, width, filters = -(-height // 2), -(-width // 2), 2 * filters
            self.convolutions.append(keras.layers.Conv2D(filters, 3, 2, padding="same", activation="relu"))
        self.flatten, self.code = keras.layers.Flatten(), keras.layers.Dense(code_size)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, F] -> [B, code_size]."""
        for convolution in self.convolutions:
            x = convolution(x)
        return self.code(self.flatten(x))


@keras.saving.register_keras_serializable("tfar")
class PixelCNNAutoencoder(GatedPixelCNN):
    """A density over images given the code of an image: an encoder and a conditional Gated PixelCNN, trained together.

    Every method takes as `condition` an image [B, H, W, C] of data values; the decoder gets its code.

    Args:
        event_shape: (height, width, channels).
        head: as for `GatedPixelCNN`.
        code_size: m (paper: 10 and 100).
        encoder_filters: features of the first convolution of the encoder; they double with every halving.
        **kwargs: of `GatedPixelCNN`, but for `condition`.

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> import tfar
        >>> model = tfar.models.PixelCNNAutoencoder((4, 4, 1), tfar.heads.Bernoulli(), 2, filters=4, num_blocks=1)
        >>> x = tf.zeros([3, 4, 4, 1])
        >>> model.log_prob(x, x).shape, model.code(x).shape
        (TensorShape([3]), TensorShape([3, 2]))
    """

    _DECODERS = GatedPixelCNN.PRESETS
    _IMAGENET = {"encoder_filters": 64, **_DECODERS["gated_pixel_cnn_imagenet32"]}
    PRESETS = {
        "pixel_cnn_autoencoder_tiny": {"code_size": 2, "encoder_filters": 4, **_DECODERS["gated_pixel_cnn_tiny"]},
        "pixel_cnn_autoencoder_small": {"code_size": 10, "encoder_filters": 16, **_DECODERS["gated_pixel_cnn_small"]},
        "pixel_cnn_autoencoder_imagenet32_10": {"code_size": 10, **_IMAGENET},
        "pixel_cnn_autoencoder_imagenet32_100": {"code_size": 100, **_IMAGENET},
    }

    def __init__(
        self, event_shape: EventShape, head: Head, code_size: int = 10, encoder_filters: int = 32, **kwargs: Any
    ):
        check_sizes(code_size=code_size, encoder_filters=encoder_filters)
        kwargs.pop("condition", None)  # where the model is restored; it follows from the event
        super().__init__(event_shape, head, condition=Spatial(event_shape[-1]), **kwargs)
        height, width = self.event.grid
        self.encoder = ImageEncoder(height, width, encoder_filters, code_size)

    def request(
        self, condition: Any = None, num: Any = None, event_shape: Any = None, *, code: Any = None, **choice: Any
    ) -> Request:
        """See `AutoregressiveModel.request`; `code`, [num, code_size], stands in place of an image.

        Args:
            condition: images [B, H, W, C] whose codes are taken.
            num: number of events.
            event_shape: shape of the events, where it is known.
            code: float [num, code_size], instead of images.
            **choice: see `AutoregressiveModel.request`.

        Raises:
            ValueError: code or images have another shape, or are not finite.
        """
        if code is not None:
            code = np.asarray(code, np.float32)
            if code.ndim != 2 or code.shape[1] != self.code_size or not np.isfinite(code).all():
                raise ValueError(f"code must be finite numbers [num, {self.code_size}], got {code.shape}")
            return Request(code=tf.constant(code))
        request = super().request(condition, num, event_shape, **choice)
        if request.condition.shape[1:] != self.event_shape:
            raise ValueError(
                f"condition must be images [batch, {', '.join(map(str, self.event_shape))}], "
                f"got {tuple(request.condition.shape)}"
            )
        return request

    def features(self, request: Request) -> Any:
        """Returns the code, or that of the image."""
        return self.code(request.condition) if request.code is None else request.code

    def code(self, image: Any) -> tf.Tensor:
        """Encodes images.

        Args:
            image: data values, [B, H, W, C].

        Returns:
            float32 [B, code_size].
        """
        return self.encoder(self._encode_cells(tf.cast(tf.convert_to_tensor(image), self.head.dtype)))

    def reconstruct(self, image: Any, seed: Any = None, **options: Any) -> tf.Tensor:
        """Draws one image for the code of each.

        Args:
            image: data values, [B, H, W, C].
            seed: as in `sample`.
            **options: of `sample`.

        Returns:
            [B, H, W, C] of type `head.dtype`.
        """
        return self.sample(len(image), image, seed, **options)

    def sample_from_code(self, code: Any, seed: Any = None, **options: Any) -> tf.Tensor:
        """Draws an image for every code.

        Args:
            code: float [num, code_size].
            seed: as in `sample`.
            **options: of `sample`.

        Returns:
            [num, H, W, C] of type `head.dtype`.

        Raises:
            ValueError: the code has another shape, or is not finite.
        """
        return self.sample(len(code), seed=seed, code=code, **options)

    @classmethod
    def arguments(cls) -> list[str]:
        """Names of the constructor's arguments, those of the decoder too."""
        return list(dict.fromkeys([*GatedPixelCNN.arguments(), *super().arguments()]))
