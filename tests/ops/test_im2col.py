from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from deeplab_caffe import _C, reference
from deeplab_caffe.ops.im2col import _col2im, _im2col, col2im, conv_output_size, im2col
from tests.goldens import case_names
from tests.ops.golden_op import golden_op


def test_by_hand(device: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]], dtype=dtype, device=device)
    corners = torch.tensor([1.0, 3.0, 7.0, 9.0], dtype=dtype, device=device).view(1, 4, 1, 1)
    assert torch.equal(im2col(x, 2, dilation=2), corners)
    assert torch.equal(
        col2im(corners, 3, 2, dilation=2)[0, 0].cpu(),
        torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0], [7.0, 0.0, 9.0]], dtype=dtype),
    )
    padded = im2col(x, (1, 3), stride=(2, 2), pad=(0, 1))
    assert padded.flatten(2).tolist() == [[[0.0, 2.0, 0.0, 8.0], [1.0, 3.0, 7.0, 9.0], [2.0, 0.0, 8.0, 0.0]]]
    ones = col2im(torch.ones_like(padded), 3, (1, 3), stride=(2, 2), pad=(0, 1))
    assert ones[0, 0].tolist() == [[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "hole", "expected"),
    [
        (321, 3, 1, 1, 1, 321),
        (41, 3, 1, 12, 12, 41),  # fc6 of LargeFOV
        (41, 4, 1, 6, 4, 41),
        (41, 7, 1, 12, 4, 41),  # fc6 of DeepLab 7x7
        (10, 3, 2, 0, 1, 4),  # rounded down: the tenth pixel is not read
        (5, 3, 1, 0, 2, 1),
        (1, 1, 5, 0, 9, 1),
    ],
)
def test_size(size: int, kernel: int, stride: int, pad: int, hole: int, expected: int) -> None:
    assert conv_output_size(size, kernel, stride, pad, hole) == expected


# shape, kernel, stride, pad, hole
GEOMETRIES = [
    ((2, 3, 7, 9), (3, 3), (1, 1), (2, 2), (2, 2)),
    ((1, 2, 10, 9), (2, 3), (1, 2), (1, 2), (3, 2)),
    ((1, 1, 6, 5), (1, 1), (1, 1), (0, 0), (1, 1)),
    ((2, 1, 6, 5), (1, 1), (2, 3), (1, 0), (5, 5)),
    ((1, 2, 5, 4), (3, 3), (1, 1), (12, 12), (12, 12)),  # only the middle tap ever reads the image
    ((1, 2, 5, 4), (2, 2), (3, 4), (7, 9), (1, 2)),  # whole output rows and columns read padding only
    ((1, 3, 11, 1), (4, 1), (2, 1), (0, 0), (3, 1)),
    ((1, 1, 1, 13), (1, 5), (1, 3), (0, 1), (1, 3)),
]


@pytest.mark.parametrize("case", GEOMETRIES)
def test_against_slow_reference(case: tuple, device: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    shape, *geometry = case
    x = torch.randn(shape, generator=generator, dtype=dtype)
    assert torch.equal(_im2col(x.to(device), *geometry).cpu(), torch.from_numpy(reference.im2col(x.numpy(), *geometry)))


@pytest.mark.parametrize("case", GEOMETRIES)
def test_col2im_is_the_adjoint(case: tuple, device: str, generator: torch.Generator) -> None:
    shape, *geometry = case
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(device)
    columns = _im2col(x, *geometry)
    y = torch.randn(columns.shape, generator=generator, dtype=torch.float64).to(device)
    torch.testing.assert_close(
        (columns * y).sum(), (_col2im(y, shape[2:], *geometry) * x).sum(), rtol=1e-12, atol=1e-12
    )
    # Counting readers is exact, so one wrong border pixel cannot hide in a sum.
    counts = torch.from_numpy(reference.col2im(np.ones(columns.shape), shape[2:], *geometry))
    assert torch.equal(_col2im(torch.ones_like(columns), shape[2:], *geometry).cpu(), counts)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided", "expanded"])
def test_non_contiguous(layout: str, device: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    x = torch.randn((2, 4, 6, 10), generator=generator, dtype=dtype).to(device)
    x = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(2, 3),
        "strided": x[:, ::2, :, 1::3],
        "expanded": x[:1].expand(3, -1, -1, -1),
    }[layout]
    assert not x.is_contiguous()
    geometry = {"kernel": (2, 3), "stride": (1, 2), "pad": 2, "dilation": (2, 1)}
    columns = im2col(x, **geometry)
    assert torch.equal(columns, im2col(x.contiguous(), **geometry))
    assert torch.equal(
        col2im(columns.contiguous(memory_format=torch.channels_last), x.shape[2:], **geometry),
        col2im(columns, x.shape[2:], **geometry),
    )


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (1, 2, 0, 0)])
def test_empty(shape: tuple, device: str) -> None:
    columns = im2col(torch.zeros(shape, device=device), 3, pad=2)
    assert columns.shape == (shape[0], shape[1] * 9, shape[2] + 2, shape[3] + 2)
    assert not columns.any()
    assert col2im(columns, shape[2:], 3, pad=2).shape == shape


