"""Asserts causality by the Jacobian: zero to the future, not zero to the visible past."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.request import NOTHING
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.chain import Chain
from tfar.testing.inputs import full_request, orders, random_events, randomize_weights

Pairs = Iterable[tuple[int, int]]


def dependencies(
    function: Callable[..., tf.Tensor],
    x: tf.Tensor,
    num_targets: int | None = None,
    num_sources: int | None = None,
    context: Any = None,
    max_rows: int = 256,
) -> np.ndarray:
    """How strongly every output depends on every input, by exact differentiation.

    The outputs of a target are mixed with random weights into one number, whose gradient is taken. All targets are
    differentiated at once: the batch is repeated once per target, and in each copy another target is summed.

    Args:
        function: `function(x)` or `function(x, context)`; examples of a batch must not depend on each other.
        x: input, float [B, ...].
        num_targets: the output [B, ...] is cut into so many equal parts, in the order in which it is stored; by
            default one per cell, that is the product of all sizes but the first and the last.
        num_sources: the same for the input.
        context: second argument of `function`, tensors [B, ...] or scalars in any nesting; None stands for a missing
            one.
        max_rows: examples that are evaluated at once.

    Returns:
        float64 [B, num_targets, num_sources]: greatest absolute derivative; 0 means: does not see.

    Example:
        >>> dependencies(lambda x: tf.cumsum(x, 1), tf.ones([1, 3, 1]))[0].astype(bool).astype(int).tolist()
        [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    x = tf.convert_to_tensor(x)
    batch = int(x.shape[0])

    def call(x: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        take = lambda part: part if part is None or not part.shape.rank else tf.gather(part, rows)  # noqa: E731
        return function(x) if context is None else function(x, tf.nest.map_structure(take, context))

    outputs = call(x[:1], tf.range(1)).shape
    targets = num_targets or int(np.prod(outputs[1:-1]))
    sources = num_sources or int(np.prod(x.shape[1:-1]))
    weights = np.random.default_rng(0).normal(size=(targets, int(np.prod(outputs[1:])) // targets))
    found = np.zeros([batch, targets, sources])
    step = max(1, max_rows // batch)
    for begin in range(0, targets, step):
        chosen = np.arange(begin, min(begin + step, targets))
        rows = np.tile(np.arange(batch), len(chosen))
        repeated = tf.gather(x, rows)
        with tf.GradientTape() as tape:
            tape.watch(repeated)
            y = call(repeated, tf.constant(rows))
            y = tf.reshape(y, [len(chosen), batch, targets, -1])
            y = tf.gather(y, chosen, axis=2, batch_dims=0)
            own = tf.linalg.diag_part(tf.transpose(y, [1, 3, 0, 2]))  # copy t keeps target t: [batch, outputs, t]
            total = tf.reduce_sum(own * tf.constant(weights[chosen].T, own.dtype))
        gradient = tape.gradient(total, repeated)
        if gradient is None:
            continue
        parts = np.abs(tf.cast(gradient, tf.float64).numpy()).reshape(len(chosen), batch, sources, -1)
        found[:, chosen] = np.where(np.isnan(parts), np.inf, parts).max(3).transpose(1, 0, 2)
    return found


def assert_causal(
    model: AutoregressiveModel,
    condition: Any = None,
    blind: Pairs | Callable[[AutoregressiveModel], Pairs] | None = None,
    *,
    num_draws: int = 8,
    num_weights: int = 4,
    seed: int = 0,
    length: int = 8,
    tolerance: float = 0.0,
) -> None:
    """Asserts that every factor depends on all of its past and on nothing else.

    The parameters of the head are differentiated with respect to the encoded event. A position may not depend on
    itself or on a position that is drawn later, and must depend on every position that is drawn earlier. The order
    is `model.ordering`, or that of the member where an ensemble has several; inside of a cell whose channels the
    network orders: R, then G, then B. Of a chain the positions of all parts are one after the other, and its values
    are differentiated as they are stored (models of parts with an `embedding_dim` have no such derivative).

    Args:
        model: the model.
        condition: value of the condition, one or [num_draws, ...], or a `Request`; random by default, and all members
            of an ensemble in turn.
        blind: pairs (target, source) of flat positions (of a chain: those of all parts) that the paper says are not
            seen although the source is drawn before the target, or a callable of the model that returns them. They are
            asserted not to be seen.
        num_draws: points at which the derivatives are taken: encoded random events, to the second half of which normal
            noise is added (binary events have few values). A leak in one of them is a leak; a position that is seen
            in one of them is seen (a ReLU may hide it elsewhere).
        num_weights: where the model's own weights leave a position unseen (they may be 0, or a ReLU dead), so many
            random ones are tried before that counts as a blind spot; the own weights are put back.
        seed: of the random events.
        length: length of the events of a model of any length.
        tolerance: derivatives up to this size count as 0. Leave it at 0 on CPU; some GPU kernels are not exact.

    Raises:
        AssertionError: naming the positions.

    Example:
        >>> import tfar
        >>> model = tfar.models.from_preset("gated_pixel_cnn_tiny", event_shape=(3, 3, 1), head=tfar.heads.Bernoulli())
        >>> assert_causal(model)
        >>> assert_causal(model, blind={(8, 0)})
        Traceback (most recent call last):
        AssertionError: 1 pair is seen that should be blind: position (2, 2, 0) sees (0, 0, 0) ...
    """
    x = random_events(model, num_draws, seed, length)
    context = model.context(full_request(model, condition, num_draws))
    if isinstance(model, Chain):
        function, encoded, ranks = _chain_outputs(model), _packed(model, model.split(x)), _chain_ranks(model, num_draws)
        positions = ranks.shape[1:]
    else:
        function, encoded, ranks, event = model.decode, model.encode(x), _ranks(model, x, context), model.event
        positions = x.shape[1:] if len(event.positions) == len(event.event_shape) else event.positions
    noise = np.random.default_rng(seed).normal(size=encoded.shape)
    noise[: (num_draws + 1) // 2] = 0
    encoded += tf.constant(noise, tf.float32)
    before = ranks[:, None, :] < ranks[:, :, None]
    hidden = np.zeros(before.shape[1:], bool)
    for target, source in (blind(model) if callable(blind) else blind) or ():
        hidden[target, source] = True

    def differentiate() -> np.ndarray:
        return dependencies(function, encoded, ranks.shape[1], ranks.shape[1], context)

    def refuse(pairs: np.ndarray, what: str, verb: str) -> None:
        if pairs.any():
            raise AssertionError(_describe(pairs, what, verb, ranks, strength, positions))

    strength = differentiate()
    own = model.get_weights()
    try:
        for trial in range(num_weights + 1):
            seen = strength > tolerance
            refuse(seen & ~before, "not causal", "depends on")
            refuse(seen & before & hidden, "seen that should be blind", "sees")
            # A pair counts as seen when one of the draws in which the source comes first shows it.
            missing = before & ~hidden & ~(seen & before).any(0)
            if trial == num_weights or not missing.any():
                break
            randomize_weights(model, seed=seed + trial)
            strength = np.maximum(strength, differentiate())
    finally:
        model.set_weights(own)
    refuse(missing, "not seen (a blind spot, or all weights between them are 0)", "does not see")


def _describe(
    pairs: np.ndarray, what: str, verb: str, ranks: np.ndarray, strength: np.ndarray, positions: tuple[int, ...]
) -> str:
    """Names pairs of positions about which something is wrong.

    Args:
        pairs: bool [B, target, source], True where it is wrong in a draw.
        what: is wrong.
        verb: what the target does with the source.
        ranks: of the flat positions, [B, N].
        strength: derivatives, [B, target, source].
        positions: shape of the positions.
    """
    found = np.argwhere(pairs.any(0))
    named = []
    for target, source in found[:5]:
        draw = int(np.argmax(pairs[:, target, source]))
        named.append(
            f"position {_place(target, positions)} {verb} {_place(source, positions)} (ranks "
            f"{ranks[draw, target]} and {ranks[draw, source]}, derivative {strength[:, target, source].max():.3g})"
        )
    count = "1 pair is" if len(found) == 1 else f"{len(found)} pairs are"
    return f"{count} {what}: {'; '.join(named)}{'; ...' if len(found) > 5 else ''}"


def _place(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(flat, shape))


def _ranks(model: AutoregressiveModel, x: np.ndarray, context: Any) -> np.ndarray:
    """Ranks of the flat positions, [B, N]: of the cells, and inside of them of the channels that the network orders."""
    ranks = np.argsort(orders(model, x, context), 1)
    if any(ordering.has_ties for ordering in model.orderings):
        ranks = np.broadcast_to(model.ordering.ranks.reshape(-1), ranks.shape)
    return (ranks[..., None] * model.event.groups + np.arange(model.event.groups)).reshape(len(x), -1)


# === Chains ===


def _packed(chain: Chain, values: list[tf.Tensor]) -> tf.Tensor:
    """Values of the parts, position by position: float32 [B, positions of all parts, most values of one]."""
    return _stacked(chain, [tf.cast(y, tf.float32) for y in values])


def _stacked(chain: Chain, tensors: list[tf.Tensor]) -> tf.Tensor:
    """Tensors of the parts [B, ...] as [B, positions of all parts, most numbers of one], filled up with 0."""
    pairs = zip(chain.parts, tensors, strict=True)
    flat = [tf.reshape(x, [x.shape[0], part.model.event.num_positions, -1]) for part, x in pairs]
    width = max(x.shape[-1] for x in flat)
    return tf.concat([tf.pad(x, [[0, 0], [0, 0], [0, width - x.shape[-1]]]) for x in flat], 1)


def _chain_outputs(chain: Chain) -> Callable[..., tf.Tensor]:
    """Returns the function from `_packed` values and the context to the parameters of all positions, [B, N, P]."""

    def outputs(packed: tf.Tensor, context: Any = NOTHING) -> tf.Tensor:
        sizes = [part.model.event.num_positions for part in chain.parts]
        values = []
        for part, x in zip(chain.parts, tf.split(packed, sizes, 1), strict=True):
            each = part.model.event.num_dimensions // part.model.event.num_positions
            values.append(tf.reshape(x[..., :each], [-1, *part.model.event_shape]))
        found = [
            part.params(values[index], chain.part_context(index, values[:index], context))
            for index, part in enumerate(chain.parts)
        ]
        return _stacked(chain, found)

    return outputs


def _chain_ranks(chain: Chain, num: int) -> np.ndarray:
    """Ranks of the positions of all parts, [num, N]."""
    found, first = [], 0
    for part in chain.parts:
        groups = part.model.event.groups
        ranks = (part.model.ordering.ranks.reshape(-1, 1) * groups + np.arange(groups)).reshape(-1)
        found.append(first + ranks)
        first += ranks.max() + 1
    return np.tile(np.concatenate(found), (num, 1))
