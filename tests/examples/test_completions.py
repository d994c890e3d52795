import re

import numpy as np
import pytest

import tfar


def test_classification_takes_the_label_that_explains_best(example):
    completions = example("completions")
    model = tfar.models.GatedPixelCNN(
        (2, 2, 1), tfar.heads.Bernoulli(), filters=4, num_blocks=1, condition=tfar.conditions.Label(3)
    )
    x = np.random.default_rng(0).integers(0, 2, (20, 2, 2, 1), np.uint8)
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(weight.shape[-1]).normal(size=weight.shape))
    found = completions.classify(model, x)
    best = np.max([model.log_prob(x, np.full(20, label)) for label in range(3)], 0)
    np.testing.assert_allclose(model.log_prob(x, found.astype(np.int32)), best, rtol=1e-6)
    assert len(np.unique(found)) > 1


@pytest.mark.large
def test_the_command(example):
    tiny = ["--steps=400", "--filters=16", "--blocks=1", "--held_out=100", "--draws=4"]
    out = example("completions", *tiny).run()
    shares = [float(value) for value in re.findall(r"(?:right|recognizes|label of)[^0-9]*?(0\.\d{3}|1\.000)", out)]
    argmax = float(re.search(r"ln p\(x \| label\): (\d\.\d{3})", out)[1])
    assert argmax > 0.3  # chance is 0.1
    assert shares and "of 40 drawn images" in out and "guidance_scale 2" in out
