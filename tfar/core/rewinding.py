"""Which states of the incremental evaluation can be taken back to an earlier position."""

from __future__ import annotations

from tfar.core.paths import layers_by_path
from tfar.core.request import NOTHING, Request
from tfar.core.stage import Stage


def rewindable_positions(stage: Stage, context: Request = NOTHING) -> int:
    """Returns within how many positions the state of a network goes on from an earlier one; 0: not at all.

    It is the smallest `rewindable` of the layers that keep a state: where they look up by position what they keep,
    entries of later positions are not read before they are written anew. The position and the last value of the carry
    are then all that has to be set.

    Args:
        stage: the model.
        context: as in `Stage.begin`.

    Example:
        >>> import tfar
        >>> head = tfar.heads.Categorical(4)
        >>> transformer = tfar.models.CausalTransformer((6,), head, width=8, num_layers=1, num_heads=2)
        >>> rewindable_positions(*transformer.stages), rewindable_positions(*tfar.models.CharRNN((6,), head).stages)
        (6, 0)
    """
    layers = layers_by_path(stage.network)
    paths = {key.rsplit("/", 1)[0].partition("#")[0] for key in stage.spec(context).state}
    return min((getattr(layers[path], "rewindable", 0) for path in paths), default=0)
