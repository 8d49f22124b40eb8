"""Autotuning: measure which algorithm computes a convolution fastest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.convolution import ConvSpec, Run, algorithms, allowed, caffe_engine, direct
from deeplab_caffe.net.optimized import TuningResult

_ROUNDS = 3
_RUNS_ON_GPU = 5
_CYCLES_TO_QUEUE_RUNS = 4_000_000  # about 2 ms


def seconds(runs: Mapping[str, Callable[[], object]], device: torch.device) -> dict[str, float]:
    """Return the shortest time of each run in seconds; they take turns, and the first round is not counted."""
    best = dict.fromkeys(runs, float("inf"))
    for turn in range(_ROUNDS + 1):
        for name, run in runs.items():
            took = _on_gpu(run, device) if device.type == "cuda" else _on_cpu(run)
            if turn:
                best[name] = min(best[name], took)
    return best


def _on_cpu(run: Callable[[], object]) -> float:
    begin = perf_counter()
    run()
    return perf_counter() - begin


def _on_gpu(run: Callable[[], object], device: torch.device) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.cuda.device(device):
        # The GPU waits until all launches are queued, so that Python's time for them is not measured.
        torch.cuda._sleep(_CYCLES_TO_QUEUE_RUNS)
        begin.record()
        for _ in range(_RUNS_ON_GPU):
            run()
        end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / _RUNS_ON_GPU


def _example(spec: ConvSpec, shape: Sequence[int]) -> Tensor:
    """Return an input with the range of images minus mean, so that rounding errors are realistic."""
    device = spec.weight.device
    x = torch.randn(tuple(shape), generator=torch.Generator(device).manual_seed(0), device=device).mul_(50)
    return x.to(spec.weight.dtype, memory_format=torch.channels_last)


@dataclass
class _Shared:
    """What convolutions with the same weights share, for example those of a net's towers.

    Attributes:
        sources: tensors that the weights were computed from; kept alive so that their ids are not reused.
        key: key that identifies the weights.
        spec: the first convolution.
        runs: prepared algorithms.
    """

    sources: Sequence[Tensor]
    key: tuple[object, ...]
    spec: ConvSpec
    runs: dict[tuple[object, ...], Run] = field(default_factory=dict)


def _geometry(spec: ConvSpec) -> tuple[object, ...]:
    return spec.stride, spec.pad, spec.dilation, spec.groups, spec.relu, spec.ceiling, spec.adds


def _default(found: Mapping[str, Callable[[], Run]], *, fall_back: bool) -> dict[str, Callable[[], Run]]:
    """Return the default algorithm, and with ``fall_back`` torch's own too."""
    first = next(iter(found))
    return {name: make for name, make in found.items() if name == first or (fall_back and name == "direct")}


