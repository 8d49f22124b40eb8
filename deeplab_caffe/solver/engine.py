"""Build a solver's nets, and run their forward and backward passes on one device or in several processes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deeplab_caffe.errors import NetError, SolverError
from deeplab_caffe.layers import ConvolutionFact
from deeplab_caffe.net import Net
from deeplab_caffe.net.build import with_lines
from deeplab_caffe.proto import LayerLines, caffe_pb2
from deeplab_caffe.solver.config import SolverConfig
from deeplab_caffe.solver.diagnosis import first_non_finite
from deeplab_caffe.solver.losses import LossReader
from deeplab_caffe.solver.parameters import collect_parameters
from deeplab_caffe.solver.shares import LossShares, add_up
from deeplab_caffe.solver.testing import share_parameters
from deeplab_caffe.solver.world import World

# From this many pixels per batch on, channels-last order is faster on the CPU (``benchmarks/train_speed.py``).
_LEAST_PIXELS = 1 << 15


def _faster_in_channels_last(net: Net) -> bool:
    """Return whether a net trains faster on the CPU in channels-last order.

    A net with depthwise convolutions does not, because our own operation computes them plane by plane: in
    channels-last order a step of deeplab_v3_lite0 took 1.2 times as long (``benchmarks/train_lite0.py``).
    """
    if any(isinstance(layer.fact, ConvolutionFact) and layer.fact.groups > 1 for layer in net.layers):
        return False
    batches = (shape for shape in net.blob_shapes.values() if len(shape) == 4)
    return max((n * h * w for n, _, h, w in batches), default=0) >= _LEAST_PIXELS


class Engine:
    """Builds a solver's nets and runs batches through them.

    Args:
        config: the solver's parameters and nets.
        device: the device of the nets.
        world: the processes that share each batch; only the first one has the test nets.
        seed: seed of the training net; the test nets get the next seeds.
        bfloat16: run forward passes under autocast.
        keep_ignored_diff: see :class:`deeplab_caffe.layers.NetContext`.
        channels_last: see :class:`deeplab_caffe.solver.Solver`.
        **options: further arguments of :class:`deeplab_caffe.Net`.

    Attributes:
        net: the training net.
        test_nets: the test nets, whose parameters are the training net's.
        blobs: the parameter blobs in net order.

    Raises:
        NetError: a net cannot be built, or the training net writes files and there are several processes.
        SolverError: a net has inputs, or the training net has no loss.
    """

    def __init__(
        self,
        config: SolverConfig,
        device: torch.device,
        world: World,
        seed: int,
        *,
        bfloat16: bool = False,
        keep_ignored_diff: bool = True,
        channels_last: bool | None = False,
        **options: Any,
    ) -> None:
        self.device = device
        self.world = world
        self.bfloat16 = bfloat16
        self._seeded = config.param.random_seed >= 0
        self._options = options
        self._reader = LossReader(device)
        self._module: nn.Module | None = None
        origin = config.param.train_net or config.param.net
        self.net = self._build(config.train_net, origin, seed, shard=(world.rank, world.size))
        self.net.context.keep_ignored_diff = keep_ignored_diff
        if channels_last is None:
            channels_last = device.type == "cpu" and _faster_in_channels_last(self.net)
        if channels_last:
            self.net.use_channels_last()
        if not self.net.losses:
            raise SolverError(f"net '{self.net.name}' has no loss in phase TRAIN: there is nothing to train for")
        for layer in self.net.layers if world.size > 1 else ():
            if layer.writes_files:
                raise layer.error(f"writes files, and {world.size} processes would write the same ones")
        self.blobs = collect_parameters(self.net)
        self.test_nets: list[Net] = []
        for i, (origin, test) in enumerate(config.test_nets if world.is_first else ()):
            net = self._build(test, origin, (seed + 1 + i) % 2**32)
            share_parameters(net, self.net)
            net.context.channels_last = channels_last
            self.test_nets.append(net)
        self._shares = LossShares(self.net, world)
        self._sources = [top for step in self.net.steps if step.layer.is_source for top in step.tops]

    def _build(self, param: caffe_pb2.NetParameter, origin: str, seed: int, **options: Any) -> Net:
        try:
            net = Net(param, seed=seed, **options, **self._options)
        except NetError as error:
            raise with_lines(error, LayerLines(origin)) from error
        if net.inputs:
            raise SolverError(
                f"net '{net.name}' has inputs ({', '.join(net.inputs)}): a solver's nets read their data by data layers"
            )
        # Drawing dropout's masks from Caffe's generator is slow, so do it only if the user asked for a seed.
        net.context.seeded = self._seeded
        return net.to(self.device)

    def begin(self) -> None:
        """Begin an iteration: clear gradients and losses."""
        self._reader.clear()
        for blob in self.blobs:
            blob.parameter.grad = None

    def forward_backward(self, *, is_last: bool = True) -> dict[str, Tensor]:
        """Run the forward and backward pass of the next batch; gradients accumulate in the parameters.

        Args:
            is_last: an update follows, so the processes sum their gradients.

        Returns:
            The net's outputs, losses and the tops of its data layers, by name.
        """
        module = self._wrapped()
        wait: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if isinstance(module, DistributedDataParallel) and not is_last:
            wait = module.no_sync()
        with wait:
            found, loss = self._forward(module)
            if loss.requires_grad:
                loss.backward()
        return found

    def forward(self) -> float:
        """Run only the forward pass of the next batch; return its loss."""
        with torch.no_grad():
            self._forward(self.net)
        return self.loss()

    def loss(self) -> float:
        """Return the sum of the losses since the last call; wait for the forward passes only."""
        return self._reader.read()

    def test_forward(self, index: int) -> dict[str, Tensor]:
        """Run the next batch of a test net; return its outputs and losses."""
        net = self.test_nets[index]
        with torch.no_grad(), self.autocast():
            found: dict[str, Tensor] = net(blobs=[*net.losses, *net.outputs])
            return found

    def gradients(self) -> list[Tensor | None]:
        """Return each parameter blob's gradient, or None if it has none; an update may overwrite the gradients."""
        return [blob.parameter.grad for blob in self.blobs]

    def updated(self, values: list[Tensor]) -> None:
        """Learn what an update has subtracted from the parameters; for subclasses."""

    def before_snapshot(self) -> None:
        """Prepare for other code that reads or writes the parameters; for subclasses."""

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which forward passes compute in bfloat16 if the engine was made with ``bfloat16``."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def first_non_finite(self, found: Mapping[str, Tensor]) -> str | None:
        """Return where this process's last batch first gave numbers that are not finite; ``found`` has its blobs."""
        with self.autocast(), self._shares.paused():
            return first_non_finite(self.net, found)

    def _wrapped(self) -> nn.Module:
        if self._module is None:
            self._module = self.net
            if self.world.size > 1 and any(blob.parameter.requires_grad for blob in self.blobs):
                devices = [self.device] if self.device.type == "cuda" else None
                self._module = DistributedDataParallel(self.net, device_ids=devices)
                # By default it averages, but the processes' gradients are shares that must be summed.
                self._module.register_comm_hook(None, add_up)
        return self._module

    def _forward(self, module: nn.Module) -> tuple[dict[str, Tensor], Tensor]:
        with self.autocast():
            found = module(blobs=[*self.net.losses, *self._sources])
            loss = self.net.loss(found)
        self._reader.add(self.world.sum(loss.detach().clone()))
        return found, loss
