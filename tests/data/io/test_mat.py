from __future__ import annotations

import io
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplab_caffe.data import blob_mat_shape, read_blob_mat, read_scores_mat, write_blob_mat
from deeplab_caffe.data.io.mat5 import MAX_BYTES, MatFormatError, find_variable
from deeplab_caffe.errors import DataError
from tests.goldens import case_dir

BLOB = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
HEADER_TEXT = 116

MATIO_FILES = [
    ("matwrite_iter", "out_iter_0_blob_0.mat", "01_in_a.npy"),
    ("matwrite_iter", "out_iter_0_blob_1.mat", "02_in_b.npy"),
    ("matwrite_iter", "out_iter_1_blob_0.mat", "03_in_a.npy"),
    ("matwrite_iter", "out_iter_1_blob_1.mat", "04_in_b.npy"),
    ("matwrite_source_strip_period", "res/2007_000033_blob_0.mat", "01_in_a.npy"),
    ("matwrite_source_strip_period", "res/2007_000061_blob_0.mat", "03_in_a.npy"),
]


@pytest.mark.parametrize(("case", "mat", "npy"), MATIO_FILES)
def test_the_originals_files_are_read_and_written_to_the_byte(tmp_path: Path, case: str, mat: str, npy: str) -> None:
    folder = case_dir(case)
    blob = np.load(folder / npy)
    np.testing.assert_array_equal(read_blob_mat(folder / mat), blob)
    assert blob_mat_shape(folder / mat) == blob.shape
    write_blob_mat(tmp_path / "x.mat", blob)
    expected, written = (folder / mat).read_bytes(), (tmp_path / "x.mat").read_bytes()
    # The text differs: matio's has its own name and a date.
    assert written[HEADER_TEXT:] == expected[HEADER_TEXT:]
    assert written.startswith(b"MATLAB 5.0 MAT-file")


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (1, 3, 3, 1), (1, 21, 1, 1), (3, 1, 5, 7)])
def test_round_trip_and_scipy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    blob = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    path = tmp_path / "new folder" / "x.mat"
    write_blob_mat(path, blob)
    read = read_blob_mat(path)
    np.testing.assert_array_equal(read, blob)
    assert read.dtype == np.float32
    assert read.shape == shape == blob_mat_shape(path)
    loaded = scipy.io.loadmat(path)["data"]
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, blob.transpose(3, 2, 1, 0))
    assert path.stat().st_size % 8 == 0


