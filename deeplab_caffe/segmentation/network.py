"""The network of a segmenter: taken as it comes, and made ready to run fast when the first image is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.errors import NetError, listed
from deeplab_caffe.inference import OptimizedNet, optimize
from deeplab_caffe.inference.precision import check_precision, precision_of
from deeplab_caffe.layers import Shape
from deeplab_caffe.net import Net, PrecisionName
from deeplab_caffe.net.graph import Graph
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.segmentation.deploy import deploy_wanted


class Network:
    """A net, and the optimized net that is made of it for the first image.

    Shallow copies of a segmenter share it. Deep and pickled copies optimize the net for themselves.

    Args:
        net: a net or an optimized one.
        optimizes: whether :meth:`make_ready` optimizes a net.
        precision: as for :func:`deeplab_caffe.optimize`.
        build_anew: what built the net from its files, for a second time where making it ready breaks off.
        device: where a net without weights is.

    Attributes:
        net: the net; None: an optimized one came.
        optimized: the optimized net.
        optimizes: see above.
        device: where it computes.
        graph: what is run.
        input_shapes: shapes of its inputs, by name.
        name: for messages.
    """

    def __init__(
        self,
        net: Net | OptimizedNet,
        *,
        optimizes: bool = False,
        precision: PrecisionName = "strict",
        build_anew: Callable[[], Net] | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.optimizes = optimizes
        self.graph: Graph = net.graph
        self.device: torch.device
        self.input_shapes: dict[str, Shape]
        self.net = net if isinstance(net, Net) else None
        self.optimized = net if isinstance(net, OptimizedNet) else None
        if isinstance(net, OptimizedNet):
            self.device, self.input_shapes, self.name = net.device, net.input_shapes, "the net"
        else:
            weight = next(net.parameters(), None)
            self.device = resolve_device(device) if weight is None else weight.device
            self.input_shapes = {name: net.blob_shapes[name] for name in net.inputs}
            self.name = f"net '{net.name}'"
        self._precision: PrecisionName = precision
        self._build_anew = build_anew
        self._as_built = _versions(net) if isinstance(net, Net) else []
        # Builds the net again if optimizing it is broken off; None: optimizing has not begun, or it cannot.
        self._again: Callable[[], Net] | None = None
        # Held by the thread that optimizes the net.
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        if self.optimized is not None and not _is_repeatable(self._again):
            raise TypeError(
                "this Segmenter cannot be pickled or copied by copy.deepcopy: its net was optimized, which took the "
                "weights to this process, and they cannot be read from a file again. Do it before its first image, or "
                "make it with optimize=False; where it was made of an optimized net, send the net that was optimized"
            )
        state = {**self.__dict__, "optimized": None}
        del state["_lock"]
        if self.net is not None and _versions(self.net) != self._as_built:
            state["_build_anew"] = None  # would build it without the weights that were put in since
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        if self.net is not None and self._build_anew is not None:
            self._as_built = _versions(self.net)  # a copy counts anew

    @property
    def mean_value(self) -> tuple[float, float, float]:
        """Return what the image has had subtracted from B, G and R.

        Raises:
            NetError: the net says it wrongly.
        """
        if self.net is not None:
            return self.net.mean_value
        assert self.optimized is not None
        return self.optimized.mean_value

    @property
    def will_be_optimized(self) -> bool:
        """Return whether images go through an optimized net: one that is there, or is yet to be made."""
        return self.optimizes or self.optimized is not None

    def make_ready(self, size: tuple[int, int], blob: str) -> None:
        """Optimize the net, if that is to be and has not been done; its weights go into the optimized net.

        Args:
            size: height and width of the input to expect.
            blob: the one to compute.
        """
        if not self.optimizes or self.optimized is not None:
            return
        with self._lock:
            if self.optimized is None:
                assert self.net is not None
                if self._again is not None:
                    # Optimizing was broken off before, by Ctrl-C or for lack of memory, and freed weights.
                    self.net = self._again().to(self.device)
                elif _versions(self.net) == self._as_built:  # with the files' weights: nobody has put in others
                    self._again = self._build_anew
                self.optimized = optimize(
                    self.net,
                    precision=self._precision,
                    batch=1,
                    size=size,
                    blobs=[blob],
                    autotune=False,
                    graphs=False,
                    release=True,
                )

    def run_layers(self, graph: Graph, blob: Tensor) -> Tensor:
        """Return a graph's one output from its one input, computed layer by layer."""
        assert self.net is not None
        (values,) = graph.execute([blob], self.net.run_layer).values()
        return values

    def broken_layers(self) -> str:
        """Return the first layers with weights that are not finite, as text; empty if the weights were freed."""
        if self.optimized is not None or self.net is None:
            return ""
        broken = [key for key, value in self.net.state_dict().items() if not value.isfinite().all()]
        return f" (not finite: {listed(broken[:3], len(broken), ', ')})" if broken else ""


def network_of(
    model: str | PathLike[str] | caffe_pb2.NetParameter | Net | OptimizedNet,
    weights: str | PathLike[str] | None,
    *,
    blob: str | None,
    device: str | torch.device,
    optimize: bool | None,
    precision: PrecisionName,
    variables: Mapping[str, str] | None,
    **options: Any,
) -> Network:
    """Take a network as :class:`deeplab_caffe.Segmenter` takes it, whose arguments these are.

    Args:
        model: its ``prototxt``.
        weights: as there, like all that follow.
        blob: only checked.
        device: where a net that is built goes.
        optimize: whether :meth:`Network.make_ready` is to optimize it.
        precision: of the optimized net.
        variables: of the prototxt.
        **options: further ones of :class:`deeplab_caffe.Net`.

    Raises:
        NetError: arguments that a built or optimized net does not take, or as for :class:`deeplab_caffe.Net`.
        PrototxtError: the prototxt cannot be read.
        CaffeModelError: the caffemodel cannot be read.
    """
    check_precision(precision)
    if isinstance(model, OptimizedNet):
        if weights is not None or optimize is False or blob not in (None, *model.graph.outputs):
            raise NetError("an optimized net has weights and blobs of its own: give neither, nor optimize=False")
        if precision != "strict":
            raise NetError("an optimized net has its precision: give it to net.optimize")
        return Network(model)
    if isinstance(model, Net):
        if weights is not None:
            raise NetError("a built net has weights already: load others by its copy_from")
        model.require_weights()
        return Network(model, optimizes=optimize is True, precision=precision, device=device)
    build = partial(Net, model, weights, "TEST", variables=variables, **options)
    with deploy_wanted(model, variables):
        net = build()
    net.to(resolve_device(device))
    found = Network(net, optimizes=optimize is not False, precision=precision, build_anew=build, device=device)
    if optimize is None:
        found.optimizes = _can_optimize(net, found.device)
    return found


def _is_repeatable(build: Callable[[], Net] | None) -> bool:
    """Return whether building a net once more gives the same weights: those of a file, or drawn from a seed."""
    return isinstance(build, partial) and (build.args[1] is not None or build.keywords["seed"] is not None)


def _versions(net: Net) -> list[int]:
    """Return torch's version counters of the weights."""
    return [weight._version for weight in net.parameters()]


def _can_optimize(net: Net, device: torch.device) -> bool:
    try:
        precision_of(net.dtype, device)
    except NetError:
        return False
    return True
