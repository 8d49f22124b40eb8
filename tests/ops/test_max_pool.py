from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.arrays import TorchArrays
from deeplab_caffe.ops.max_pool import _max_pool, max_pool

ON_CPU = TorchArrays(torch.device("cpu"))
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def pool(x: Tensor, kernel: int, stride: int, pad: int, size: tuple[int, int]) -> Tensor:
    return max_pool(x, (kernel, kernel), (stride, stride), (pad, pad), size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_by_hand(device: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, -2.0, 3.0], [-4.0, -5.0, -6.0]], dtype=dtype, device=device).view(1, 1, 2, 3)
    assert pool(x, 2, 1, 0, (1, 2)).flatten().tolist() == [1, 3]
    # The padding never wins, and windows are cut at the image's end.
    assert pool(-x.abs(), 3, 2, 1, (1, 2)).flatten().tolist() == [-1, -2]
    assert pool(x[:, :, 1:], 2, 2, 1, (1, 2)).flatten().tolist() == [-4, -5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_numbers(device: str, dtype: torch.dtype) -> None:
    inf, nan = float("inf"), float("nan")

    def largest(*values: float) -> float:
        x = torch.tensor(values, dtype=dtype, device=device).view(1, 1, 1, -1)
        return max_pool(x, (1, len(values)), (1, 1), (0, 0), (1, 1)).item()

    assert largest(-inf, -1.0, -0.5) == -0.5
    assert largest(1.0, inf) == inf
    assert largest(-inf, -inf) == torch.finfo(dtype).min
    assert str(largest(-0.0, 0.0)) == "0.0"
    assert largest(1.0, nan, inf) != largest(1.0, nan, inf)
    x = torch.ones((1, 1, 1, 1), dtype=dtype, device=device)
    assert pool(x, 1, 2, 0, (2, 1)).flatten().tolist() == [1, torch.finfo(dtype).min]


# channels, height, width, kernel, stride, pad
CASES = [
    (64, 33, 41, 3, 2, 1),
    (128, 7, 5, 3, 1, 1),
    (70, 9, 8, 2, 2, 1),
    (3, 17, 16, 2, 1, 1),
    (8, 1, 1, 3, 1, 1),
    (1, 6, 70, 5, 3, 2),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_torchs_pooling(device: str, case: tuple, dtype: torch.dtype, layout: torch.memory_format) -> None:
    channels, height, width, kernel, stride, pad = case
    x = torch.randn((3, channels, height, width), generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = F.max_pool2d(x.float(), kernel, stride, pad, ceil_mode=True).to(dtype)
    x = x.to(device, memory_format=layout)
    found = pool(x, kernel, stride, pad, tuple(expected.shape[2:]))
    assert torch.equal(found.cpu(), expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(device: str, dtype: torch.dtype) -> None:
    x = torch.randn((2, 3, 6, 7), device=device).to(dtype)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.library.opcheck(_max_pool.torch, (given, [3, 3], [2, 2], [1, 1], [3, 4]))


def test_refusals() -> None:
    x = torch.zeros((1, 2, 4, 4))
    with pytest.raises(ValueError, match=r"expected \(N, C, H, W\) float32, float16 or bfloat16, got float64"):
        pool(x.double(), 2, 1, 0, (3, 3))
    with pytest.raises(ValueError, match=r"got float32 \(2, 4, 4\)"):
        pool(x[0], 2, 1, 0, (3, 3))
    with pytest.raises(ValueError, match=r"positive kernel and stride and no negative pad, got 0, 1 and 0"):
        pool(x, 0, 1, 0, (3, 3))
    with pytest.raises(ValueError, match=r"expected a tensor on cpu or cuda, got one on meta"):
        _max_pool.torch._init_fn(x.to("meta"), [2, 2], [1, 1], [0, 0], [3, 3])
    with pytest.raises(ValueError, match=r"input: expected channels-last memory without gaps"):
        _C.max_pool(ON_CPU.view(x), ON_CPU.view(x), (1, 1), (1, 1), (0, 0))
    integers = torch.zeros((1, 2, 4, 4), dtype=torch.int32).contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match=r"max_pool: expected float32, float16 or bfloat16, got int32"):
        _C.max_pool(ON_CPU.view(integers), ON_CPU.view(integers), (1, 1), (1, 1), (0, 0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_longer_than_the_image(device: str, dtype: torch.dtype) -> None:
    """However long a window or a step is, it ends at the image's end."""
    x = torch.tensor([3.0, 9.0, 1.0], dtype=dtype, device=device).view(1, 1, 1, 3)
    lowest = torch.finfo(dtype).min
    for long in (4, 2**31, 2**63 - 1):
        assert max_pool(x, (long, long), (1, 1), (0, 0), (1, 3)).flatten().tolist() == [9, 9, 1]
        assert max_pool(x, (1, 1), (long, long), (0, 0), (1, 3)).flatten().tolist() == [3, lowest, lowest]
        assert max_pool(x, (long, long), (long, long), (1, 1), (1, 2)).flatten().tolist() == [9, lowest]


@pytest.mark.parametrize("channels", [1, 65])
def test_an_image_without_pixels(device: str, channels: int) -> None:
    x = torch.empty((1, channels, 0, 3), device=device)
    assert (pool(x, 2, 1, 1, (2, 2)) == torch.finfo(torch.float32).min).all()


def test_no_outputs(device: str) -> None:
    assert pool(torch.empty((1, 0, 2, 2), device=device), 2, 1, 0, (2**40, 1)).shape == (1, 0, 2**40, 1)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"size": (-1, 2)}, r"max_pool: expected a size without negative numbers, got \(-1, 2\)"),
        ({"kernel": (0, 2)}, "positive kernel"),
        ({"stride": (1, -(2**63))}, "positive kernel and stride"),
        ({"pad": (-1, 0)}, "no negative pad"),
        ({"pad": (2**31, 0)}, "a pad of at most 2147483647, got 2147483648"),
        ({"kernel": (1,)}, r"expected kernel \(height, width\), got \(1,\)"),
        ({"size": (1, 1, 1)}, r"expected size \(height, width\), got \(1, 1, 1\)"),
    ],
)
def test_numbers_that_make_no_window(argument: dict[str, tuple[int, ...]], message: str) -> None:
    arguments = {"kernel": (1, 1), "stride": (1, 1), "pad": (0, 0), "size": (1, 1)} | argument
    for x in (torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2).numpy()):
        with pytest.raises(ValueError, match=message):
            max_pool(x, **arguments)
