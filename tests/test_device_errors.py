"""Wrong devices, dtypes without kernels, and too little memory: clear errors, and everything works afterwards."""

from __future__ import annotations

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe import _C
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.precision import precision_of
from deeplab_caffe.ops.argmax import argmax, argmax_labels
from deeplab_caffe.ops.hole import conv2d
from deeplab_caffe.ops.im2col import im2col
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.ops.preprocess import preprocess
from deeplab_caffe.zoo.default import CAMVID_MODEL
from deeplab_caffe.zoo.paths import NETWORKS
from tests import nets
from tests.inference.narrow import error, narrow, photo_like

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
needs_gpu = pytest.mark.skipif(not (_C.with_cuda and torch.cuda.is_available()), reason="no GPU, or built without CUDA")


def apart(x: str, weight: str) -> str:
    """The message, as a pattern, for a convolution whose weight is of another dtype or device than its input."""
    return f"^convolution: the input is {x}, but the weight is {weight}$"


@no_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_where_there_is_none(device: str) -> None:
    with pytest.raises(NetError, match=rf"device {device}: torch .* sees no CUDA device on this machine"):
        dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device=device)


def test_inputs_and_weights_on_two_devices() -> None:
    net = nets.build(nets.SMALL)
    with pytest.raises(NetError, match=r"input 'data' is on meta, the net's weights are on cpu: move one of them"):
        net(torch.empty((1, 3, 9, 11), device="meta"))
    assert net(photo_like(1, 3, 9, 11)).shape == (1, 5, 5, 6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32])
def test_dtypes_that_operations_have_not(dtype: torch.dtype) -> None:
    x = torch.ones((1, 2, 4, 4), dtype=dtype)
    name = str(dtype).removeprefix("torch.")
    for call in (
        lambda: argmax(x),
        lambda: argmax_labels(x),
        lambda: im2col(x, 3),
        lambda: conv2d(x, x[:, :, :1, :1], None),
    ):
        with pytest.raises(ValueError, match=rf"expected (x of )?float32 or float64, got {name}"):
            call()


def test_operands_that_do_not_go_together() -> None:
    x, weight = torch.ones((1, 2, 4, 4)), torch.ones((3, 2, 1, 1), dtype=torch.float64)
    with pytest.raises(ValueError, match=apart("float32 on cpu", "float64 on cpu")):
        conv2d(x, weight, None)
    image = torch.zeros((4, 4, 3), dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"images on two devices, cpu and meta"):
        preprocess([image, image.to("meta")], mean=0)


def test_out_of_memory_names_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = nets.build(nets.SMALL), photo_like(1, 3, 9, 11)

    def full(*bottoms: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has ...")

    with monkeypatch.context() as patch:
        patch.setattr(net.by_name["pool1"], "forward", full)
        with pytest.raises(
            NetError, match=r"^layer 'pool1': not enough memory on cpu for bottoms \(1, 4, 9, 11\): take"
        ):
            net(x)
    assert net(x).shape == (1, 5, 5, 6)


@pytest.mark.cuda
@needs_gpu
@pytest.mark.usefixtures("no_tf32")
def test_too_large_for_the_gpu_and_then_again() -> None:
    net = nets.build(nets.SMALL).cuda()
    fast = net.optimize(batch=1, size=33)
    x = photo_like(1, 3, 33, 33).cuda()
    expected, kept = net(x), fast(x)
    # A view of a few bytes, whose convolution would take more memory than any GPU has.
    huge = torch.zeros((1, 3, 1, 1), device="cuda").expand(1, 3, 200_000, 200_000)
    for run in (net, fast):
        with torch.no_grad(), pytest.raises(NetError, match=r"not enough memory on cuda:0"):
            run(huge)
    assert torch.equal(net(x), expected)
    assert torch.equal(fast(x), kept)
    with pytest.raises(NetError, match=r"^input 'data' is on cpu, the net is on cuda:0: move it there$"):
        fast(x.cpu())
    with pytest.raises(NetError, match=r"^input 'data' is on cpu, the net's weights are on cuda:0: move one of them$"):
        net(x.cpu())


@pytest.mark.cuda
@needs_gpu
def test_half_tensors_leave_no_error_behind() -> None:
    x = torch.ones((1, 2, 4, 4), device="cuda")
    with pytest.raises(ValueError, match="expected float32 or float64, got bfloat16"):
        argmax_labels(x.bfloat16())
    with pytest.raises(ValueError, match=apart("float32 on cuda:0", "float32 on cpu")):
        conv2d(x, torch.ones((3, 2, 1, 1)), None)
    assert interp(x, zoom_factor=2).sum().item() == 98
    torch.cuda.synchronize()


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        *((dtype, name) for dtype in ("float32", "bfloat16") for name in NETWORKS),
        *((dtype, name) for dtype in ("tf32", "float16") for name in ("deeplab_largefov", "deeplab_msc")),
    ],
)
@torch.no_grad()
def test_the_fast_engine_is_the_net(dtype: str, name: str) -> None:
    # cuDNN's float32 may be Winograd's, which alone is off by some 1e-5.
    tolerance = {"float32": 3e-5, "tf32": 1e-2, "bfloat16": 5e-2, "float16": 1e-2}[dtype]
    net, x = narrow(name), photo_like(2, 3, 65, 81)
    expected = net(x)
    fast = net.cuda().optimize(dtype=dtype, batch=2, size=(65, 81))
    assert fast.graph_break_reason is None
    assert fast.precision == precision_of(dtype, torch.device("cuda"))
    for _ in range(3):
        assert error(fast(x.cuda()).cpu(), expected) < tolerance
    assert torch.equal(fast(x.cuda()), fast(x.cuda()))
    other = photo_like(1, 3, 97, 65, seed=4)
    assert error(fast(other.cuda()).cpu(), net.cpu()(other)) < tolerance
    if dtype == "float32":
        assert (fast.labels(x.cuda()).cpu() == expected.argmax(1)).float().mean() > 0.999


@pytest.mark.cuda
@needs_gpu
@pytest.mark.usefixtures("no_tf32")
def test_the_crf_in_the_graph_is_the_segmenters() -> None:
    crf = CAMVID_MODEL.crf
    segmenter = dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, crf=crf, device="cuda")
    fast = segmenter.net.optimize(batch=2, size=73)
    photos = torch.randint(0, 256, (2, 5, 8, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    photos = photos.repeat_interleave(10, 1).repeat_interleave(9, 2)
    for _ in range(2):
        labels = fast.label_images(photos, crf=crf).cpu()
        for found, photo in zip(labels, photos, strict=True):
            assert (found.numpy() == segmenter(photo.numpy())).mean() > 0.999
