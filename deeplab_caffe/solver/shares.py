"""Loss and gradient of a batch that several processes share, exactly as one process would compute them.

A loss layer divides by a normalizer: SOFTMAX_LOSS by the weight of its valid pixels, which differs from process to
process, others by the number of items. If ``v_r`` is the loss of process r and ``d_r`` its normalizer, the whole
batch's loss is ``sum(v_r d_r) / sum(d_r)``. This is not the mean of the ``v_r``, and its gradient is not the mean that
DistributedDataParallel computes. So each process multiplies each of its loss tops by ``d_r / sum(d_r)``; losses and
gradients are then summed over the processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from deeplab_caffe.net import Net
from deeplab_caffe.net.graph import Step
from deeplab_caffe.solver.world import World


class LossShares:
    """Makes each loss top of a net this process's share of the whole batch's loss.

    Other layers' tops may have a ``loss_weight`` too: a single number is taken for a mean over the batch; several
    numbers are taken for sums, which are not scaled.

    Args:
        net: the training net; its loss layers get forward hooks.
        world: the processes.
    """

    def __init__(self, net: Net, world: World) -> None:
        self._world = world
        self._paused = False
        if world.size > 1:
            for step in net.steps:
                if any(step.loss_weights):
                    step.layer.register_forward_hook(
                        lambda _, bottoms, tops, step=step: self._scale(step, bottoms, tops)
                    )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not scale loss tops within the block, so that one process can run the net alone."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def _scale(self, step: Step, bottoms: tuple[Tensor, ...], tops: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self._paused:
            return tops
        divisor = step.layer.normalizer(*bottoms)
        share: Tensor | float = 1 / self._world.size
        if divisor is not None:
            total = self._world.sum(divisor.detach().clone())
            share = torch.where(total > 0, divisor / total, 0.0)
        is_loss = step.layer.default_loss_weight > 0
        return tuple(
            top if not weight or not (is_loss or top.numel() == 1) else top * _as(share, top)
            for top, weight in zip(tops, step.loss_weights, strict=True)
        )


# Without annotations: DistributedDataParallel compares them with types, but in this module they are strings.
def add_up(_, bucket):  # type: ignore[no-untyped-def]
    """Sum gradients over the processes, as a comm hook of DistributedDataParallel.

    Args:
        _: the hook's state, not used.
        bucket: a ``torch.distributed.GradBucket``.

    Returns:
        A future of the sum.
    """
    future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return future.then(lambda done: done.value()[0])


def _as(share: Tensor | float, top: Tensor) -> Tensor | float:
    return share.to(top) if isinstance(share, Tensor) else share