class Autotuner:
    """Chooses algorithms and remembers the choice: equal layers are measured once.

    An algorithm that fails, or whose result differs from torch's own, is rejected; its name and the reason are kept.

    Args:
        tolerance: relative error up to which two results count as equal.
        autotune: measure all algorithms; False: each layer gets the default algorithm.
        fixed: algorithms by layer name, which are not measured.
        verify: run algorithms that are not measured once, to check that the device supports them: not every GPU's
            library has all of them. If the default algorithm fails, torch's own replaces it.
    """

    def __init__(
        self, tolerance: float, *, autotune: bool, fixed: Mapping[str, str] | None = None, verify: bool = False
    ) -> None:
        self.tolerance = tolerance
        self.verify = verify
        self.autotune = autotune
        self.fixed = dict(fixed or {})
        self.results: list[TuningResult] = []
        self._known: dict[tuple[object, ...], TuningResult] = {}
        self._shared: _Shared | None = None

    def choose(
        self,
        name: str,
        engine: str,
        spec: ConvSpec,
        shape: Sequence[int],
        sources: Sequence[Tensor] = (),
        folded: bytes = b"",
    ) -> Run:
        """Return the best algorithm for a layer, ready to run.

        Args:
            name: the layer's name.
            engine: ``"CAFFE"`` or ``"CUDNN"``.
            spec: the convolution.
            shape: shape of the most frequent input.
            sources: tensors that the weights were computed from; consecutive convolutions with the same sources share
                their prepared weights.
            folded: bytes of the numbers that were folded into the weights.

        Raises:
            NetError: ``fixed`` names an algorithm that this layer does not have, or no algorithm works.
        """
        shared = self._shared_by(spec, sources, folded)
        first = shared.spec
        spec = replace(spec, weight=first.weight, bias=first.bias, packs=first.packs, transformed=first.transformed)
        if engine == "CAFFE":
            found: dict[str, Callable[[], Run]] = {"caffe_engine": lambda: caffe_engine(spec)}
            self.results.append(TuningResult(name, "caffe_engine"))
            return self._once(found, "caffe_engine", spec, shape)
        found = algorithms(spec, shape)
        if name in self.fixed:
            if self.fixed[name] not in found:
                raise NetError(f"there is no algorithm {self.fixed[name]!r}; there are {', '.join(found)}", layer=name)
            found = {self.fixed[name]: found[self.fixed[name]]}
        elif not self.autotune:
            found = _default(found, fall_back=self.verify)
        else:
            found = {name: make for name, make in found.items() if allowed(spec, name)}
        if len(found) == 1 and not self.verify:
            algorithm = next(iter(found))
            self.results.append(TuningResult(name, algorithm))
            return self._once(found, algorithm, spec, shape)
        key = (tuple(spec.weight.shape), spec.bias is None, *_geometry(spec), *shape, self.fixed.get(name))
        if key not in self._known:
            # Drop the weights that the slower algorithms have prepared.
            count, before = len(spec.packs), dict(spec.transformed)
            self._known[key] = self._try(name, found, spec, _example(spec, shape))
            del spec.packs[count:]
            spec.transformed.clear()
            spec.transformed.update(before)
        known = self._known[key]
        self.results.append(TuningResult(name, known.algorithm, known.milliseconds, known.failures))
        return self._once(found, known.algorithm, spec, shape)

    def _shared_by(self, spec: ConvSpec, sources: Sequence[Tensor], folded: bytes) -> _Shared:
        """Return the shared state of the convolution before this one if it has the same weights, else a new one."""
        key = (*map(id, sources), folded, spec.weight.dtype)
        if not sources or self._shared is None or self._shared.key != key:
            self._shared = _Shared(sources, key, spec)
        return self._shared

    def _once(
        self, found: Mapping[str, Callable[[], Run]], algorithm: str, spec: ConvSpec, shape: Sequence[int]
    ) -> Run:
        """Return an algorithm ready to run: the same object for the same weights."""
        assert self._shared is not None
        # On the CPU the layout of packed weights depends on the shape.
        key = (algorithm, *_geometry(spec), *(() if spec.weight.is_cuda else shape))
        runs = self._shared.runs
        if key not in runs:
            runs[key] = found[algorithm]()
        return runs[key]

    def _try(self, name: str, found: Mapping[str, Callable[[], Run]], spec: ConvSpec, x: Tensor) -> TuningResult:
        other: list[Tensor] = []
        if spec.adds:
            size = (x.shape[0], spec.weight.shape[0], *spec.output_size(x))
            other = [torch.ones(size, dtype=x.dtype, device=x.device).to(memory_format=torch.channels_last)]
        expected = direct(spec)(x, *other).float()
        scale = max(float(expected.norm()), torch.finfo(torch.float32).tiny)
        runs: dict[str, Callable[[], object]] = {}
        failures: dict[str, str] = {}
        for algorithm, make in found.items():
            try:
                run = make()
                if x.is_cuda:
                    # Fill memory that the result will probably reuse with NaN, to catch algorithms that read it.
                    torch.full_like(expected, float("nan"), dtype=x.dtype, memory_format=torch.channels_last)
                got = run(x, *other)
                error = float((got.float() - expected).norm()) / scale if got.shape == expected.shape else float("inf")
            except (RuntimeError, ValueError, TypeError, AttributeError) as problem:
                failures[algorithm] = f"{type(problem).__name__}: {problem}".partition("\n")[0]
                continue
            if not error <= self.tolerance:
                failures[algorithm] = f"differs from torch's convolution by {error:.1e}"
                continue
            if not self.autotune or len(found) == 1:
                return TuningResult(name, algorithm, failures=failures)
            runs[algorithm] = partial(run, x, *other)
        if not runs:
            raise NetError(f"no algorithm computes it: {failures}", layer=name)
        times = seconds(runs, x.device)
        milliseconds = {algorithm: round(took * 1e3, 4) for algorithm, took in times.items()}
        return TuningResult(name, min(times, key=times.__getitem__), milliseconds, failures)
