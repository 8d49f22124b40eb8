"""Training: Caffe's solvers, learning-rate policies and snapshots."""

from __future__ import annotations

from deeplab_caffe.net.memory import TrainingMemory, training_memory
from deeplab_caffe.solver.config import SolverConfig, read_config
from deeplab_caffe.solver.log import TrainingLog, read_log
from deeplab_caffe.solver.policies import POLICIES, LearningRate
from deeplab_caffe.solver.snapshot import SnapshotFiles, SnapshotWarning, latest_snapshot
from deeplab_caffe.solver.solver import Solver
from deeplab_caffe.solver.wandb import WandbCallback
from deeplab_caffe.solver.world import World, join_world, leave_world, local_rank

__all__ = [
    "POLICIES",
    "LearningRate",
    "SnapshotFiles",
    "SnapshotWarning",
    "Solver",
    "SolverConfig",
    "TrainingLog",
    "TrainingMemory",
    "WandbCallback",
    "World",
    "join_world",
    "latest_snapshot",
    "leave_world",
    "local_rank",
    "read_config",
    "read_log",
    "training_memory",
]