def test_the_same_blob_gives_the_same_file(tmp_path: Path) -> None:
    write_blob_mat(tmp_path / "a", BLOB)
    write_blob_mat(tmp_path / "b", np.asfortranarray(BLOB.astype(np.float64)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_matlab_and_scipy_save(tmp_path: Path, compressed: bool, dtype: type) -> None:
    path = tmp_path / "x.mat"
    others = {"a": np.arange(5), "cell": np.array([1, "two"], dtype=object), "s": {"field": 1.0}, "text": "words"}
    scipy.io.savemat(
        path, {**others, "data": BLOB.transpose(3, 2, 1, 0).astype(dtype), "z": 1.0}, do_compression=compressed
    )
    np.testing.assert_array_equal(read_blob_mat(path), BLOB)
    assert blob_mat_shape(path) == BLOB.shape


def test_dimensions_that_matlab_drops_come_back(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "x.mat", {"data": BLOB[0].transpose(2, 1, 0)})
    np.testing.assert_array_equal(read_blob_mat(tmp_path / "x.mat"), BLOB[:1])
    scipy.io.savemat(tmp_path / "x.mat", {"data": BLOB[0, 0].T})
    np.testing.assert_array_equal(read_blob_mat(tmp_path / "x.mat"), BLOB[:1, :1])


def element(kind: int, content: bytes, order: str) -> bytes:
    return struct.pack(order + "II", kind, len(content)) + content + bytes(-len(content) % 8)


def mat_by_hand(order: str = "<", class_number: int = 6, storage: int = 2, flags: int = 0) -> bytes:
    """dims (2, 1), values 1 and 2, put together from the format's description."""
    values = {2: b"\1\2", 7: struct.pack(order + "2f", 1, 2), 9: struct.pack(order + "2d", 1, 2)}[storage]
    body = (
        element(6, struct.pack(order + "II", class_number | flags, 0), order)
        + element(5, struct.pack(order + "2i", 2, 1), order)
        + element(1, b"data", order)
        + element(storage, values, order)
    )
    version = struct.pack(order + "H", 0x0100) + (b"IM" if order == "<" else b"MI")
    return b"MATLAB 5.0".ljust(124) + version + element(14, body, order)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("storage", [2, 7, 9])
def test_byte_orders_and_storage_types(tmp_path: Path, order: str, storage: int) -> None:
    (tmp_path / "x.mat").write_bytes(mat_by_hand(order, storage=storage))
    assert read_blob_mat(tmp_path / "x.mat").tolist() == [[[[1.0, 2.0]]]]


def test_small_values_within_the_tag(tmp_path: Path) -> None:
    content = mat_by_hand()
    tag = content.index(struct.pack("<II", 2, 2))
    small = struct.pack("<HH2s2x", 2, 2, b"\1\2")
    matrix = content[136:tag] + small
    (tmp_path / "x.mat").write_bytes(content[:128] + struct.pack("<II", 14, len(matrix)) + matrix)
    assert read_blob_mat(tmp_path / "x.mat").tolist() == [[[[1.0, 2.0]]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_number": 9}, "class single or double, got uint8"),
        ({"class_number": 4}, "got char"),
        ({"class_number": 1}, "got cell"),
        ({"flags": 0x800}, "got complex double"),
        ({"class_number": 9, "flags": 0x200}, "got logical"),
        ({"class_number": 99}, "unknown array class 99"),
    ],
)
def test_the_wrong_class(tmp_path: Path, options: dict, message: str) -> None:
    (tmp_path / "x.mat").write_bytes(mat_by_hand(**options))
    with pytest.raises(DataError, match=rf"x\.mat: .*{message}"):
        read_blob_mat(tmp_path / "x.mat")


DIMENSIONS, NAME = struct.pack("<II2i", 5, 8, 2, 1), element(1, b"data", "<")


@pytest.mark.parametrize(
    ("part", "damaged", "message"),
    [
        (struct.pack("<H", 0x0100) + b"IM", struct.pack("<H", 0x0200) + b"IM", "its header says version 0x0200"),
        (struct.pack("<II", 6, 8), struct.pack("<II", 5, 8), "array flags of storage type 5 and 8 bytes"),
        (struct.pack("<4I", 6, 8, 6, 0), struct.pack("<HHI", 6, 4, 6), "array flags of 4 bytes"),
        (DIMENSIONS, struct.pack("<HHi", 5, 4, 2), "dimensions of 4 bytes"),
        (DIMENSIONS, struct.pack("<II2i", 5, 6, 2, 1), "dimensions of 6 bytes"),
        (DIMENSIONS, struct.pack("<II2i", 5, 8, 2, -1), r"negative dimensions \(2, -1\)"),
        (DIMENSIONS, element(5, bytes(4 * 66), "<"), "dimensions of storage type 5 and 264 bytes"),
        (NAME, element(1, bytes(4097), "<"), "name of storage type 1 and 4,097 bytes"),
        (NAME, struct.pack("<HH4s", 1, 5, b"data"), "name has a small tag of 5 bytes"),
    ],
)
def test_a_damaged_header(tmp_path: Path, part: bytes, damaged: bytes, message: str) -> None:
    content = mat_by_hand().replace(part, damaged, 1)
    content = content[:132] + struct.pack("<I", len(content) - 136) + content[136:]
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.mat: .*{message}"):
        read_blob_mat(tmp_path / "x.mat")


def test_the_longest_name_and_a_small_one(tmp_path: Path) -> None:
    for name, message in (((b"x" * 4096), "no variable 'data'"), (b"data", "")):
        small = struct.pack("<HH4s", 1, len(name), name) if len(name) == 4 else element(1, name, "<")
        content = mat_by_hand().replace(NAME, small, 1)
        (tmp_path / "x.mat").write_bytes(content[:132] + struct.pack("<I", len(content) - 136) + content[136:])
        if message:
            with pytest.raises(DataError, match=message):
                read_blob_mat(tmp_path / "x.mat")
        else:
            assert read_blob_mat(tmp_path / "x.mat").tolist() == [[[[1.0, 2.0]]]]


def test_other_content(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"scores": BLOB})
    with pytest.raises(DataError, match="no variable 'data'"):
        read_blob_mat(path)
    scipy.io.savemat(path, {"data": np.zeros((2, 2, 2, 2, 2))})
    with pytest.raises(DataError, match="more than 4 dimensions"):
        read_blob_mat(path)
    scipy.io.savemat(path, {"data": np.zeros((0, 2))})
    with pytest.raises(DataError, match="is empty"):
        read_blob_mat(path)
    scipy.io.savemat(path, {"data": BLOB[0, 0]}, format="4")
    with pytest.raises(DataError, match=r"not a MAT file of version 5 or 7\.3"):
        read_blob_mat(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.mat: cannot be read: No such file"):
        read_blob_mat(tmp_path / "none.mat")
    with pytest.raises(DataError, match="Is a directory"):
        read_blob_mat(tmp_path)
    (tmp_path / "empty.mat").write_bytes(b"")
    with pytest.raises(DataError, match="not a MAT file"):
        read_blob_mat(tmp_path / "empty.mat")


def contents() -> list[bytes]:
    made = []
    for compressed in (False, True):
        stream = io.BytesIO()
        scipy.io.savemat(stream, {"a": "text", "data": BLOB.transpose(3, 2, 1, 0)}, do_compression=compressed)
        made.append(stream.getvalue())
    return made


CONTENTS = contents()


@pytest.mark.parametrize("content", CONTENTS, ids=["plain", "compressed"])
def test_truncated_anywhere(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mat"
    for length in range(len(content) - 8):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"x\.mat: "):
            read_blob_mat(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.sampled_from(CONTENTS),
    flips=st.lists(st.tuples(st.integers(0, 10**4), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_damaged_anywhere(tmp_path: Path, content: bytes, flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(content)
    for position, bits in flips:
        damaged[position % len(damaged)] ^= bits
    (tmp_path / "x.mat").write_bytes(damaged)
    tracemalloc.start()
    try:
        blob = read_blob_mat(tmp_path / "x.mat")
    except DataError:
        pass
    else:
        assert blob.dtype == np.float32
        assert blob.size <= 2 * BLOB.size
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=400), order=st.sampled_from([b"\x00\x01IM", b"\x01\x00MI"]), head=st.booleans())
def test_any_bytes(tmp_path: Path, content: bytes, order: bytes, head: bool) -> None:
    (tmp_path / "x.mat").write_bytes((b"MATLAB".ljust(124) + order if head else b"") + content)
    with pytest.raises(DataError):
        read_blob_mat(tmp_path / "x.mat")


def test_a_compressed_element_cannot_claim_more_than_it_holds(tmp_path: Path) -> None:
    packed = zlib.compress(struct.pack("<II", 14, MAX_BYTES))
    (tmp_path / "x.mat").write_bytes(b"M".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(DataError, match="a compressed element of 2,147,483,647 bytes in"):
        read_blob_mat(tmp_path / "x.mat")


def test_a_file_that_shrinks_while_it_is_read() -> None:
    content = CONTENTS[0]
    with pytest.raises(MatFormatError, match="truncated"):
        find_variable(io.BytesIO(content[:200]), len(content), "data").values()


@pytest.mark.parametrize("blob", [BLOB[0], np.zeros((1, 0, 2, 2), np.float32), np.float32(1)])
def test_what_is_no_blob_is_not_written(tmp_path: Path, blob: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected a blob"):
        write_blob_mat(tmp_path / "x.mat", blob)
    assert list(tmp_path.iterdir()) == []


def test_a_blob_of_2_gib_does_not_fit(tmp_path: Path) -> None:
    blob = np.broadcast_to(np.float32(0), (2, 1, 2**14, 2**14))
    with pytest.raises(DataError, match="holds up to 2 GiB"):
        write_blob_mat(tmp_path / "x.mat", blob)


def write_hdf5(path: Path, **datasets) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in datasets.items():
            file[name] = values
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
def test_version_7_3(tmp_path: Path, dtype: str) -> None:
    write_hdf5(tmp_path / "x.mat", data=BLOB.astype(dtype))
    read = read_blob_mat(tmp_path / "x.mat")
    np.testing.assert_array_equal(read, BLOB)
    assert read.dtype == np.float32
    assert blob_mat_shape(tmp_path / "x.mat") == BLOB.shape
    write_hdf5(tmp_path / "x.mat", data=BLOB[0])
    np.testing.assert_array_equal(read_blob_mat(tmp_path / "x.mat"), BLOB[:1])


def test_version_7_3_with_other_content(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    write_hdf5(path, scores=BLOB)
    with pytest.raises(DataError, match="no variable 'data'"):
        read_blob_mat(path)
    write_hdf5(path, data=np.arange(3))
    with pytest.raises(DataError, match="class single or double"):
        read_blob_mat(path)
    write_hdf5(path, data=BLOB)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match="the HDF5 file is damaged"):
        read_blob_mat(path)


def test_version_7_3_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hdf5(tmp_path / "x.mat", data=BLOB)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="needs h5py"):
        read_blob_mat(tmp_path / "x.mat")


def test_scores_of_one_image(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    write_blob_mat(path, BLOB[:1])
    np.testing.assert_array_equal(read_scores_mat(path), BLOB[0])
    np.testing.assert_array_equal(read_scores_mat(path, (2, 5)), BLOB[0, :, :2])
    assert read_scores_mat(path, (2, 3)).flags.c_contiguous
    with pytest.raises(DataError, match=r"4 x 5 \(height x width\), smaller than the image of 4 x 6"):
        read_scores_mat(path, (4, 6))
    write_blob_mat(path, BLOB)
    with pytest.raises(DataError, match="the scores of 1 image, got 2"):
        read_scores_mat(path)


def test_the_densecrf_programs_scores() -> None:
    folder = case_dir("refine_pascal_v4_padded")
    scores = read_scores_mat(folder / "feat" / "cat_blob_0.mat")
    marginals = np.load(folder / "Q_hwc.npy")
    assert scores.shape[0] == marginals.shape[2]
    assert scores.shape[1] >= marginals.shape[0]
    cropped = read_scores_mat(folder / "feat" / "cat_blob_0.mat", marginals.shape[:2])
    # The CRF smooths, and so keeps most of the labels: a transposed reading would keep few.
    assert (cropped.argmax(axis=0) == marginals.argmax(axis=2)).mean() > 0.6
