"""Draws samples and completions: what models of one stage do, and models of several parts override."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core import noise as noises
from tfar.core.checks import checked_integer
from tfar.core.event import Event
from tfar.core.request import NOTHING, Request
from tfar.core.stage import Stage
from tfar.models.density import Density
from tfar.sampling.batches import Method, draw_in_batches, draw_whole
from tfar.sampling.inputs import SampleInputs, cells_in_order
from tfar.sampling.observed import check_prefix

_HALF = ("float16", "bfloat16")

# Models of single precision that draw for those of half precision.
_drawers: weakref.WeakKeyDictionary[Any, SampledDensity] = weakref.WeakKeyDictionary()
_making = threading.Lock()


class SampledDensity(Density):
    """The methods of models that draw, written for a model of one stage; `Chain` overrides what it does otherwise.

    Attributes:
        event: shape of an event and the head.
        condition_dropout: share of the examples that are trained without their condition.
    """

    event: Event
    condition_dropout: float

    def encode(self, x: Any) -> tf.Tensor:
        """Data values [B, *event_shape] -> float input of the network."""
        raise NotImplementedError

    def decode(self, encoded: tf.Tensor, context: Request = NOTHING) -> tf.Tensor:
        """Encoded events -> parameters of the head [B, *positions, P]."""
        raise NotImplementedError

    def _stage(self, guidance_scale: float = 1.0) -> Stage:
        """Returns the stage of the model, which asks with and without the condition where the scale is not 1."""
        raise NotImplementedError

    def for_drawing(self) -> SampledDensity:
        """The model that events are drawn from: itself, or one of single precision with the weights that it has now.

        A network of float16 or bfloat16 rounds to 3 digits and fewer, and sums in another order round to another
        number: one event of several would depend on whether it is drawn by steps, in which batch, on which device.
        """
        if self.compute_dtype not in _HALF:
            return self
        with _making:
            if self not in _drawers:
                _drawers[self] = type(self).from_config({**self.get_config(), "dtype": "float32"})
            drawer = _drawers[self]
            for weight, other in zip(self.weights, drawer.weights, strict=True):
                other.assign(tf.cast(weight.value, other.dtype))
        drawer.text_vocabulary = self.text_vocabulary
        return drawer

    def sample(
        self,
        num: int,
        condition: Any = None,
        seed: Any = None,
        temperature: Any = 1.0,
        method: str = "incremental",
        *,
        length: int | None = None,
        prompt: Any = None,
        guidance_scale: float = 1.0,
        batch_size: int = 16,
        noise: Any = None,
        jit_compile: bool = True,
        progress: Callable[[int, int], None] | None = None,
        block: int | None = None,
        forecaster: Any = None,
        return_passes: bool = False,
        **choice: Any,
    ) -> Any:
        """Draws events. A sample is a function of its own noise, independent of the batch.

        A model of float16 or bfloat16 draws in single precision, see `for_drawing`.

        Args:
            num: number of events.
            condition: values of the condition, [num, ...], or one value for all.
            seed: an int s (example r uses [s, r]), int64 [num, 2], or None for entropy of the operating system.
            temperature: positive; a number, or one per example [num].
            method: "incremental"; "fixed_point", which draws all positions of a block at once until nothing changes
                (the same sample, for heads of whole numbers, see `tfar.sampling.fixed_point`); or "naive", which runs
                the network once per position.
            length: length of the events of a model of any length, its prompt included.
            prompt: first values of a sequence, [n] or [num, n]; taken in one parallel pass and kept.
            guidance_scale: 1 draws from p(x | h) exactly; more exaggerates the condition, at twice the cost, in a
                model that was trained with `condition_dropout`. See `tfar.core.Stage`.
            batch_size: examples that are drawn together; a larger `num` is drawn in batches of this one shape.
            noise: uniform numbers in (0, 1) to use instead of a seed, [num, *`noise_shape()`].
            jit_compile: compile the loop with XLA (slower to start, then several times faster).
            progress: called with (units done, units in all) between chunks of the loop.
            block: of method="fixed_point": rows of an image or steps of a sequence in a block; None chooses, see
                `tfar.sampling.fixed_point.block_size`.
            forecaster: of method="fixed_point": guesses the first values of every block, which saves passes, see
                `tfar.models.forecaster.Forecaster`.
            return_passes: of method="fixed_point": return the number of passes, too.
            **choice: `member=` or `ordering=`, where a model has several factorisations, see `request`; by default
                every event's noise chooses a member.

        Returns:
            [num, *event_shape] of type `head.dtype`; with `return_passes` also `tfar.sampling.Passes`.

        Raises:
            ValueError: an argument is out of range.
        """
        shape = self._sample_shape(checked_integer("num", num, low=1), length)
        values, observed = self._place_prompt(prompt, shape)
        options = {"method": method, "batch_size": batch_size, "jit_compile": jit_compile, "progress": progress}
        options |= {"block": block, "forecaster": forecaster, "return_passes": return_passes}
        return self._draw(values, observed, condition, choice, seed, temperature, noise, guidance_scale, **options)

    def complete(
        self,
        x: Any,
        observed: Any,
        condition: Any = None,
        seed: Any = None,
        temperature: Any = 1.0,
        method: str = "incremental",
        *,
        guidance_scale: float = 1.0,
        batch_size: int = 16,
        noise: Any = None,
        jit_compile: bool = True,
        progress: Callable[[int, int], None] | None = None,
        block: int | None = None,
        forecaster: Any = None,
        return_passes: bool = False,
        **choice: Any,
    ) -> Any:
        """Keeps the observed values and draws the rest from p(rest | observed, h), exactly.

        Args:
            x: data values, [B, *event_shape]; ignored where they are not observed.
            observed: bool, [*event_shape] or [B, *event_shape]; a prefix of the ordering in every example.
            condition: values of the condition, [B, ...], or one value for all.
            seed: as in `sample`.
            temperature: as in `sample`.
            method: as in `sample`.
            guidance_scale: as in `sample`.
            batch_size: as in `sample`.
            noise: as in `sample`.
            jit_compile: as in `sample`.
            progress: as in `sample`.
            block: as in `sample`.
            forecaster: as in `sample`.
            return_passes: as in `sample`.
            **choice: as in `sample`; an ensemble needs it.

        Returns:
            [B, *event_shape] of type `head.dtype`; with `return_passes` also `tfar.sampling.Passes`.

        Raises:
            ValueError: `observed` is not a prefix of the ordering; the first gap is named.
        """
        x, observed = np.asarray(x), np.asarray(observed)
        self.check_shape(x)
        if observed.dtype != bool or observed.shape not in (x.shape, x.shape[1:]):
            raise ValueError(
                f"observed must be bool of shape {x.shape[1:]} or {x.shape}, got {observed.dtype} {observed.shape}"
            )
        observed = np.broadcast_to(observed, x.shape)
        x = np.where(observed, x, 0)
        self.head.check(x, "x")
        options = {"method": method, "batch_size": batch_size, "jit_compile": jit_compile, "progress": progress}
        options |= {"block": block, "forecaster": forecaster, "return_passes": return_passes}
        values = tf.cast(x, self.head.dtype)
        return self._draw(values, observed, condition, choice, seed, temperature, noise, guidance_scale, **options)

    def sample_from_noise(
        self,
        noise: tf.Tensor,
        condition: tf.Tensor | None = None,
        temperature: tf.Tensor | None = None,
        values: tf.Tensor | None = None,
        observed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Draws events inside a `tf.function`, for exported functions: the incremental sampler as a part of the graph.

        The number of examples may be unknown while tracing; nothing is checked.

        Args:
            noise: float32 [B, *`noise_shape()`], uniform in (0, 1).
            condition: values of the condition, [B, ...].
            temperature: float32 [B]; 1 by default.
            values: data values, [B, *event_shape], kept where `observed`.
            observed: bool, [B, *event_shape]; a prefix of the ordering in every example. None draws everything.

        Returns:
            [B, *event_shape] of type `head.dtype`.
        """
        batch = tf.shape(noise)[0]
        shape = [tf.shape(noise)[1]] if None in self.event_shape else self.event_shape
        context, noise = self.begin_draws(Request(condition), noise)
        if values is None:
            values = tf.zeros([batch, *shape], self.head.dtype)
        known = None if observed is None else self.event.to_grid(observed)
        grid = self.event.to_grid(tf.cast(values, self.head.dtype))
        inputs = SampleInputs(noise, tf.ones([batch]) if temperature is None else temperature, grid, known)
        drawn = draw_whole(self._stage(), inputs, context)
        return tf.ensure_shape(tf.reshape(drawn, tf.shape(values)), [None, *self.event_shape])

    def noise_shape(self, event_shape: Any = None) -> tuple[int, int]:
        """See `Density.noise_shape`."""
        return self.event.count_positions(event_shape or self.event_shape), self.head.noise_size

    def value_order(self, context: Request = NOTHING, num: int = 1, event_shape: Any = None) -> np.ndarray:
        """See `Density.value_order`."""
        channels = self.event.channels
        cells = math.prod(event_shape or self.event_shape) // channels
        (stage,) = self.stages
        order = cells_in_order(stage, context, num, cells)
        return (order[..., None] * channels + np.arange(channels)).reshape(num, -1)

    def boundary_distances(self, x: Any, noise: Any, context: Request, temperature: Any = 1.0) -> np.ndarray:
        """See `Density.boundary_distances`."""
        params = self.decode(self.encode(x), context)
        positions = params.shape[1:-1]
        noise = tf.reshape(noise, [len(x), *positions, self.head.noise_size])
        temperature = np.reshape(np.asarray(temperature, np.float32), [-1] + [1] * len(positions))
        distances = np.asarray(self.head.boundary_distance(params, noise, temperature)).reshape(len(x), -1)
        return np.repeat(distances, math.prod(np.shape(x)[1:]) // distances.shape[1], 1)

    def _check_guidance(self, scale: Any) -> None:
        """Raises ValueError unless the scale is a number that the model has learned for."""
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not np.isfinite(scale) or scale < 0:
            raise ValueError(f"guidance_scale must be a number of at least 0, got {scale!r}")
        if scale != 1.0 and not self.condition_dropout:
            raise ValueError(
                f"guidance_scale must be 1.0 for a model without condition_dropout, which never saw an event without "
                f"its condition, got {scale}"
            )

    def _draw(
        self,
        values: tf.Tensor,
        observed: Any,
        condition: Any,
        choice: dict[str, Any],
        seed: Any,
        temperature: Any,
        noise: Any,
        guidance_scale: Any,
        **options: Any,
    ) -> Any:
        """Checks the arguments of `sample` and `complete`, makes noise of seeds, draws."""
        drawer = self.for_drawing()
        if drawer is not self:
            given = (condition, choice, seed, temperature, noise, guidance_scale)
            return drawer._draw(values, observed, *given, **options)
        num = int(values.shape[0])
        self._check_guidance(guidance_scale)
        if not (options["progress"] is None or callable(options["progress"])):
            raise ValueError(
                f"progress must be a function of (units done, units in all), or None, got {options['progress']!r}"
            )
        own = {name: options.pop(name) for name in ("block", "forecaster")}
        own["return_passes"] = options["return_passes"]
        options["method"] = Method.checked(options["method"], self.stages, **own)
        options["batch_size"] = min(num, checked_integer("batch_size", options["batch_size"], low=1))
        temperature, request = _temperature(temperature, num), self.request(condition, num, values.shape[1:], **choice)
        positions, size = self.noise_shape(values.shape[1:])
        if noise is None:
            uniform = lambda seeds: noises.uniform(seeds, positions, size)  # noqa: E731
            seeds, jit_compile = noises.seed_rows(seed, num), options["jit_compile"]
            noise = self._compiled.run(("noise", positions), uniform, seeds, jit_compile=jit_compile)
        noise = tf.cast(noise, tf.float32)
        if noise.shape != (num, positions, size):
            raise ValueError(f"noise must have shape {(num, positions, size)}, got {tuple(noise.shape)}")
        return self._draw_events(values, observed, request, temperature, noise, float(guidance_scale), **options)

    def _draw_events(
        self,
        values: tf.Tensor,
        observed: np.ndarray | None,
        request: Request,
        temperature: tf.Tensor,
        noise: tf.Tensor,
        guidance_scale: float,
        **options: Any,
    ) -> Any:
        """Draws events of checked arguments; raises ValueError unless `observed` is a prefix of the order."""
        stage = self._stage(guidance_scale)
        if observed is not None:
            # Which factorisation is completed has to be said: what is a prefix depends on it.
            context = self.context(request)
            known = self.event.to_grid(tf.constant(observed))
            check_prefix(stage, known.numpy(), context, values.shape[1:])
        else:
            known = None
            context, noise = self.begin_draws(request, noise)
        inputs = SampleInputs(noise, temperature, self.event.to_grid(values), known)
        drawn, passes = draw_in_batches(stage, self._compiled, inputs, context, **options)
        drawn = tf.reshape(drawn, values.shape)
        if passes is None:
            return drawn
        shape = self.event.positions if len(values.shape) == 4 else values.shape[1:]
        return drawn, passes._replace(settled=passes.settled.reshape(-1, *shape))

    # Arguments.

    def _sample_shape(self, num: int, length: Any) -> list[int]:
        """Shape of `num` events; `length` fills in what the model leaves open."""
        if None not in self.event_shape:
            if length is not None and self.event_shape != (length,):
                raise ValueError(f"length is for models of any length; events are {self.event_shape}, got {length!r}")
            return [num, *self.event_shape]
        if length is None:
            raise ValueError(f"length must be given to sample: this {type(self).__name__} models events of any length")
        if self.longest_event is not None and checked_integer("length", length, low=1) > self.longest_event:
            raise ValueError(f"length must be at most {self.longest_event} for learned positions, got {length}")
        return [num, checked_integer("length", length, low=1)]

    def _place_prompt(self, prompt: Any, shape: list[int]) -> tuple[tf.Tensor, np.ndarray | None]:
        """Values [num, *event_shape] that begin with the prompt, and flags of what is observed."""
        if prompt is None:
            return tf.zeros(shape, self.head.dtype), None
        if isinstance(prompt, str | bytes):
            how = f"model.text_vocabulary.encode({prompt!r})"
            raise ValueError(
                "prompt must be the first values of a sequence, not text: "
                + (how if self.text_vocabulary is not None else "encode it with the vocabulary of the model's data")
            )
        prompt = np.asarray(prompt)
        if len(shape) != 2 or prompt.ndim not in (1, 2) or (prompt.ndim == 2 and len(prompt) != shape[0]):
            raise ValueError(
                f"prompt must be the first values of a sequence, [n] or [{shape[0]}, n], got {prompt.shape}"
                + (" (use complete for images)" if len(shape) != 2 else "")
            )
        size = prompt.shape[-1]
        if size > shape[1]:
            raise ValueError(f"length must cover the prompt of {size} values, got {shape[1]}")
        if not size:
            return tf.zeros(shape, self.head.dtype), None
        prompt = np.broadcast_to(prompt, (shape[0], size))
        self.head.check(prompt, "prompt")
        values = np.zeros(shape, self.head.dtype.as_numpy_dtype)
        values[:, :size] = prompt
        return tf.constant(values), np.broadcast_to(np.arange(shape[1]) < size, shape)


def _temperature(value: Any, num: int) -> tf.Tensor:
    array = np.asarray(value, np.float32)
    if array.shape not in ((), (num,)) or not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(f"temperature must be a positive number or {num} of them, got {value!r}")
    return tf.constant(np.broadcast_to(array, (num,)))
