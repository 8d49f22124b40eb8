"""pycaffe's solvers: training whose blobs a script may look at, and change, between the steps."""

from __future__ import annotations

from os import PathLike
from typing import Any, ClassVar

import torch
from torch import Tensor

from deeplab_caffe import net as core
from deeplab_caffe import solver as training
from deeplab_caffe.pycaffe import mode
from deeplab_caffe.pycaffe.execution import Execution
from deeplab_caffe.pycaffe.net import Net
from deeplab_caffe.solver.config import read_config
from deeplab_caffe.solver.engine import Engine


class _Face(Net):
    """A pycaffe net over a module that is there already."""

    def __init__(self, module: core.Net) -> None:
        Execution.__init__(self, module)


class _LayerwiseEngine(Engine):
    """Runs the nets layer by layer over their blobs.

    Attributes:
        face: the training net.
        test_faces: the test nets.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("python_layers", "unchanged")
        super().__init__(*args, **options)
        self._trained = [blob.parameter.requires_grad for blob in self.blobs]
        for blob in self.blobs:
            blob.parameter.requires_grad_(blob.lr_mult > 0)
        self.face = _Face(self.net)
        self.test_faces = [_Face(net) for net in self.test_nets]

    def begin(self) -> None:
        """Clear the gradients before an iteration, also those that scripts see if they add up."""
        super().begin()
        if self.net.dialect.param_diffs_add_up:
            self.face.clear_param_diffs()

    def forward_backward(self, *, is_last: bool = True) -> dict[str, Tensor]:
        """Run the next batch forwards and backwards; each blob's diff is the last batch's, or in v2 the sum of all."""
        last = len(self.face.layers) - 1
        self._reader.add(torch.tensor(self.face._forward(0, last), dtype=torch.float64))
        self.face._backward(last, 0)
        for blob, trained in zip(self.blobs, self._trained, strict=True):
            if trained:
                diff = self.face.params[blob.layer.name][blob.index]._diff.tensor().view(blob.parameter.shape)
                before = None if self.net.dialect.param_diffs_add_up else blob.parameter.grad
                blob.parameter.grad = diff.clone() if before is None else before + diff
        return _values(self.face)

    def forward(self) -> float:
        """Run the next batch forwards only; return its loss."""
        return self.face._forward(0, len(self.face.layers) - 1)

    def test_forward(self, index: int) -> dict[str, Tensor]:
        """Run the next batch of a test net; return its outputs and losses."""
        face = self.test_faces[index]
        face._forward(0, len(face.layers) - 1)
        return _values(face)

    def updated(self, values: list[Tensor]) -> None:
        """Write the update to the diffs, as Caffe does."""
        for blob, value in zip(self.blobs, values, strict=True):
            self.face.params[blob.layer.name][blob.index].write_diff(value)

    def before_snapshot(self) -> None:
        """Bring what scripts wrote on the host to the device."""
        self.face._sync_parameters()

    def follow_mode(self) -> bool:
        """Move to the device that the mode names; return whether that is another one."""
        if mode.current_device() == self.device:
            return False
        self.device = mode.current_device()
        self.face._place()
        for blob in self.blobs:
            if blob.owner is not None:
                blob.parameter.data = self.blobs[blob.owner].parameter.data
        return True


def _values(face: Net) -> dict[str, Tensor]:
    return {name: blob._data.tensor().detach().clone() for name, blob in face.blobs.items()}


class _LayerwiseSolver(training.Solver):
    ENGINE = _LayerwiseEngine
    engine: _LayerwiseEngine

    def _iterate(self, until: int) -> bool:
        if self.engine.follow_mode():
            self.device = self.engine.device
            self.rule.to(self.device)
        return super()._iterate(until)


class SGDSolver:
    """``caffe.SGDSolver("solver.prototxt")``: stochastic gradient descent with momentum.

    Where it computes is for :func:`set_mode_cpu` and :func:`set_mode_gpu` to say, not for ``solver_mode``; files that
    the prototxt names are relative to the working directory.

    Args:
        solver_file: path of the solver prototxt.
        **options: further keyword arguments of :class:`deeplab_caffe.solver.Solver`.

    Attributes:
        net: the training net; its blobs hold the last iteration's values, its parameters' diffs the last update.
        test_nets: the test nets, whose parameters are the training net's.
    """

    SOLVER_TYPE: ClassVar[str] = "SGD"

    def __init__(self, solver_file: str | PathLike[str], **options: Any) -> None:
        self._solver = _LayerwiseSolver(
            solver_file,
            device=mode.current_device(),
            solver_type=self.SOLVER_TYPE,
            default_seed=mode.current_seed(),
            **options,
        )
        self.net: Net = self._solver.engine.face
        self.test_nets: list[Net] = list(self._solver.engine.test_faces)

    @property
    def iter(self) -> int:
        """Return the next iteration."""
        return self._solver.iteration

    def step(self, iterations: int) -> None:
        """Run some iterations, with their displays, tests and snapshots."""
        self._solver.step(iterations)

    def solve(self, resume_file: str | PathLike[str] | None = None) -> None:
        """Train up to ``max_iter``, from a ``.solverstate`` if one is given."""
        if resume_file is not None:
            self.restore(resume_file)
        self._solver.solve()

    def restore(self, state_file: str | PathLike[str]) -> None:
        """Resume from a ``.solverstate``."""
        self._solver.restore(state_file)

    def snapshot(self) -> None:
        """Write a snapshot under the solver's ``snapshot_prefix``."""
        self._solver.snapshot()


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""

    SOLVER_TYPE = "Nesterov"


class AdaGradSolver(SGDSolver):
    """AdaGrad; ``momentum`` must be 0."""

    SOLVER_TYPE = "AdaGrad"


def get_solver(solver_file: str | PathLike[str], **options: Any) -> SGDSolver:
    """Return the solver that the prototxt's ``type`` names.

    Raises:
        PrototxtError: the type is not implemented.
    """
    name = read_config(solver_file, options.get("variables")).param.type
    classes = {cls.SOLVER_TYPE: cls for cls in (SGDSolver, NesterovSolver, AdaGradSolver)}
    return classes[name](solver_file, **options)
