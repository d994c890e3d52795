"""Sessions in a v1 session, side by side, past their deadlines and past their time."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from export.writer.canvas import Canvas
from tests.export.tiny import seeds


def refusal(call, *arguments, **named):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        call(*arguments, **named)
    return str(error.value).split("assertion failed: [")[1].splitlines()[0]


def drawn(servable, ids, event_shape, unit, steps):
    canvas = Canvas(len(ids), event_shape, unit)
    for n in steps:
        canvas.put(servable.run("session_step", session_id=ids, n=np.asarray(n, np.int32)))
    return canvas


@pytest.mark.parametrize("steps", [[[40]], [[7]] * 6, [[3, 1], [1, 5], [40, 40]]])
def test_chunks_of_any_size_make_the_event_of_one_call(text, steps):
    whole = text.servable.run("sample", seed=seeds(2))["samples"]
    ids = text.servable.run("session_begin", seed=seeds(2))["session_id"]
    canvas = drawn(text.servable, ids, (40,), "value", steps)
    np.testing.assert_array_equal(canvas.values, whole)
    assert (canvas.position == 40).all()
    last = text.servable.run("session_step", session_id=ids)
    assert last["count"].tolist() == [0, 0] and last["done"].tolist() == [1, 1] and last["chunk"].shape == (2, 0)
    assert text.servable.run("session_end", session_id=ids)["ended"].tolist() == [1, 1]


def test_rows_of_an_image_go_on_after_a_prefix(image):
    given = image.given(2)
    whole = image.servable.run("sample", seed=seeds(2), **given)["samples"]
    # One row and one pixel more: the rest of the second row is drawn with the pixel kept.
    begun = image.servable.run("session_begin", seed=seeds(2), prefix=whole.reshape(2, -1)[:, :4], **given)
    assert begun["position"].tolist() == [1, 1]
    canvas = drawn(image.servable, begun["session_id"], (4, 3, 1), "row", [[1], [2]])
    np.testing.assert_array_equal(canvas.values[:, 1:], whole[:, 1:])
    image.servable.run("session_end", session_id=begun["session_id"])


def test_unknown_and_repeated_sessions_are_refused_by_name(text):
    step, unknown = text.servable.run, "session_id is unknown or expired; values:] "
    ids = text.servable.run("session_begin", seed=seeds(1))["session_id"]
    assert 0 < ids[0] < 2**53
    for wrong in (ids + 2**12, ids + 1, ids * 0, ids * 0 - 2, ids * 0 + 2**62):
        assert refusal(step, "session_step", session_id=wrong) == f"{unknown}[{wrong[0]}]"
        assert text.servable.run("session_end", session_id=wrong)["ended"].tolist() == [0]
    twice = refusal(step, "session_step", session_id=np.repeat(ids, 2))
    assert twice.startswith("session_id must not repeat; values:] ")
    assert (
        refusal(step, "session_step", session_id=ids, n=np.int32([0])) == "n must lie between 1 and 65536; values:] [0]"
    )
    assert text.servable.run("session_end", session_id=ids)["ended"].tolist() == [1]
    assert refusal(step, "session_step", session_id=ids) == f"{unknown}[{ids[0]}]"
    assert text.servable.run("session_end", session_id=ids)["ended"].tolist() == [0]


def test_a_rehearsal_shows_and_keeps_nothing(text):
    run, nobody = text.servable.run, np.int64([-1])
    ids = [run("session_begin", seed=seeds(4))["session_id"], run("session_begin", seed=seeds(4))["session_id"]]
    for each in ids:
        run("session_step", session_id=each, n=np.int32([7]))
    active = run("session_stats")["active"]
    assert run("session_begin", seed=np.int64([[-2, -2]]))["session_id"].tolist() == nobody.tolist()
    assert run("session_stats")["active"] == active
    first, second = (run("session_step", session_id=nobody, n=np.int32([3])) for _ in range(2))
    assert first["position"].tolist() == second["position"].tolist() == [3]
    np.testing.assert_array_equal(first["chunk"], second["chunk"])
    both = np.concatenate([ids[0][:1], nobody])
    assert refusal(run, "session_step", session_id=both) == "session_id is unknown or expired; values:] [-1]"
    for each in ids:
        assert run("session_step", session_id=each)["position"].tolist() == [8] * 4
        run("session_end", session_id=each)


def test_a_full_store_refuses_and_forgets_only_what_has_expired(image):
    run = image.servable.run
    before = run("session_stats")
    assert before["slots"] == 2 and before["ttl_seconds"] == 3.0
    time.sleep(3.1)
    first = run("session_begin", **image.given(2))["session_id"]
    assert run("session_stats")["active"] == 2
    assert refusal(run, "session_begin", **image.given(1)) == "all session slots are in use; slots, wanted:] [2] [1]"
    assert refusal(run, "session_begin", **image.given(3)) == "all session slots are in use; slots, wanted:] [2] [3]"
    time.sleep(3.1)
    assert run("session_stats")["active"] == 0
    assert refusal(run, "session_step", session_id=first).startswith("session_id is unknown or expired")
    second = run("session_begin", **image.given(2))["session_id"]
    assert not set(first) & set(second)
    after = run("session_stats")
    assert after["begun"] - before["begun"] == 4 and after["reclaimed"] - before["reclaimed"] >= 2
    # A step prolongs a session.
    for _ in range(2):
        time.sleep(1.6)
        run("session_step", session_id=second[:1])
    assert refusal(run, "session_step", session_id=second[1:]).startswith("session_id is unknown or expired")
    run("session_end", session_id=second)


def test_steps_killed_at_their_deadlines_tear_nothing(text):
    """Eight clients with deadlines at random, for some hundred steps: every stream stays the one of its seed."""
    session, definitions = text.servable.session, text.servable.signatures
    step = definitions["session_step"]
    wanted = text.servable.run("sample", seed=seeds(8))["samples"]
    end, counts, wrong = time.time() + 20, {"steps": 0, "killed": 0, "overtaken": 0}, []

    def over():
        return time.time() > end or (counts["steps"] > 400 and counts["killed"] > 20)

    def fetches(definition):
        return {name: info.name for name, info in definition.outputs.items()}

    def client(row):
        random = np.random.default_rng(row)
        while not over():
            identity = text.servable.run("session_begin", seed=seeds(8)[row : row + 1])["session_id"]
            position = 0
            while position < 40 and not over():
                # One in three may take its time, so that streams get somewhere on a busy machine too.
                patience = 5000 if random.integers(3) == 0 else int(random.integers(1, 12))
                options = tf.compat.v1.RunOptions(timeout_in_ms=patience)
                feeds = {step.inputs["session_id"].name: identity, step.inputs["n"].name: random.integers(1, 6, [1])}
                try:
                    out = session.run(fetches(step), feeds, options=options)
                except tf.errors.DeadlineExceededError:
                    counts["killed"] += 1
                    continue
                except tf.errors.InvalidArgumentError as error:
                    # The step that was killed may still be under way, or may have been kept.
                    if "stepped by another call" not in str(error):
                        wrong.append(str(error))
                        return
                    counts["overtaken"] += 1
                    continue
                counts["steps"] += 1
                count, position = int(out["count"][0]), int(out["position"][0])
                if not (out["chunk"][0, :count] == wanted[row, position - count : position]).all():
                    wrong.append((row, position, out["chunk"], wanted[row]))
                    return
            text.servable.run("session_end", session_id=identity)

    threads = [threading.Thread(target=client, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)
    assert counts["steps"] > 20 and counts["killed"] > 0
    assert text.servable.run("session_stats")["active"] == 0


def test_of_two_steps_at_once_one_is_kept(text):
    wanted = text.servable.run("sample", seed=seeds(1))["samples"][0]
    identity = text.servable.run("session_begin", seed=seeds(1))["session_id"]
    got, refused = [], []

    def client():
        for _ in range(10):
            try:
                got.append(text.servable.run("session_step", session_id=identity))
            except tf.errors.InvalidArgumentError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("session_id was stepped by another call at the same time" in text for text in refused)
    # Every value was handed out once.
    places = sorted(int(out["position"][0]) for out in got if out["count"][0])
    assert places == list(range(1, len(places) + 1))
    assert all(out["chunk"][0, 0] == wanted[out["position"][0] - 1] for out in got if out["count"][0])
    text.servable.run("session_end", session_id=identity)


def test_unseeded_draws_never_repeat(text):
    used = []

    def client():
        for _ in range(20):
            used.extend(map(tuple, text.servable.run("sample")["seed"].tolist()))

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(used)) == len(used) == 80
