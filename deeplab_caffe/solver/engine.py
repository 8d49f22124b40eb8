"""The nets of a solver and how they are run: forwards, backwards, on one device or shared out over processes."""

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

# Pixels of a batch from which channels-last order is the faster one on the CPU (``benchmarks/train_speed.py``).
_LEAST_PIXELS = 1 << 15


def _gains_by_channels_last(net: Net) -> bool:
    """Return whether a net trains faster on the CPU in channels-last order.

    Not with a kernel for each channel, which our own operation computes plane by plane: in channels-last order
    deeplab_v3_lite0's step took 1.2 times as long (``benchmarks/train_lite0.py``).
    """
    if any(isinstance(layer.fact, ConvolutionFact) and layer.fact.groups > 1 for layer in net.layers):
        return False
    batches = (shape for shape in net.blob_shapes.values() if len(shape) == 4)
    return max((n * h * w for n, _, h, w in batches), default=0) >= _LEAST_PIXELS


class Engine:
    """Builds a solver's nets and runs batches through them.

    Args:
        config: the nets.
        device: where they compute.
        world: the processes that share out each batch; the first one has the test nets.
        seed: of the training net; the test nets' follow it.
        bfloat16: forward passes under autocast.
        keep_ignored_diff: see :class:`deeplab_caffe.layers.NetContext`.
        channels_last: see :class:`deeplab_caffe.solver.Solver`.
        **options: further arguments of :class:`deeplab_caffe.Net`.

    Attributes:
        net: the training net.
        test_nets: the test nets, whose parameters are the training net's.
        blobs: the parameter blobs in net order.

    Raises:
        NetError: a net cannot be built, or the training net writes files and there are several processes.
        SolverError: a net has inputs, or the training net no loss.
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
            channels_last = device.type == "cpu" and _gains_by_channels_last(self.net)
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
        # Drawing dropout's masks from Caffe's generator is slow: only where the original's very numbers were asked for.
        net.context.seeded = self._seeded
        return net.to(self.device)

    def begin(self) -> None:
        """Begin an iteration: no gradients, no losses."""
        self._reader.clear()
        for blob in self.blobs:
            blob.parameter.grad = None

    def forward_backward(self, *, is_last: bool = True) -> dict[str, Tensor]:
        """Run the next batch forwards and backwards; gradients add up in the parameters.

        Args:
            is_last: the update follows: the processes bring their gradients together.

        Returns:
            The net's outputs, losses and the tops of its data layers.
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
        """Run the next batch forwards only; return its loss."""
        with torch.no_grad():
            self._forward(self.net)
        return self.loss()

    def loss(self) -> float:
        """Return the sum of the losses since the last call; waits for the forward passes only."""
        return self._reader.read()

    def test_forward(self, index: int) -> dict[str, Tensor]:
        """Run the next batch of a test net; return its outputs and losses."""
        net = self.test_nets[index]
        with torch.no_grad(), self.autocast():
            found: dict[str, Tensor] = net(blobs=[*net.losses, *net.outputs])
            return found

    def gradients(self) -> list[Tensor | None]:
        """Return the gradient of each parameter blob, None where there is none; an update may overwrite them."""
        return [blob.parameter.grad for blob in self.blobs]

    def updated(self, values: list[Tensor]) -> None:
        """Take note of what an update took off the parameters."""

    def before_snapshot(self) -> None:
        """Prepare for the parameters being read or written from outside."""

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Have forward passes within it compute in bfloat16 if that was asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def first_non_finite(self, found: Mapping[str, Tensor]) -> str | None:
        """Say where this process's last batch first met numbers that are not finite; ``found``: what it gave."""
        with self.autocast(), self._shares.paused():
            return first_non_finite(self.net, found)

    def _wrapped(self) -> nn.Module:
        if self._module is None:
            self._module = self.net
            if self.world.size > 1 and any(blob.parameter.requires_grad for blob in self.blobs):
                devices = [self.device] if self.device.type == "cuda" else None
                self._module = DistributedDataParallel(self.net, device_ids=devices)
                # Its own way is to average; what each process has is a share, and shares add up.
                self._module.register_comm_hook(None, add_up)
        return self._module

    def _forward(self, module: nn.Module) -> tuple[dict[str, Tensor], Tensor]:
        with self.autocast():
            found = module(blobs=[*self.net.losses, *self._sources])
            loss = self.net.loss(found)
        self._reader.add(self.world.sum(loss.detach().clone()))
        return found, loss
