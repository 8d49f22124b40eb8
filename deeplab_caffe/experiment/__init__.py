"""The released experiment flow: what run_pascal.sh, run_densecrf.sh and EvalSegResults.m do, in the same folders."""

from __future__ import annotations

from deeplab_caffe.experiment.runner import Runner
from deeplab_caffe.experiment.settings import STEPS, ExperimentSettings

__all__ = ["STEPS", "ExperimentSettings", "Runner"]
