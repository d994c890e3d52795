"""What a model of several parts knows of them: shapes, orders, what they are told, and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import checked_integer
from tfar.core.request import NOTHING, Request
from tfar.core.stage import Stage
from tfar.models.chain_draws import Draws, KnownValues, check_parts_prefix, draw_parts
from tfar.models.part import Part
from tfar.models.sampled import SampledDensity
from tfar.sampling.batches import draw_whole
from tfar.sampling.inputs import SampleInputs


class PartedDensity(SampledDensity):
    """The methods of `Chain` besides likelihood, training and configuration.

    Attributes:
        parts: in the order of drawing.
        drop_condition: layer that drops conditions in training, or None.
    """

    parts: list[Part]
    drop_condition: keras.layers.Layer | None

    # Properties.

    @property
    def event_shape(self) -> tuple[Any, ...]:
        """Shape of one example."""
        return self.event.event_shape

    @property
    def head(self) -> Any:
        """The head that values of x follow, bound to the channels of the event."""
        return self.event.head

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of the parts in the order in which they are drawn."""
        return tuple(part.stage for part in self.parts)

    @property
    def num_passes(self) -> int:
        """Passes of networks that draw an event, those that cost a cached step alone included."""
        return sum(part.num_passes for part in self.parts)

    @property
    def has_prefixes(self) -> bool:
        """See `Density.has_prefixes`: not so where parts are auxiliary, or hold bits of the same values."""
        values = sum(part.model.event.num_dimensions for part in self.parts)
        return not self.has_auxiliary and values == self.event.num_dimensions

    @property
    def has_auxiliary(self) -> bool:
        """Whether a part is no part of x but a function of it."""
        return any(part.view.auxiliary for part in self.parts)

    def part(self, name: str) -> Part:
        """Returns the part of this name; ValueError where there is none."""
        found = [part for part in self.parts if part.name == name]
        if not found:
            raise ValueError(f"part must be one of {[part.name for part in self.parts]}, got {name!r}")
        return found[0]

    def noise_shape(self, event_shape: Any = None) -> tuple[int, int]:
        """See `Density.noise_shape`: the sum of the parts' positions, and the largest of their k."""
        positions, sizes = zip(*(part.model.noise_shape() for part in self.parts), strict=True)
        return sum(positions), max(sizes)

    def noise_slices(self) -> list[tuple[slice, slice]]:
        """Returns where the numbers of every part lie in the noise of an event: positions, and numbers of each."""
        found, start = [], 0
        for part in self.parts:
            positions, size = part.model.noise_shape()
            found.append((slice(start, start + positions), slice(0, size)))
            start += positions
        return found

    def value_order(self, context: Request = NOTHING, num: int = 1, event_shape: Any = None) -> np.ndarray:
        """See `Density.value_order`; a value whose bits are in several parts is drawn with the last of them."""
        places = np.arange(self.event.num_dimensions).reshape(1, *self.event_shape)
        own = [part for part in self.parts if not part.view.auxiliary]
        order = np.concatenate([part.view.flags(places).reshape(-1)[part.model.value_order()[0]] for part in own])
        _, last = np.unique(order[::-1], return_index=True)
        return np.tile(order[np.sort(len(order) - 1 - last)], (num, 1))

    def boundary_distances(self, x: Any, noise: Any, context: Request, temperature: Any = 1.0) -> np.ndarray:
        """See `Density.boundary_distances`; a value whose bits are in several parts has the least of theirs."""
        found = np.full([len(x), self.event.num_dimensions], np.inf)
        places = np.arange(self.event.num_dimensions).reshape(1, *self.event_shape)
        values = self.split(x)
        for index, (part, (positions, numbers)) in enumerate(zip(self.parts, self.noise_slices(), strict=True)):
            if not part.view.auxiliary:
                told = self.part_context(index, values[:index], context)
                own = part.model.boundary_distances(values[index], noise[:, positions, numbers], told, temperature)
                at = part.view.flags(places).reshape(-1)
                found[:, at] = np.minimum(found[:, at], own)
        return found

    # Between x and the parts.

    def split(self, x: Any, auxiliary: Sequence[tf.Tensor] | None = None) -> list[tf.Tensor]:
        """Values of every part, [B, *event_shape of the part], of events [B, *event_shape].

        Args:
            x: the events.
            auxiliary: values of the auxiliary parts in their order; by default those that are functions of x.
        """
        given = iter(auxiliary or ())
        values = [next(given) if auxiliary and part.view.auxiliary else part.view.take(x) for part in self.parts]
        return [tf.cast(y, part.model.head.dtype) for part, y in zip(self.parts, values, strict=True)]

    def auxiliary_of(self, x: Any) -> list[tf.Tensor]:
        """See `Density.auxiliary_of`."""
        return [y for part, y in zip(self.parts, self.split(x), strict=True) if part.view.auxiliary]

    def merge(self, values: Sequence[Any]) -> tf.Tensor:
        """Events [B, *event_shape] of the values of every part."""
        own = [(part, y) for part, y in zip(self.parts, values, strict=True) if not part.view.auxiliary]
        return tf.add_n([tf.cast(part.view.put(y, self.event_shape), self.head.dtype) for part, y in own])

    def spread(self, scores: Sequence[tf.Tensor]) -> tf.Tensor:
        """Nats [B, *positions] on the canvas of x, from those of every part."""
        pairs = zip(self.parts, scores, strict=True)
        return tf.add_n([part.view.spread(score, self.event.positions) for part, score in pairs])

    # Arguments of a call.

    def request(
        self, condition: Any = None, num: Any = None, event_shape: Any = None, auxiliary: Any = None, **choice: Any
    ) -> Request:
        """Checks the arguments of a call besides the event; returns them as a request.

        Args:
            condition: values of the condition, [B, ...], or one value for all.
            num: number of events.
            event_shape: shape of the events, where it is known.
            auxiliary: values of the auxiliary parts, one array [B, *event_shape of the part] for each of them.
            **choice: none: there is one factorization.

        Raises:
            ValueError: an argument is not acceptable for this model.
        """
        if any(value is not None for value in choice.values()):
            raise ValueError(f"{sorted(choice)[0]} must be None: a {type(self).__name__} has one factorization")
        request = Request(self.check_condition(condition, num, event_shape))
        if auxiliary is None:
            return request
        parts = [part for part in self.parts if part.view.auxiliary]
        if not isinstance(auxiliary, tuple | list) or len(auxiliary) != len(parts):
            names = [part.name for part in parts]
            raise ValueError(f"auxiliary must be a list of one array for each of the parts {names}")
        for part, y in zip(parts, auxiliary, strict=True):
            part.model.check_shape(y, f"auxiliary of part {part.name!r}")
            part.model.head.check(y, f"auxiliary of part {part.name!r}")
        return request._replace(auxiliary=tuple(tf.convert_to_tensor(y) for y in auxiliary))

    def context(self, request: Request = NOTHING, training: bool | None = None) -> Request:
        """Replaces the condition of a request by its features, see `AutoregressiveModel.context`."""
        request = request._replace(auxiliary=None)
        if request.condition is None:
            return request
        features = self.condition.encode(request.condition)
        if self.drop_condition is not None:
            features = self.drop_condition(features, **({} if training is None else {"training": training}))
        return request._replace(condition=features)

    def begin_draws(self, request: Request, noise: tf.Tensor) -> tuple[Request, tf.Tensor]:
        """See `Density.begin_draws`; nothing is drawn before the first part."""
        return self.context(request), noise

    def part_context(
        self, index: int, earlier: Sequence[tf.Tensor], context: Request = NOTHING, guided: bool = False
    ) -> Request:
        """Returns the context of a part.

        Args:
            index: of the part.
            earlier: values of the parts before it.
            context: of the chain.
            guided: see `Part.context`.
        """
        return self.parts[index].context(earlier, context.condition, guided)

    # Draws.

    def sample_parts(
        self,
        num: int,
        condition: Any = None,
        seed: Any = None,
        temperature: Any = 1.0,
        *,
        batch_size: int = 16,
        jit_compile: bool = True,
        **choice: Any,
    ) -> list[tf.Tensor]:
        """Draws events as `sample` does, and returns the values of every part, those of auxiliary parts included.

        Args:
            num: number of events.
            condition: as in `sample`.
            seed: as in `sample`, which draws the same events from the same seed.
            temperature: as in `sample`.
            batch_size: as in `sample`.
            jit_compile: as in `sample`.
            **choice: `auxiliary=`, values of the auxiliary parts, which then are not drawn.

        Returns:
            A list of [num, *event_shape of the part], in the order of drawing.
        """
        values = tf.zeros(self._sample_shape(checked_integer("num", num, low=1), None), self.head.dtype)
        options: dict[str, Any] = {"method": "incremental", "batch_size": batch_size, "jit_compile": jit_compile}
        options |= {"progress": None, "block": None, "forecaster": None, "return_passes": False}
        return self._draw(values, None, condition, choice, seed, temperature, None, 1.0, in_parts=True, **options)

    def _draw_events(
        self,
        values: tf.Tensor,
        observed: np.ndarray | None,
        request: Request,
        temperature: tf.Tensor,
        noise: tf.Tensor,
        guidance_scale: float,
        in_parts: bool = False,
        **options: Any,
    ) -> Any:
        """See `SampledDensity._draw_events`; with `in_parts` the values of every part."""
        flags = self._known_flags(observed, int(values.shape[0]), request.auxiliary is not None)
        known = KnownValues(self.split(values, request.auxiliary), flags)
        given = Draws(known, noise, temperature, self.context(request))
        drawn = draw_parts(self, self._compiled, given, guidance_scale, **options)
        return drawn if in_parts else self.merge(drawn)

    def _known_flags(self, observed: np.ndarray | None, num: int, with_auxiliary: bool) -> list[np.ndarray] | None:
        """Returns which values of every part are known; raises ValueError where they are no prefix."""
        if observed is None and not with_auxiliary:
            return None
        observed = np.zeros([num, *self.event_shape], bool) if observed is None else observed
        auxiliary = [part.name for part in self.parts if part.view.auxiliary]
        if auxiliary and not with_auxiliary and observed.any():
            raise ValueError(
                f"auxiliary must be given to complete, the values of {auxiliary}: p(rest | observed) is not exact "
                "without them"
            )
        whole = lambda part: np.full([num, *part.model.event_shape], with_auxiliary)  # noqa: E731
        flags = [whole(part) if part.view.auxiliary else part.view.flags(observed) for part in self.parts]
        own = [index for index, part in enumerate(self.parts) if not part.view.auxiliary]
        check_parts_prefix([self.parts[index] for index in own], [flags[index] for index in own], observed)
        return flags

    def sample_from_noise(
        self,
        noise: tf.Tensor,
        condition: tf.Tensor | None = None,
        temperature: tf.Tensor | None = None,
        values: tf.Tensor | None = None,
        observed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """See `SampledDensity.sample_from_noise`."""
        batch = tf.shape(noise)[0]
        context = self.context(Request(condition))
        values = tf.zeros([batch, *self.event_shape], self.head.dtype) if values is None else values
        temperature = tf.ones([batch]) if temperature is None else temperature
        drawn: list[tf.Tensor] = []
        for index, (part, y) in enumerate(zip(self.parts, self.split(values), strict=True)):
            known = None if observed is None else part.model.event.to_grid(part.view.flags(observed))
            own = noise[:, self.noise_slices()[index][0], : self.noise_slices()[index][1].stop]
            inputs = SampleInputs(own, temperature, part.model.event.to_grid(y), known)
            cells = draw_whole(part.stage, inputs, self.part_context(index, drawn, context))
            drawn.append(tf.ensure_shape(tf.reshape(cells, tf.shape(y)), [None, *part.model.event_shape]))
        return self.merge(drawn)
