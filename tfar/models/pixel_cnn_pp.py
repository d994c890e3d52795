r"""PixelCNN++: two shifted stacks that go down to a quarter of the resolution and back, with shortcut connections.

    p(x) = prod_i p(x_i | x_<i)        one factor per pixel; the colours are ordered by the logistic mixture

                 down                       up
    32 x 32   -- 5 blocks --+- - - - - -+-- 6 blocks -- 1 x 1 -->  parameters of the mixture
                            |           |
    16 x 16                 5 blocks - - 6 blocks                  - -  shortcuts, every block to its mirror image
                            |           |
     8 x 8                  5 blocks - - 5 blocks

Reference: Salimans, Karpathy, Chen, Kingma, PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture
Likelihood and Other Modifications, 2017; https://github.com/openai/pixel-cnn. With `block_size` the convolutions of
the residual blocks are block-sparse: Gray, Radford, Kingma, GPU Kernels for Block-Sparse Weights, 2017.

Differences from the reference implementation: the loss is the mean of bits/dim (the optimizer of the configuration
accounts for it); data-dependent initialization runs without dropout, so that it is a function of the data alone; a map
as a condition is averaged over 2 x 2 pixels where the resolution is halved. Block-sparse layouts are random and
regular, every block is connected to equally many; the 1 x 1 shortcuts, and what changes the resolution, stay dense.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tfar.core.checks import check_sizes
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers.block_sparse import BlockSparsity
from tfar.layers.causal_conv2d import CausalConv2D
from tfar.layers.composite import Composite
from tfar.layers.downsampled import Downsampled
from tfar.layers.gated_resnet import GatedResnet, shared_activations
from tfar.layers.ones_channel import OnesChannel
from tfar.layers.pointwise import Pointwise
from tfar.layers.stacks import VerticalConv2D
from tfar.layers.transposed_conv import CausalTransposedConv2D
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.presets import RGB_PIXELS


@keras.saving.register_keras_serializable("tfar")
class Resolution(Composite):
    """The blocks at one resolution, on the way down and on the way up, around those at half of it.

    u is the vertical stack (rows above), ul the horizontal one (rows above and pixels to the left). Every block on the
    way up has a shortcut from its mirror image on the way down.
    """

    def __init__(
        self,
        num_resnets: int,
        options: dict[str, Any],
        inner: Downsampled | None,
        sparsities: Iterator[BlockSparsity | None],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.inner = inner
        num_up = num_resnets + (inner is not None)
        vertical = {"kind": "vertical", "vertical_shortcut": True, **options}
        horizontal = {"kind": "causal", "vertical_shortcut": True, **options}
        blocks = lambda number, kind: [GatedResnet(sparsity=next(sparsities), **kind) for _ in range(number)]  # noqa: E731
        self.down_u, self.down_ul = blocks(num_resnets, vertical), blocks(num_resnets, horizontal)
        self.up_u, self.up_ul = blocks(num_up, vertical), blocks(num_up, horizontal)

    def call(self, u: tf.Tensor, ul: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Both stacks, [B, H, W, filters] each."""
        us, uls = [u], [ul]
        for u_block, ul_block in zip(self.down_u, self.down_ul, strict=True):
            us.append(u_block(us[-1], condition=condition))
            uls.append(ul_block(uls[-1], us[-1], condition=condition))
        if self.inner is None:
            u, ul = us.pop(), uls.pop()
        elif condition is None:
            u, ul = self.inner(us[-1], uls[-1])
        else:
            is_map = condition.shape.rank == 4
            u, ul = self.inner(us[-1], uls[-1], tf.nn.avg_pool2d(condition, 2, 2, "SAME") if is_map else condition)
        for u_block, ul_block in zip(self.up_u, self.up_ul, strict=True):
            u = u_block(u, us.pop(), condition=condition)
            ul = ul_block(ul, u, uls.pop(), condition=condition)
        return u, ul


