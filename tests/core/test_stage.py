"""The driver: carries of other examples, of examples that begin anew, and at positions of their own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import conditions, heads, models, testing
from tfar.core.carry import Carry
from tfar.core.event import Event
from tfar.core.orderings import column_major, random, raster
from tfar.core.request import NOTHING, Request, call_network
from tfar.core.stage import Stage

SCALAR = heads.Categorical(4)


def stage(event_shape, head, layout="grid", orderings=None):
    event = Event(event_shape, head, layout)
    return Stage(lambda x: x, event, orderings or (raster(*event.grid),), event.head.encode)


def test_the_order_of_drawing():
    assert stage((2, 2, 1), SCALAR).order() is None
    permutation, ranks = stage((2, 3, 1), SCALAR, orderings=(column_major(2, 3),)).order()
    assert permutation.tolist() == [0, 3, 1, 4, 2, 5]
    assert ranks.tolist() == [0, 2, 4, 1, 3, 5]


def test_the_order_is_that_of_the_request_or_of_the_member():
    several = (raster(4), random(4, seed=0))
    own = stage((4,), SCALAR, "sequence", several)
    cells, ranks = own.order(Request(member=tf.constant([1, 0])))
    np.testing.assert_array_equal(cells, [several[1].permutation, several[0].permutation])
    np.testing.assert_array_equal(ranks, [several[1].ranks, several[0].ranks])
    cells, ranks = own.order(Request(order=tf.constant([[2, 0, 3, 1]])))
    assert cells.numpy().tolist() == [[2, 0, 3, 1]] and ranks.numpy().tolist() == [[1, 3, 0, 2]]
    assert stage((4,), SCALAR, "sequence", (raster(4),) * 2).order(Request(member=tf.constant(1))) is None


@pytest.mark.parametrize(
    ("shape", "layout", "orderings", "output_unit"),
    [
        ((4, 3, 1), "grid", None, ("row", 3)),
        ((4, 3, 3), "sequence", None, ("row", 9)),
        ((4, 3, 1), "sequence", (random(12, seed=0),), ("cell", 1)),
        ((5,), "sequence", None, ("value", 1)),
    ],
)
def test_unit_of_outputs(shape, layout, orderings, output_unit):
    assert stage(shape, SCALAR, layout, orderings).output_unit() == output_unit


def test_a_network_is_told_what_there_is():
    told = lambda x, *arguments, **named: (x, arguments, named)  # noqa: E731
    assert call_network(told, 1) == call_network(told, 1, NOTHING) == (1, (), {})
    assert call_network(told, 1, Request("h")) == (1, ("h",), {})
    assert call_network(told, 1, Request(order="o"), training=True) == (1, (None,), {"order": "o", "training": True})
    assert call_network(told, 1, "h") == (1, ("h",), {})


@pytest.fixture(scope="module", params=["image", "sequence", "guided"])
def drawn(request):
    """A stage, its context, and carries of three examples by unit."""
    if request.param == "image":
        model = models.GatedPixelCNN((4, 2, 1), SCALAR, filters=2, num_blocks=1, first_kernel_size=3)
    else:
        kwargs = {"condition": conditions.Label(3), "condition_dropout": 0.2} if request.param == "guided" else {}
        model = models.WaveNet((5,), SCALAR, residual_channels=2, skip_channels=2, dilations=[1, 2], **kwargs)
    testing.randomize_weights(model)
    stage = model._stage(2.0 if request.param == "guided" else 1.0)
    context = model.context(testing.inputs.full_request(model, None, 3))
    carries = [stage.begin(3, context)]
    for _ in range(2):
        carries.append(stage.draw(carries[-1], choose, (), context)[1])
    return stage, context, carries


def choose(params, site, aux):
    del site
    return tf.argmax(params, -1, output_type=tf.int32)[:, None], aux


def assert_equal(a, b, rows, spec):
    np.testing.assert_array_equal(a.last, tf.gather(b.last, rows))
    for key, value in a.state.items():
        axis = list(spec.state[key].shape).index(None)
        copies = value.shape[axis] // len(rows)
        of_all = b.state[key].shape[axis] // copies
        index = np.concatenate([np.array(rows) + copy * of_all for copy in range(copies)])
        np.testing.assert_array_equal(value, tf.gather(b.state[key], index, axis=axis), err_msg=key)


def test_other_examples_are_taken(drawn):
    stage, context, carries = drawn
    assert_equal(stage.take(carries[2], tf.constant([2, 0, 2]), context), carries[2], [2, 0, 2], stage.spec(context))


def test_examples_begin_anew(drawn):
    stage, context, carries = drawn
    spec = stage.spec(context)
    assert_equal(stage.reset(carries[2], tf.constant(True), context), carries[0], [0, 1, 2], spec)
    assert int(stage.reset(carries[2], tf.constant(True), context).position) == 0
    assert_equal(stage.reset(carries[2], tf.constant(False), context), carries[2], [0, 1, 2], spec)
    own = carries[2]._replace(position=tf.fill([3], 2))
    some = stage.reset(own, tf.constant([False, True, False]), context)
    assert some.position.numpy().tolist() == [2, 0, 2]
    assert_equal(stage.take(some, tf.constant([1]), context), carries[0], [1], spec)
    assert_equal(stage.take(some, tf.constant([0, 2]), context), carries[2], [0, 2], spec)


def test_positions_of_examples_are_those_of_all(drawn):
    """Examples that stand at one position by chance are drawn as those that share it, guided ones too."""
    stage, context, carries = drawn
    own = stage.begin(3, context, per_example=True)
    for unit in range(1, 3):
        own = stage.draw(own, choose, (), context)[1]
        assert own.position.numpy().tolist() == [unit] * 3
        np.testing.assert_array_equal(own.last, carries[unit].last)
        for key, value in carries[unit].state.items():
            np.testing.assert_allclose(own.state[key], value, rtol=1e-5, atol=1e-5, err_msg=key)


def test_a_loop_over_steps_goes_by_the_same_carries(drawn):
    stage, context, carries = drawn
    if stage.is_image:
        pytest.skip("rows of images have a loop of their own")
    steps = stage.open_steps(carries[1])
    steps = stage.draw(steps, choose, (), context)[1]
    found = stage.close_steps(steps, carries[2].last)
    assert int(found.position) == 2
    assert_equal(found, carries[2], [0, 1, 2], stage.spec(context))
    np.testing.assert_array_equal(steps.before, stage._last_unit(carries[2]))


def test_a_spec_says_where_the_examples_stand(drawn):
    stage, context, carries = drawn
    spec = stage.spec(context, per_example=True)
    assert spec.position.shape.as_list() == [None] and stage.spec(context).position.shape.as_list() == []
    begun = stage.begin(3, context, per_example=True)
    for item, value in zip(tf.nest.flatten(spec), tf.nest.flatten(begun), strict=True):
        assert item.dtype == value.dtype and item.shape.is_compatible_with(value.shape)
        assert {3, 3 * stage.copies} & set(value.shape.as_list())


def test_guidance_composes_with_members_and_conditions():
    """Guided parameters are extrapolated from those with the condition and without, under the same member."""
    model = models.MADE(
        (3,),
        SCALAR,
        hidden=(6,),
        num_masks=2,
        order_agnostic=True,
        condition=conditions.Label(3),
        condition_dropout=0.2,
    )
    testing.randomize_weights(model)
    context = model.context(model.request([0, 1, 2], 3, member=[0, 1, 1]))
    x = tf.constant(testing.random_events(model, 3))[..., None]
    given, free = (model._stage(1.0).parallel(x, each) for each in (context, context.without_condition()))
    np.testing.assert_allclose(model._stage(3.0).parallel(x, context), free + 3 * (given - free), rtol=1e-4, atol=1e-4)
    noise = np.random.default_rng(0).uniform(0.01, 0.99, [3, 3, 1])
    common = {"noise": noise, "guidance_scale": 3.0, "member": [0, 1, 1], "jit_compile": False}
    with testing.eagerly():
        x = model.sample(3, [0, 1, 2], **common)
        np.testing.assert_array_equal(x, model.sample(3, [0, 1, 2], method="naive", **common))


def test_undrawn_colours_are_zero():
    model = models.GatedPixelCNN((2, 2, 3), SCALAR, filters=3, num_blocks=1, first_kernel_size=3)
    (stage,) = model.stages
    row = stage.open_row(stage.begin(2))
    values = [tf.constant([3, 1]), tf.constant([2, 2])]
    for drawn in range(3):
        now = stage._now(row._replace(colours=tuple(values[:drawn])))[:, 0, 0].numpy()
        whole = SCALAR.encode(tf.stack([*values[:drawn], *[tf.zeros([2], tf.int32)] * (3 - drawn)], -1)).numpy()
        np.testing.assert_array_equal(now[:, :drawn], whole[:, :drawn])
        assert not now[:, drawn:].any()


@pytest.mark.parametrize("policy", ["float32", "float64"])
def test_nothing_before_the_first_unit_is_not_the_value_0(policy):
    layer = keras.layers.Dense(1, dtype=policy)
    head = heads.Categorical(4)  # 0 is encoded as -1
    event = Event((3,), head, "sequence")
    own = Stage(layer, event, (), lambda x: tf.cast(head.encode(x), policy))
    last = tf.zeros([2, 1], tf.int32)
    assert not own._last_unit(Carry({}, last, tf.constant(0))).numpy().any()
    assert own._last_unit(Carry({}, last, tf.constant([0, 1]))).numpy().tolist() == [[0.0], [-1.0]]
