import re

import numpy as np
import pytest
from absl import app


@pytest.fixture
def portraits(tmp_path):
    """12 people, 5 images 8 x 8 each: a person is a plaid of two waves, an image a noisy view of it."""
    rng = np.random.default_rng(0)
    places = np.arange(8) / 8 * 2 * np.pi
    people = rng.uniform(0, 2 * np.pi, (12, 2))
    plaids = np.cos(places[None, :, None] + people[:, :1, None]) + np.cos(places[None, None] + people[:, 1:, None])
    images = plaids.repeat(5, 0)[..., None] * 50 + 128 + rng.normal(size=(60, 8, 8, 1)) * 8
    path = tmp_path / "portraits.npz"
    np.savez(path, images=np.clip(images, 0, 255).astype(np.uint8), labels=np.arange(12).repeat(5))
    return f"npz:{path}"


def test_faces_are_shrunken_and_reduced(example, portraits):
    x, people = example("faces").load(portraits, 8, 4)
    assert x.shape == (60, 8, 8, 1) and x.max() <= 15 and x.max() > 10 and people.tolist() == sorted(people)
    smaller, _ = example("faces").load(portraits, 4, 8)
    assert smaller.shape == (60, 4, 4, 1) and abs(smaller.mean() - (x.mean() * 16 + 7.5)) < 2


@pytest.mark.parametrize("data", [None, "mnist"])
def test_what_to_give_is_said(example, data):
    with pytest.raises(app.UsageError, match="npz:FILE .*images:FOLDER .*folder per person"):
        example("faces").load(data, 16, 4)


def test_similarity_is_to_own_and_others(example):
    # Two people on two axes; the given photograph itself does not count for its person's mean.
    embeddings = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    found = embeddings[:, None].copy()
    found[0] = [[0, 1]]  # drawn as the other person
    rows = example("faces").own_and_others(found, embeddings, np.array([0, 0, 1, 1]))
    assert rows.tolist() == [[0, 1], [1, 0], [1, 0], [1, 0]]


@pytest.mark.large
def test_the_command(example, portraits):
    tiny = ["--size=8", "--embedding_steps=100", "--steps=60", "--filters=8", "--blocks=1", "--held_out=3", "--draws=1"]
    out = example("faces", f"--data={portraits}", *tiny).run()
    photographs = float(re.search(r"photographs: own less others ([+-]\d\.\d{3})", out)[1])
    assert photographs > 0.2  # people who were never seen are told apart
    assert len(re.findall(r"line, similarity to h[12]:( -?\d\.\d{3}){6}", out)) == 2
