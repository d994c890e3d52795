"""Training: one optimisation step, the loop around it, checkpoints, schedules, optimizers and scores."""

from tfar.training.checkpoint import Checkpoint, CheckpointError, Checkpoints, DamagedCheckpoint, restore_weights
from tfar.training.difference import Difference, paired_difference
from tfar.training.loop import Interrupted, Outcome, TrainingLoop
from tfar.training.metrics import Score, log_probs, score
from tfar.training.optimizers import optimizer
from tfar.training.progress import ProgressBar, duration
from tfar.training.schedules import schedule
from tfar.training.sequences import how_scored, sequence_log_probs, sequence_score
from tfar.training.settings import Settings
from tfar.training.step import NonFiniteLoss, TrainStep
from tfar.training.strategies import strategy

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "DamagedCheckpoint",
    "Difference",
    "Interrupted",
    "NonFiniteLoss",
    "Outcome",
    "ProgressBar",
    "Score",
    "Settings",
    "TrainStep",
    "TrainingLoop",
    "duration",
    "how_scored",
    "log_probs",
    "optimizer",
    "paired_difference",
    "restore_weights",
    "schedule",
    "score",
    "sequence_log_probs",
    "sequence_score",
    "strategy",
]
