from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_caffe import _C
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR, image_to_blob
from deeplab_caffe.ops.preprocess import _preprocess, preprocess

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LAYOUTS = {False: torch.contiguous_format, True: torch.channels_last}


def photo(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_by_hand(device: str) -> None:
    image = torch.tensor([[[10, 20, 30], [40, 50, 60]]], dtype=torch.uint8, device=device)
    blob = preprocess(image, mean=(1, 2.5, 3), size=(2, 3))
    assert blob.tolist() == [
        [[[29, 59, 0], [0, 0, 0]], [[17.5, 47.5, 0], [0, 0, 0]], [[7, 37, 0], [0, 0, 0]]],
    ]
    assert blob.dtype == torch.float32
    assert preprocess(image, mean=10).tolist() == [[[[20, 50]], [[10, 40]], [[0, 30]]]]
    assert preprocess(image, mean=[10]).tolist() == preprocess(image, mean=10).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((37, 50, 3), (41, 57)),
        ((1, 1, 3), (1, 1)),
        ((1, 1, 3), (9, 17)),
        ((8, 1, 3), (8, 1)),
        ((33, 65, 3), None),
        ((16, 24, 3), (16, 24)),
    ],
)
def test_the_numbers_of_image_to_blob(
    shape: tuple, size: tuple | None, channels_last: bool, dtype: torch.dtype, device: str
) -> None:
    image = photo(shape)
    blob = preprocess(
        torch.from_numpy(image).to(device), mean=IMAGENET_MEAN_BGR, size=size, dtype=dtype, channels_last=channels_last
    )
    assert blob.is_contiguous(memory_format=LAYOUTS[channels_last])
    assert torch.equal(blob.cpu(), torch.from_numpy(image_to_blob(image, size=size)).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_byte_and_hard_roundings(dtype: torch.dtype, device: str) -> None:
    image = torch.arange(256, dtype=torch.uint8).view(1, 256, 1).expand(1, 256, 3).to(device)
    grid = [*torch.linspace(-300, 300, 211).tolist(), 104.008, 2.0**-14, 2.0**-25, 1e-9, 65000.0, -65264.0, -1e5, 3e38]
    # Half a unit in the last place of either 16-bit type: ties that go to the even neighbour.
    grid += [value + step for value in (1.0, 3.0, 128.0, 255.0) for step in (2.0**-9, 2.0**-12, 3 * 2.0**-9, 2.0**-5)]
    for mean in grid:
        expected = torch.arange(256, dtype=torch.float32) - torch.tensor(mean)
        found = preprocess(image, mean=mean, dtype=dtype)
        assert torch.equal(found.cpu(), expected.to(dtype).expand(1, 3, 1, 256)), mean


@pytest.mark.parametrize("channels_last", LAYOUTS)
def test_batches_and_lists(channels_last: bool, device: str) -> None:
    images = [photo((13, 15, 3), 1), photo((9, 21, 3), 2), photo((17, 1, 3), 3)]
    tensors = [torch.from_numpy(image).to(device) for image in images]
    found = preprocess(tensors, mean=IMAGENET_MEAN_BGR, channels_last=channels_last)
    assert found.shape == (3, 3, 17, 21)
    assert found.is_contiguous(memory_format=LAYOUTS[channels_last])
    expected = np.concatenate([image_to_blob(image, size=(17, 21)) for image in images])
    assert torch.equal(found.cpu(), torch.from_numpy(expected))
    batch = photo((3, 13, 15, 3))
    found = preprocess(
        torch.from_numpy(batch).to(device), mean=IMAGENET_MEAN_BGR, size=(14, 17), channels_last=channels_last
    )
    expected = np.concatenate([image_to_blob(image, size=(14, 17)) for image in batch])
    assert torch.equal(found.cpu(), torch.from_numpy(expected))
    assert torch.equal(
        preprocess(list(torch.from_numpy(batch).to(device)), mean=IMAGENET_MEAN_BGR, size=(14, 17)).cpu(),
        torch.from_numpy(expected),
    )


@pytest.mark.parametrize("channels_last", LAYOUTS)
def test_strides(channels_last: bool, device: str) -> None:
    whole = torch.from_numpy(photo((2, 20, 30, 3))).to(device)
    planar = torch.from_numpy(photo((2, 3, 20, 30))).to(device).permute(0, 2, 3, 1)
    for images in (
        whole[:, 3:17, 5:28:2],
        whole.transpose(1, 2),
        whole.flip(3),
        planar,
        whole[:1].expand(4, -1, -1, -1),
    ):
        found = preprocess(images, mean=IMAGENET_MEAN_BGR, size=(31, 33), channels_last=channels_last)
        assert torch.equal(
            found, preprocess(images.contiguous(), mean=IMAGENET_MEAN_BGR, size=(31, 33), channels_last=channels_last)
        )


def test_numpy_arrays_that_torch_does_not_take() -> None:
    image = photo((6, 8, 3))
    locked = image.copy()
    locked.flags.writeable = False
    for given in (image, locked, image[::-1].copy()[::-1], np.asfortranarray(image)):
        assert torch.equal(preprocess(given, mean=IMAGENET_MEAN_BGR), torch.from_numpy(image_to_blob(image)))


def test_an_image_of_nothing_is_padding(device: str) -> None:
    empty = torch.zeros((0, 5, 3), dtype=torch.uint8, device=device)
    assert torch.equal(preprocess(empty, mean=1, size=(2, 6)).cpu(), torch.zeros(1, 3, 2, 6))
    assert preprocess(empty, mean=1).shape == (1, 3, 0, 5)
    assert preprocess(empty[None][:0], mean=1).shape == (0, 3, 0, 5)


def test_same_bits_for_any_number_of_threads(device: str) -> None:
    images = torch.from_numpy(photo((3, 67, 71, 3))).to(device)
    results = []
    for threads in (1, 2, 5):
        _C.set_num_threads(threads)
        results.append(preprocess(images, mean=IMAGENET_MEAN_BGR, size=(73, 81), dtype=torch.bfloat16))
    _C.set_num_threads(0)
    assert all(torch.equal(results[0], again) for again in results[1:])


def test_opcheck(device: str) -> None:
    images = [torch.zeros((n, 4, 5, 3), dtype=torch.uint8, device=device) for n in (1, 2)]
    for dtype in DTYPES:
        torch.library.opcheck(_preprocess.torch, (images, [1.0, 2.0, 3.0], 9, 9, dtype, True))


IMAGE = torch.zeros((4, 5, 3), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "there are no images"),
        (IMAGE.float(), {}, r"expected uint8 RGB images .* got float32 \(4, 5, 3\)"),
        (IMAGE[..., :2], {}, r"got uint8 \(4, 5, 2\)"),
        (IMAGE[..., 0], {}, r"got uint8 \(4, 5\)"),
        ([IMAGE[None]], {}, r"\(H, W, 3\) each, got uint8 \(1, 4, 5, 3\)"),
        ([[1]], {}, "expected a tensor or a numpy array, got list"),
        (IMAGE, {"size": (4, 4)}, "an image of 4 x 5 does not fit into 4 x 4"),
        (IMAGE, {"mean": (1, 2)}, "expected one mean or three, got 2"),
        (IMAGE, {"dtype": torch.float64}, "dtype must be float32, float16 or bfloat16, got float64"),
        ([IMAGE, IMAGE.to("meta")], {}, "images on two devices, cpu and meta"),
    ],
)
def test_bad_arguments(images: object, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        preprocess(images, **{"mean": 1.0, **options})


def test_views_that_do_not_fit_together() -> None:
    images = _C.TensorView(64, (1, 4, 5, 3), (60, 15, 3, 1), "uint8", -1)
    for shape, strides, dtype, device, mean, message in (
        ((1, 3, 4, 5), (60, 20, 5, 1), "float32", 0, [1] * 3, "expected one device"),
        ((1, 3, 4, 5), (60, 20, 5, 1), "float64", -1, [1] * 3, "expected a blob of float32, float16 or bfloat16"),
        ((1, 3, 4, 4), (48, 16, 4, 1), "float32", -1, [1] * 3, "does not fit into"),
        ((1, 3, 4, 5), (120, 40, 10, 2), "float32", -1, [1] * 3, "expected contiguous or channels-last memory"),
        ((1, 3, 4, 5), (60, 20, 5, 1), "float32", -1, [1] * 2, "expected 3 means, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            _C.preprocess(images, _C.TensorView(64, shape, strides, dtype, device), mean)
