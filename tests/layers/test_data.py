from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_caffe.data.mat import read_blob_mat, write_blob_mat
from deeplab_caffe.errors import DataError, DeepLabCaffeError, NetError
from tests.layers.build import make, noise


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images with label maps and their list."""
    lines = []
    for k, (height, width) in enumerate([(4, 6), (5, 3)]):
        Image.fromarray(np.full((height, width, 3), (10 * k + 1, 2, 3), np.uint8)).save(tmp_path / f"{k}.png")
        Image.fromarray(np.full((height, width), k + 1, np.uint8)).save(tmp_path / f"{k}_label.png")
        lines.append(f"/{k}.png /{k}_label.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path


def seg_params(folder: Path, extra: str = "") -> str:
    return (
        "transform_param { crop_size: 8 mean_value: 1 mean_value: 1 mean_value: 1 } image_data_param { "
        f'root_folder: "{folder}" source: "{folder}/list.txt" batch_size: 1 label_type: PIXEL {extra} }}'
    )


@pytest.mark.parametrize("tops", [1, 2, 3])
def test_image_seg_data(photos: Path, tops: int) -> None:
    layer = make("IMAGE_SEG_DATA", seg_params(photos), [], tops=tops)
    assert layer.top_shapes([]) == [(1, 3, 8, 8), (1, 1, 8, 8), (1, 1, 1, 2)][:tops]
    for k, (height, width) in enumerate([(4, 6), (5, 3), (4, 6)]):
        found = layer()
        assert len(found) == tops
        assert found[0][0, :, 0, 0].tolist() == [2, 1, 10 * (k % 2)]  # BGR minus mean
        assert found[0][0, :, height:].abs().max() == 0
        if tops > 1:
            assert found[1].unique().tolist() == [k % 2 + 1, 255]
        if tops > 2:
            assert found[2].flatten().tolist() == [height, width]


def test_batches_are_memory_of_their_own(photos: Path) -> None:
    layer = make("IMAGE_SEG_DATA", seg_params(photos), [], tops=2)
    first = layer()
    before = [blob.clone() for blob in first]
    layer()
    assert all(torch.equal(a, b) for a, b in zip(first, before, strict=True))


def test_image_seg_data_without_files(tmp_path: Path) -> None:
    with pytest.raises(DeepLabCaffeError, match=r"list\.txt"):
        make("IMAGE_SEG_DATA", seg_params(tmp_path), [], tops=2)


def test_mat_write_and_read(tmp_path: Path) -> None:
    writer = make("MAT_WRITE", f'mat_write_param {{ prefix: "{tmp_path}/" }}', [(1, 2, 3, 4), (1, 1, 1, 5)], tops=0)
    batches = [(noise(1, 2, 3, 4, seed=k), noise(1, 1, 1, 5, seed=9 + k)) for k in range(3)]
    for blobs in batches:
        assert writer(*blobs) == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"iter_{k}_blob_{i}.mat" for k in range(3) for i in (0, 1)
    ]
    assert np.array_equal(read_blob_mat(tmp_path / "iter_1_blob_0.mat"), batches[1][0].numpy())

    reader = make("MAT_READ", f'mat_read_param {{ prefix: "{tmp_path}/" batch_size: 1 }}', [], tops=2)
    assert reader.top_shapes([]) == [(1, 2, 3, 4), (1, 1, 1, 5)]
    for blobs in (*batches, batches[0]):
        assert all(torch.equal(a, b) for a, b in zip(reader(), blobs, strict=True))


def test_mat_write_takes_gradients_and_half_precision(tmp_path: Path) -> None:
    writer = make("MAT_WRITE", f'mat_write_param {{ prefix: "{tmp_path}/" }}', tops=0)
    writer(noise(1, 1, 2, 2).requires_grad_())
    writer(torch.ones(1, 1, 2, 2, dtype=torch.bfloat16))
    assert read_blob_mat(tmp_path / "iter_1_blob_0.mat").tolist() == [[[[1, 1], [1, 1]]]]


def test_mat_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"iter_0_blob_0\.mat: does not exist"):
        make("MAT_READ", f'mat_read_param {{ prefix: "{tmp_path}/" }}', [])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        make("MAT_WRITE", f'mat_write_param {{ prefix: "{tmp_path}/file/" }}', tops=0)(noise(1, 1, 1, 1))
    with pytest.raises(NetError, match="period must be positive"):
        make("MAT_WRITE", 'mat_write_param { prefix: "x" period: 0 }', tops=0)


def test_mat_read_of_two_sizes(tmp_path: Path) -> None:
    for k, size in enumerate((2, 3)):
        write_blob_mat(tmp_path / f"iter_{k}_blob_0.mat", np.ones((1, 1, size, size), np.float32))
    reader = make("MAT_READ", f'mat_read_param {{ prefix: "{tmp_path}/" }}', [])
    assert [tuple(reader()[0].shape) for _ in range(2)] == [(1, 1, 2, 2), (1, 1, 3, 3)]
    with pytest.raises(DataError, match="expected one image a file"):
        make("MAT_READ", f'mat_read_param {{ prefix: "{tmp_path}/" batch_size: 2 }}', [])()
