"""The ways to run a network that fps.py compares."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import plain_lite0
import torch
from plain import HEADS, PlainDeepLab
from plain_lite0 import PlainLite0
from plain_resnet import TOWERS, PlainResNet, one_tower
from process_memory import memory_mib

from deeplab_caffe import Net, proto
from deeplab_caffe.zoo.paths import prototxt_path

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Relative errors against plain PyTorch. float32: other summation orders; the others: every activation is rounded, by
# each its own way.
TOLERANCES = {"float32": 1e-5, "tf32": 1e-2, "bfloat16": 5e-2, "float16": 1e-2}
# cuDNN's float32 may be Winograd's, which alone is off by some 1e-5.
FLOAT32_TOLERANCE_ON_CUDA = 3e-5
OURS = {"fast": "ours", "rough": "ours, precision fast", "default": "ours, Net", "CAFFE": "ours, engine CAFFE"}
PLAIN = ("plain", "plain channels_last")
COMPILED = "compiled"
COMPILE_MODE = "max-autotune"

Run = Callable[[], torch.Tensor]


def names(dtype: str, engines: list[str], *, plain: bool, compiled: bool) -> list[str]:
    """List the contenders of a case, ours first."""
    only = {"CAFFE": ("float32", "tf32"), "rough": ("float32",)}
    ours = [OURS[engine] for engine in engines if dtype in only.get(engine, (dtype,))]
    return [*ours, *(PLAIN if plain else ()), *([COMPILED] if plain and compiled else ())]


def network_path(model: str) -> Path:
    """Return the deploy prototxt of one of the package's networks, of a folder, or the file itself."""
    path = Path(model)
    if path.is_dir() and (path / "deploy.prototxt").is_file():
        return path / "deploy.prototxt"
    return path if path.is_file() else prototxt_path(model)


def network(model: str) -> proto.NetParameter:
    """Return the network of one of these names, or of a folder or file."""
    alone = model in TOWERS and TOWERS[model] == 1
    param = proto.read_net(network_path(model.partition(",")[0] if alone else model))
    return one_tower(param) if alone else param


def plain_network(model: str) -> PlainDeepLab | PlainResNet | PlainLite0:
    """Return the same network in plain PyTorch."""
    if Path(model).name == plain_lite0.NAME:
        return PlainLite0()
    return PlainResNet(model) if model in TOWERS else PlainDeepLab(model)


@lru_cache(maxsize=1)
def random_weights(model: str) -> Net:
    """Return the network with weights that keep activations at one size from layer to layer."""
    net = Net(network(model))
    generator = torch.Generator().manual_seed(2015)
    with torch.no_grad():
        for layer in net.layers:
            for role, blob in layer.named_blobs.items():
                if role == "factor":
                    blob.fill_(1)
                elif role == "variance":
                    blob.uniform_(0.5, 1.5, generator=generator)
                elif role != "weight":
                    blob.normal_(0, 0.1, generator=generator)
                elif blob.dim() == 1:
                    blob.normal_(0.7, 0.1, generator=generator)
                else:
                    blob.normal_(0, (2 / blob[0].numel()) ** 0.5, generator=generator)
    return net


def has_plain(model: str) -> bool:
    """Return whether the network is written in plain PyTorch as well."""
    return model in HEADS or model in TOWERS or Path(model).name == plain_lite0.NAME


def tolerance(name: str, dtype: str, device: torch.device) -> float:
    """Return the largest relative error of a contender's result that is right."""
    if name == OURS["rough"]:
        return 5e-5
    return FLOAT32_TOLERANCE_ON_CUDA if (dtype, device.type) == ("float32", "cuda") else TOLERANCES[dtype]


def float64_scores(model: str, x: torch.Tensor, weights: Net) -> torch.Tensor:
    """Return what plain PyTorch computes in float64, up to the upsampling; image by image, which bounds the memory."""
    plain = plain_network(model).eval()
    plain.copy_weights(weights)
    plain = plain.to(x.device, torch.float64)
    # Nothing is measured here, so nothing is to be tuned.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        return torch.cat([plain(image.double()) for image in x.split(1)])


def contender(name: str, model: str, dtype: str, x: torch.Tensor, weights: Net | None) -> Run:
    """Return one way to run the network on one input; without ``weights`` they stay as they come (for peak memory)."""
    number = DTYPES[dtype]
    if name in (*PLAIN, COMPILED):
        plain = plain_network(model).eval()
        if weights is not None:
            plain.copy_weights(weights)
        plain, image = plain.to(x.device, number), x.to(number)
        if name != "plain":
            plain = plain.to(memory_format=torch.channels_last)
            image = image.contiguous(memory_format=torch.channels_last)
        if name == COMPILED:
            # Compiled anew for each shape: after a second one torch would make a program for all, a slower one.
            torch.compiler.reset()
            compiled = torch.compile(plain, mode=COMPILE_MODE, dynamic=False)
            # Its CUDA graphs give the same memory at each call.
            return lambda: compiled(image).clone()
        return lambda: plain(image)
    engine = "CAFFE" if name == OURS["CAFFE"] else "DEFAULT"
    own = number if name == OURS["default"] else torch.float32
    net = Net(network(model), engine=engine, dtype=own, channels_last=name == OURS["default"])
    if weights is not None:
        net.load_state_dict(weights.state_dict())
    net = net.to(x.device)
    if name in (OURS["fast"], OURS["rough"]):
        precision = "strict" if name == OURS["fast"] else "fast"
        size = tuple(x.shape[2:])
        fast = net.optimize(dtype=dtype, precision=precision, batch=x.shape[0], size=size, release=True)
        del net
        run: Run = lambda: fast(x)  # noqa: E731
        run.tuning = fast.tuning  # type: ignore[attr-defined]
        return run
    return lambda: net(x).float()


@contextmanager
def switches(dtype: str) -> Iterator[None]:
    """Set torch's switches for speed; float32 stays strict."""
    tf32 = dtype == "tf32"
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=tf32):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def cpu_peak_mib(name: str, model: str, dtype: str, batch: int, size: int, threads: int) -> float:
    """Return peak resident memory of a process that does nothing but build this contender and run it."""
    command = [sys.executable, __file__, "--name", name, "--model", model, "--dtype", dtype]
    command += ["--batch", str(batch), "--size", str(size), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["peak_mib"]


def _peak_process() -> None:
    parser = argparse.ArgumentParser(description="One contender in a process of its own: prints its peak memory.")
    for option in ("--name", "--model", "--dtype"):
        parser.add_argument(option, required=True)
    for option in ("--batch", "--size", "--threads"):
        parser.add_argument(option, type=int, required=True)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    x = torch.randn(options.batch, 3, options.size, options.size)
    with switches(options.dtype):
        run = contender(options.name, options.model, options.dtype, x, None)
        for _ in range(3):
            run()
    print(json.dumps({"peak_mib": round(memory_mib(), 1)}))


if __name__ == "__main__":
    _peak_process()
