"""pycaffe's solvers: training whose blobs a script may read and change between the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from deeplab_caffe import net as core
from deeplab_caffe import solver as training
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.pycaffe import mode
from deeplab_caffe.pycaffe.blob import ParameterBlob as BlobFace
from deeplab_caffe.pycaffe.execution import Execution
from deeplab_caffe.pycaffe.net import Net
from deeplab_caffe.pycaffe.paths import AnyPath, text_path
from deeplab_caffe.solver.config import read_config
from deeplab_caffe.solver.engine import Engine
from deeplab_caffe.solver.parameters import ParameterBlob

_HELD = "a solver trains it: reshape it in a caffe.Net, save() that, and give the solver a net of the new shape"


class _Face(Net):
    """A pycaffe net over an existing module."""

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
            blob.parameter.requires_grad_(blob.lr_mult != 0)
        self.face = _Face(self.net)
        self.test_faces = [_Face(net) for net in self.test_nets]
        for net in (self.face, *self.test_faces):
            for shown in (each for blobs in net.params.values() for each in blobs):
                shown.held_by = shown.held_by or _HELD

    def begin(self) -> None:
        """Clear the gradients before an iteration, and the diffs that scripts see if the dialect accumulates them."""
        super().begin()
        if self.net.dialect.param_diffs_add_up:
            self.face.clear_param_diffs()

    def forward_backward(self, *, is_last: bool = True) -> dict[str, Tensor]:
        """Run the next batch forwards and backwards; after the last one each diff is the sum over all batches."""
        last = len(self.face.layers) - 1
        self._reader.add(torch.tensor(self.face._forward(0, last), dtype=torch.float64))
        self.face._backward(last, 0)
        if not self.net.dialect.param_diffs_add_up:
            for blob, trained in zip(self.blobs, self._trained, strict=True):
                if trained:
                    self._add_to_diff(blob, keep=not is_last)
        return _values(self.face)

    def _add_to_diff(self, blob: ParameterBlob, *, keep: bool) -> None:
        """Add the earlier batches' sum to a diff of the current batch; with ``keep``, store the sum for the next."""
        face = self._face_of(blob)
        total = face.diff_tensor().view(blob.parameter.shape)
        if blob.parameter.grad is not None:
            total = blob.parameter.grad + total
            face.write_diff(total)
        blob.parameter.grad = total.clone() if keep else None

    def _face_of(self, blob: ParameterBlob) -> BlobFace:
        return self.face.params[blob.layer.name][blob.index]

    def gradients(self) -> list[Tensor | None]:
        """Return the diffs of the trained blobs; a script may have changed them."""
        return [diff if trained else None for diff, trained in zip(self.all_gradients(), self._trained, strict=True)]

    def all_gradients(self) -> list[Tensor | None]:
        """Return the diffs of all blobs."""
        return [self._face_of(blob).diff_tensor().view(blob.parameter.shape).clone() for blob in self.blobs]

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
            self._face_of(blob).write_diff(value)

    def before_snapshot(self) -> None:
        """Copy values that scripts wrote on the host to the device."""
        self.face._sync_parameters()

    def follow_mode(self) -> bool:
        """Move to the device of the mode; return whether the device changed."""
        if mode.current_device() == self.device:
            return False
        self.device = mode.current_device()
        self.face._place()
        for blob in self.blobs:
            if blob.owner is not None:
                blob.parameter.data = self.blobs[blob.owner].parameter.data
        return True


def _values(face: Net) -> dict[str, Tensor]:
    return {name: blob.tensor().detach().clone() for name, blob in face.blobs.items()}