def test_bit_equal_from_run_to_run_and_for_any_number_of_threads(device: str, generator: torch.Generator) -> None:
    x = torch.randn((2, 5, 67, 59), generator=generator).to(device)
    columns = torch.randn((2, 45, 67, 59), generator=generator).to(device)
    results = []
    for threads in (1, 2, 5):
        _C.set_num_threads(threads)
        results.append((im2col(x, 3, pad=2, dilation=2), col2im(columns, x.shape[2:], 3, pad=2, dilation=2)))
    _C.set_num_threads(0)
    for forward, backward in results[1:]:
        assert torch.equal(forward, results[0][0])
        assert torch.equal(backward, results[0][1])


def test_col2im_has_the_same_bits_on_every_device(device: str, generator: torch.Generator) -> None:
    columns = torch.randn((2, 3 * 9, 12, 13), generator=generator)
    on_cpu = col2im(columns, (12, 13), 3, pad=2, dilation=2)
    assert torch.equal(col2im(columns.to(device), (12, 13), 3, pad=2, dilation=2).cpu(), on_cpu)


@pytest.mark.parametrize("case", GEOMETRIES[:2])
def test_gradcheck(case: tuple, device: str, generator: torch.Generator) -> None:
    shape, *geometry = case
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(device).requires_grad_()
    assert gradcheck(lambda t: _im2col(t, *geometry), (x,))
    assert gradgradcheck(lambda t: _im2col(t, *geometry), (x,))
    columns = _im2col(x, *geometry).detach().requires_grad_()
    assert gradcheck(lambda t: _col2im(t, shape[2:], *geometry), (columns,))


def test_opcheck(device: str) -> None:
    geometry = ([3, 2], [1, 2], [1, 0], [1, 2])
    x = torch.randn(1, 2, 4, 5, device=device, requires_grad=True)
    torch.library.opcheck(_im2col.torch, (x, *geometry))
    torch.library.opcheck(_col2im.torch, (_im2col(x, *geometry).detach().requires_grad_(), [4, 5], *geometry))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": 0}, "kernel must be at least 1, got 0"),
        ({"kernel": 3, "stride": 0}, "stride must be at least 1, got 0"),
        ({"kernel": 3, "pad": (0, -1)}, "pad must be at least 0, got -1"),
        ({"kernel": 3, "dilation": 0}, "dilation must be at least 1, got 0"),
        (
            {"kernel": 3, "dilation": 3},
            "kernel of 3 with dilation 3 covers 7 pixels and does not fit into 5 with pad 0",
        ),
        ({"kernel": (3, 3, 3)}, r"kernel must be one number or \(height, width\)"),
        ({"kernel": 1, "dilation": 1 << 40}, "kernel, stride, pad or dilation is over 2147483647"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        im2col(torch.zeros(1, 1, 5, 5), **arguments)


def test_bad_tensors() -> None:
    with pytest.raises(ValueError, match=r"expected x \(N, C, H, W\), got shape \(5, 5\)"):
        im2col(torch.zeros(5, 5), 3)
    with pytest.raises(ValueError, match="expected x of float32 or float64"):
        im2col(torch.zeros(1, 1, 5, 5, dtype=torch.int32), 3)
    with pytest.raises(ValueError, match="on cpu or cuda, got one on meta"):
        _im2col.torch._init_fn(torch.zeros(1, 1, 5, 5, device="meta"), [3, 3], [1, 1], [0, 0], [1, 1])
    with pytest.raises(ValueError, match=r"columns: expected shape \(1, 9, 3, 3\)"):
        col2im(torch.zeros(1, 9, 3, 4), 5, 3)
    with pytest.raises(ValueError, match=r"columns: expected shape \(1, 9, 3, 3\)"):
        col2im(torch.zeros(1, 10, 3, 3), 5, 3)
    with pytest.raises(ValueError, match="does not fit into 2"):
        col2im(torch.zeros(1, 9, 3, 3), 2, 3)


@pytest.mark.parametrize("name", case_names("im2col_"))
def test_golden(name: str, device: str) -> None:
    golden = golden_op(name)
    x = torch.from_numpy(golden.data["x"]).to(device).requires_grad_()
    y = im2col(
        x,
        golden.pair("kernel", 1),
        stride=golden.pair("stride", 1),
        pad=golden.pair("pad", 0),
        dilation=golden.pair("hole", 1),
    )
    assert torch.equal(y.detach().cpu(), torch.from_numpy(golden.expected_data["y"]))
    y.backward(torch.from_numpy(golden.diff["y"]).to(device))
    assert torch.equal(x.grad.cpu(), torch.from_numpy(golden.expected_diff["x"]))


@pytest.mark.parametrize("shape", [(1, 2, 0, 3), (1, 2, 3, 0), (2, 3, 0, 0)])
def test_an_image_without_pixels_is_all_padding(shape: tuple[int, ...]) -> None:
    columns = im2col(torch.empty(shape), 3, pad=2)
    assert columns.numel() > 0
    assert not columns.any()
