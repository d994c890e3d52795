"""Small heads."""

from __future__ import annotations

from tfar import heads
from tfar.testing.registry.cases import HeadCase

HEADS: list[HeadCase] = [
    HeadCase("Bernoulli", heads.Bernoulli),
    HeadCase("Categorical", lambda: heads.Categorical(5)),
    HeadCase("DiscretizedLogisticMixture_grey", lambda: heads.DiscretizedLogisticMixture(2, bits=3)),
    HeadCase("DiscretizedLogisticMixture_colour", lambda: heads.DiscretizedLogisticMixture(2, bits=2), channels=3),
    HeadCase("Mixture_normal", lambda: heads.Mixture("Normal", 2)),
    HeadCase("Mixture_logistic", lambda: heads.Mixture("Logistic", 2)),
]