class _LayerwiseSolver(training.Solver):
    ENGINE = _LayerwiseEngine
    engine: _LayerwiseEngine

    def _iterate(self, until: int) -> bool:
        self._follow_mode()
        return super()._iterate(until)

    def _follow_mode(self) -> None:
        if self.engine.follow_mode():
            self.device = self.engine.device
            self.rule.to(self.device)

    def apply_update(self) -> None:
        """Update the parameters from their current diffs, and count an iteration."""
        self._follow_mode()
        self.engine.before_snapshot()
        self._update(self.engine.all_gradients(), self.rate(self.iteration))
        self.iteration += 1


class SGDSolver:
    """``caffe.SGDSolver("solver.prototxt")``: stochastic gradient descent with momentum.

    The device is set by :func:`set_mode_cpu` and :func:`set_mode_gpu`, not by ``solver_mode``. Files named in the
    prototxt are relative to the working directory.

    Args:
        solver_file: path of the solver prototxt.
        **options: further keyword arguments of :class:`deeplab_caffe.solver.Solver`.

    Attributes:
        net: the training net; its blobs hold the last iteration's values, its parameters' diffs the last update.
        test_nets: the test nets, whose parameters are the training net's.
    """

    SOLVER_TYPE: ClassVar[str] = "SGD"

    def __init__(self, solver_file: AnyPath, **options: Any) -> None:
        # Scripts see blobs as arrays, so their memory is in Caffe's order unless the caller chose otherwise.
        options.setdefault("channels_last", False)
        self._solver = _LayerwiseSolver(
            text_path(solver_file),
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

    @property
    def lr(self) -> float:
        """Return the learning rate of the next update."""
        return self._solver.rate.at(self._solver.iteration)

    @property
    def param(self) -> caffe_pb2.SolverParameter:
        """Return the SolverParameter, with ``max_iter``, ``display``, ``base_lr`` etc.; changes take effect."""
        return self._solver.param

    def step(self, iterations: int) -> None:
        """Run some iterations, with their displays, tests and snapshots."""
        self._solver.step(iterations)

    def solve(self, resume_file: AnyPath | None = None) -> None:
        """Train up to ``max_iter``, from a ``.solverstate`` if one is given."""
        if resume_file is not None:
            self.restore(resume_file)
        self._solver.solve()

    def apply_update(self) -> None:
        """Update the parameters from the current diffs of ``net.params``, and count an iteration.

        After ``net.forward()`` and ``net.backward()`` this completes an iteration by hand. As in Caffe, it does not
        clear the diffs: ``net.clear_param_diffs()`` does.
        """
        self._solver.apply_update()

    def add_callback(self, on_start: Callable[[], object], on_gradients_ready: Callable[[], object]) -> None:
        """Call functions in each iteration: one before the batch, one before the update, when the diffs are ready."""
        self._solver.callbacks.append((on_start, on_gradients_ready))

    def share_weights(self, net: Net) -> None:
        """Make another net use the training net's parameters."""
        net.share_with(self.net)

    def restore(self, state_file: AnyPath) -> None:
        """Resume from a ``.solverstate`` or ``.solverstate.h5``."""
        self._solver.restore(text_path(state_file))

    def snapshot(self) -> None:
        """Write a snapshot under the solver's ``snapshot_prefix``."""
        self._solver.snapshot()


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""

    SOLVER_TYPE = "Nesterov"


class AdaGradSolver(SGDSolver):
    """AdaGrad; ``momentum`` must be 0."""

    SOLVER_TYPE = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """RMSProp; ``momentum`` must be 0."""

    SOLVER_TYPE = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """AdaDelta."""

    SOLVER_TYPE = "AdaDelta"


class AdamSolver(SGDSolver):
    """Adam."""

    SOLVER_TYPE = "Adam"


def get_solver(solver_file: AnyPath, **options: Any) -> SGDSolver:
    """Return the solver that the prototxt's ``type`` names.

    Raises:
        PrototxtError: the type is not implemented.
    """
    name = read_config(text_path(solver_file), options.get("variables")).param.type
    kinds = (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
    return {kind.SOLVER_TYPE: kind for kind in kinds}[name](solver_file, **options)
