"""The Triton kernel: in Triton's interpreter where there is no GPU. It comes with torch's CUDA builds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from deeplab_caffe.inference.convolution import ConvSpec, algorithms

ROOT = Path(__file__).resolve().parent.parent.parent

# kernel, stride, pad, hole, height, width, channels, outputs
GEOMETRIES = [
    (3, 1, 2, 2, 9, 11, 16, 24),
    (3, 1, 12, 12, 9, 7, 16, 16),
    (4, 1, 6, 4, 11, 13, 20, 8),
    (3, 2, 1, 1, 10, 7, 16, 33),
    (1, 1, 0, 1, 5, 6, 16, 16),
    (3, 1, 0, 2, 9, 8, 6, 8),
]


def compare(geometry: tuple, dtype: torch.dtype, device: str, pixels: int, outputs: int, depth: int) -> None:
    """Asserts that the kernel computes the convolution, bare, and with bias and ReLU.

    The reference is the CPU's: a GPU may convolve by Fourier transforms, which spread a NaN over the whole image.
    """
    from deeplab_caffe.inference.implicit_gemm import Tile, convolution

    kernel, stride, pad, hole, height, width, channels, channels_out = geometry
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((2, channels, height, width), generator=generator).to(device, dtype)
    x[1, 0, height // 2, width // 2] = float("nan")
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn((channels_out, channels, kernel, kernel), generator=generator).to(device, dtype)
    bias = torch.randn(channels_out, generator=generator).to(device, dtype)
    tolerance = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]
    tile = Tile(pixels, outputs, depth, 4, 2)
    plain = F.conv2d(x.cpu().double(), weight.cpu().double(), None, stride, pad, hole)
    for b, expected in ((None, plain), (bias, (plain + bias.cpu().double().view(-1, 1, 1)).relu())):
        found = convolution(weight, b, *((n, n) for n in (stride, pad, hole)), b is not None, tile)(x)
        assert found.is_contiguous(memory_format=torch.channels_last)
        found = found.cpu().double()
        assert torch.equal(found.isnan(), expected.isnan())
        error = (found.nan_to_num(0) - expected.nan_to_num(0)).norm()
        assert error <= tolerance * expected.nan_to_num(0).norm()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_in_the_interpreter(dtype: str) -> None:
    triton = pytest.importorskip("triton", reason="triton is not installed: it comes with torch's CUDA builds")
    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 2):
        pytest.skip("its interpreter does not see constants whose annotations are strings; its compiler does")
    # It decides when the kernel is defined.
    code = (
        "import torch; from tests.inference.test_implicit_gemm import *\n"
        f"for geometry in GEOMETRIES: compare(geometry, torch.{dtype}, 'cpu', 16, 16, 16)"
    )
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_on_a_gpu(geometry: tuple, dtype: torch.dtype) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    pytest.importorskip("triton")
    compare(geometry, dtype, "cuda", 64, 64, 32)


def spec(dtype: torch.dtype, device: str, outputs: int = 128, kernel: int = 3) -> ConvSpec:
    weight = torch.zeros((outputs, 64, kernel, kernel), dtype=dtype, device=device)
    return ConvSpec(weight, None, (1, 1), (kernel // 2,) * 2, (1, 1), 1, True)


def test_not_on_the_cpu() -> None:
    assert not [
        name for name in algorithms(spec(torch.bfloat16, "cpu"), (1, 64, 9, 9)) if name.startswith("implicit_gemm")
    ]


@pytest.mark.cuda
def test_tiles_that_fit_a_layer() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    pytest.importorskip("triton")

    def tiles(*args: object) -> list[str]:
        return [name for name in algorithms(spec(*args), (1, 64, 9, 9)) if name.startswith("implicit_gemm")]

    assert tiles(torch.bfloat16, "cuda") == [
        "implicit_gemm_128x128",
        "implicit_gemm_64x128",
        "implicit_gemm_128x64",
        "implicit_gemm_64x64",
    ]
    assert tiles(torch.float16, "cuda", 21) == ["implicit_gemm_128x64", "implicit_gemm_64x64"]
    assert tiles(torch.float32, "cuda") == []
    assert tiles(torch.bfloat16, "cuda", 128, 1) == []
