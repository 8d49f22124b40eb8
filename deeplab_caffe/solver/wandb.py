"""Log training's numbers to Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deeplab_caffe.errors import SolverError, how_to_install


class WandbCallback:
    """A callback of :class:`deeplab_caffe.solver.TrainingLog` that logs to a run of Weights & Biases.

    The numbers have TensorBoard's names, for example ``train/loss``, and are plotted over ``iteration``. With
    ``WANDB_MODE=offline`` in the environment the run is kept in ``wandb/`` and needs no account.

    Args:
        project: the project's name.
        options: more arguments of ``wandb.init``: ``name="largefov"``, ``config={...}``.

    Raises:
        SolverError: wandb is not installed.
    """

    def __init__(self, project: str, **options: Any) -> None:
        try:
            import wandb
        except ImportError as error:
            raise SolverError(f"--wandb needs: {how_to_install('wandb')} ({error})") from None
        self._run = wandb.init(project=project, **options)
        # Not wandb's own step, which must increase: a resumed training goes back to earlier iterations.
        self._run.define_metric("*", step_metric="iteration")

    def __call__(self, event: str, iteration: int, numbers: Mapping[str, float]) -> None:
        """Log the numbers of an event."""
        named = {f"{event}/{name}": number for name, number in numbers.items()}
        self._run.log({"iteration": iteration, **named})

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