@keras.saving.register_keras_serializable("tfar")
class PixelCNNPPNetwork(Composite):
    """Shifted inputs, the blocks of all resolutions, the outputs: [B, H, W, F] -> [B, H, W, outputs]."""

    def __init__(self, body: Resolution, filters: int, outputs: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.ones = OnesChannel()
        shifted: dict[str, Any] = {"exclusive": True, "shift_output": True, "weight_norm": True}
        self.rows_above = VerticalConv2D(filters, (2, 3), hand_out=False, **shifted)
        self.row_above = VerticalConv2D(filters, (1, 3), **shifted)
        self.left = CausalConv2D(filters, (2, 1), exclusive=True, weight_norm=True)
        self.body = body
        self.outputs = Pointwise(outputs, weight_norm=True)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Parameters of the head for every pixel."""
        x = self.ones(x)
        with shared_activations():
            _, ul = self.body(self.rows_above(x), self.row_above(x) + self.left(x), condition)
        return self.outputs(tf.nn.elu(ul))


@keras.saving.register_keras_serializable("tfar")
class PixelCNNPP(AutoregressiveModel):
    """A density over images by two shifted stacks of gated residual blocks at several resolutions.

    Args:
        event_shape: (height, width, channels); height and width are divisible by 2^(num_resolutions - 1).
        head: `DiscretizedLogisticMixture(K)` (paper: K = 10), or any head for images of one channel.
        filters: feature maps (paper: 160).
        num_resnets: gated residual blocks per resolution, stack and direction; one more on the way up where the
            resolution was raised (paper: 5).
        nonlinearity: "concat_elu" (paper), "elu" or "relu".
        dropout: rate inside of the blocks (paper: 0.5).
        condition: `Label`, `Vector` or `Spatial`; enters every block.
        num_resolutions: 3 goes down to a quarter (paper).
        embedding_dim: size of a learned embedding of the input values; None feeds scaled values.
        block_size: makes the convolutions of the residual blocks block-sparse, with blocks of so many channels (8, 16
            or 32 in the literature); divides `filters`. None: dense.
        density: part of the blocks that is kept; density * filters / block_size is a whole number.
        **kwargs: name and dtype.

    Raises:
        ValueError: the image cannot be halved so often, the head orders the colours of an image itself, or `block_size`
            and `density` do not divide `filters`.

    Example:
        >>> import tfar
        >>> head = tfar.heads.DiscretizedLogisticMixture(2)
        >>> model = tfar.models.PixelCNNPP((4, 4, 3), head, filters=4, num_resnets=1)
        >>> model(tf.zeros([1, 4, 4, 3], tf.uint8)).shape
        TensorShape([1, 4, 4, 20])
    """

    _SMALL = {"num_resnets": 2, "dropout": 0.1}
    _RGB = {**RGB_PIXELS, "num_resnets": 5, "dropout": 0.5}
    network: PixelCNNPPNetwork

    PRESETS = {
        "pixel_cnn_pp_tiny": {"filters": 4, "num_resnets": 1, "num_resolutions": 2, "dropout": 0.0},
        "pixel_cnn_pp_small": {**_SMALL, "filters": 32},
        "pixel_cnn_pp_cifar10": {**_RGB, "filters": 160},
        "pixel_cnn_pp_block_sparse_small": {**_SMALL, "filters": 64, "block_size": 8, "density": 0.25},
        "pixel_cnn_pp_block_sparse_cifar10": {**_RGB, "filters": 352, "block_size": 16, "density": 3 / 22},
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        filters: int = 160,
        num_resnets: int = 5,
        nonlinearity: str = "concat_elu",
        dropout: float = 0.5,
        condition: Condition | None = None,
        num_resolutions: int = 3,
        embedding_dim: int | None = None,
        block_size: int | None = None,
        density: float = 1.0,
        **kwargs: Any,
    ):
        event = Event(event_shape, head)
        check_whole_pixels(event, type(self).__name__)
        check_sizes(filters=filters, num_resnets=num_resnets, num_resolutions=num_resolutions)
        factor = 2 ** (num_resolutions - 1)
        if any(size % factor for size in event.grid):
            raise ValueError(
                f"event_shape must have height and width divisible by {factor} for num_resolutions={num_resolutions}, "
                f"got {tuple(event_shape)}"
            )
        sparsities: Iterator[BlockSparsity | None] = itertools.repeat(None)
        if block_size is not None:
            BlockSparsity(block_size, density).layout(filters, filters)  # raises where the sizes do not fit
            sparsities = (BlockSparsity(block_size, density, seed) for seed in itertools.count())
        elif density != 1:
            raise ValueError(f"density must be 1.0 without block_size, got {density}")
        options = {"filters": filters, "nonlinearity": nonlinearity, "dropout": dropout}
        body = Resolution(num_resnets, options, None, sparsities)
        for _ in range(num_resolutions - 1):
            down = [
                VerticalConv2D(filters, (2, 3), strides=2, hand_out=False, weight_norm=True),
                CausalConv2D(filters, (2, 2), strides=2, weight_norm=True),
            ]
            up = [CausalTransposedConv2D(filters, size, weight_norm=True) for size in ((2, 3), (2, 2))]
            body = Resolution(num_resnets, options, Downsampled(down, body, up), sparsities)
        network = PixelCNNPPNetwork(body, filters, event.num_outputs)
        super().__init__(network, event_shape, head, condition, embedding_dim=embedding_dim, **kwargs)


def check_whole_pixels(event: Event, name: str) -> None:
    """Raises ValueError where the head wants the colours of a pixel in order, which these networks do not give."""
    if event.groups > 1:
        raise ValueError(
            f"head must model whole pixels in a {name}, such as DiscretizedLogisticMixture, for images of "
            f"{event.channels} channels, got {type(event.head).__name__}"
        )
