"""Heads: from network outputs to one distribution per position."""

from tfar.heads.bernoulli import Bernoulli
from tfar.heads.categorical import Categorical
from tfar.heads.discretized_logistic_mixture import DiscretizedLogisticMixture
from tfar.heads.head import Head
from tfar.heads.mixture import Mixture

__all__ = ["Bernoulli", "Categorical", "DiscretizedLogisticMixture", "Head", "Mixture"]
