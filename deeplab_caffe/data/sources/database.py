"""DATA: batches of Datum messages from a database (layers/data_layer.cpp)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from deeplab_caffe.data.io.database import DATABASES
from deeplab_caffe.data.io.images import load_grey, load_image, load_native
from deeplab_caffe.data.sources.base import Blobs, ItemSource, Shape4, SourceOptions
from deeplab_caffe.data.sources.transform import Phase, SegTransform, bgr_planes
from deeplab_caffe.errors import DataError, NetError, warn

if TYPE_CHECKING:
    from typing_extensions import Unpack

# DataParameter.DB of the v1 caffe.proto.
BACKENDS = ("LEVELDB", "LMDB")


class Datum(NamedTuple):
    """The content of a record: numbers ``(C, H, W)``, uint8 or float32, and a label."""

    planes: np.ndarray
    label: int


# How an encoded image is decoded: to B, G, R; to one grey channel; or to its own channels.
Decoding = Literal["colour", "grey", "native"]


def decode_datum(value: bytes, name: str, decoding: Decoding = "colour") -> Datum:
    """Read a Datum message: raw bytes, an encoded image, or floats.

    Args:
        value: the message.
        name: the record's name in errors.
        decoding: decoding of an encoded image: ``"colour"``: B, G, R planes; ``"grey"``: one plane; ``"native"``: its
            own channels (io.cpp, DecodeDatumToCVMat and DecodeDatumToCVMatNative).

    Raises:
        ValueError: it is not a Datum, or the number of its values does not fit its size.
        DataError: the image in it cannot be decoded.
    """
    from google.protobuf.message import DecodeError

    from deeplab_caffe.proto import caffe_pb2

    try:
        datum = caffe_pb2.Datum.FromString(value)
    except DecodeError as exc:
        raise ValueError("is no Datum message") from exc
    if datum.encoded:
        if decoding == "native":
            image = load_native(name, content=datum.data)
        else:
            load = load_image if decoding == "colour" else load_grey
            image = load(name, exif_orientation=False, content=datum.data, view=True)
        return Datum(bgr_planes(image), datum.label)
    shape = (datum.channels, datum.height, datum.width)
    # As in the original, the bytes are used if there are any.
    planes = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    if min(shape) < 1 or planes.size != np.prod(shape, dtype=object):
        raise ValueError(f"holds {planes.size} numbers, its size is {shape} (channels, height, width)")
    return Datum(planes.reshape(shape), datum.label)


class DatabaseSource(ItemSource[bytes, Datum]):
    """The source of DATA's batches: records in the order of their keys, repeated forever.

    Without ``crop_size``, a batch of one item has its record's size; all other batches have the first record's size.
    ``rand_skip`` acts only with ``reseeds``, in DeepLab v1.

    Args:
        layer_param: LayerParameter message with ``data_param`` and ``transform_param``.
        phase: ``"TRAIN"`` or ``"TEST"``.
        decoding: decoding of encoded images, unless ``force_color`` or ``force_gray`` is set (data_transformer.cpp).
        **options: see :class:`SourceOptions`.

    Raises:
        NetError: a parameter has no meaning here, or the database's library is not installed.
        DataError: the database cannot be opened, or is empty.
        CaffeModelError: the mean file cannot be read.
    """

    READERS = 1

    def __init__(
        self, layer_param: Any, phase: Phase, *, decoding: Decoding = "colour", **options: Unpack[SourceOptions]
    ) -> None:
        param, forced = layer_param.data_param, layer_param.transform_param
        if not param.source:
            raise NetError("data_param needs a source")
        if forced.force_color and forced.force_gray:
            raise NetError("transform_param: cannot set both 'force_color' and 'force_gray'")
        self._decoding: Decoding = "colour" if forced.force_color else "grey" if forced.force_gray else decoding
        super().__init__(param.batch_size, SegTransform.from_param(layer_param.transform_param, phase), **options)
        self.database = DATABASES[BACKENDS[param.backend]](param.source)
        self._next = 0
        self._keys: Iterator[bytes] | None = None
        if param.rand_skip and self.reseeds:
            self._draw(self._rng.rand(param.rand_skip))
        elif param.rand_skip:
            # data_layer.cpp has not read it since 2015; a word drawn here would change all numbers after it.
            warn(
                f"data_param: rand_skip: {param.rand_skip} is ignored, as in Caffe since 2015 and DeepLab v2: reading "
                "begins with the first record; dialect v1 skips records"
            )
        order = self._order()
        self._first = self._draw(1)[0]
        self._set_order(order)
        self._item_shape: tuple[int, int, int] | None = None
        self._start()

    def shapes(self) -> tuple[Shape4, Shape4]:
        """Return the shapes of the blobs: data ``(N, C, H, W)``, label ``(N, 1, 1, 1)``, from the first record."""
        if self._item_shape is None:
            self._item_shape = self._out_shape(self._read(self._first))
        return (self.batch_size, *self._item_shape), (self.batch_size, 1, 1, 1)

    def _size_varies(self) -> bool:
        return self.batch_size == 1 and not self.transform.crop_size

    def _batch_shapes(self, first: Callable[[], Datum]) -> tuple[Shape4, ...]:
        if not self._size_varies():
            return self.shapes()
        return (1, *self._out_shape(first())), (1, 1, 1, 1)

    def _out_shape(self, datum: Datum) -> tuple[int, int, int]:
        channels, height, width = datum.planes.shape
        crop = self.transform.crop_size
        return (channels, crop or height, crop or width)

    def _draw(self, count: int) -> list[bytes]:
        drawn: list[bytes] = []
        while len(drawn) < count:
            if self._keys is None:
                self._keys, self._next = self.database.keys(), 0
            key = next(self._keys, None)
            if key is None:
                if self._next == 0:
                    raise DataError("the database is empty", self.database.path)
                self._keys = None
                continue
            drawn.append(key)
            self._next += 1
        return drawn

    def _order(self) -> dict[str, Any]:
        return {"next": self._next}

    def _set_order(self, order: dict[str, Any]) -> None:
        target = int(order["next"])
        keys = self.database.keys() if target else iter(())
        for key in range(target):
            if next(keys, None) is None:
                raise DataError(f"the saved position is record {target}, there are {key}", self.database.path)
        self._keys, self._next = keys if target else None, target

    def _read(self, entry: bytes) -> Datum:
        try:
            datum = decode_datum(self.database.get(entry), self._name(entry), self._decoding)
            self.transform.check(datum.planes.shape, pads=False)
        except ValueError as exc:
            if isinstance(exc, DataError):
                raise
            raise DataError(str(exc), self._name(entry)) from exc
        return datum

    def _write(self, entry: bytes, item: Datum, words: list[int], blobs: Blobs, i: int) -> None:
        data, label = blobs
        planes = item.planes
        shape = self._out_shape(item)
        if shape != data.shape[1:]:
            raise DataError(
                f"the record gives {shape} (channels, height, width), the batch has {data.shape[1:]}", self._name(entry)
            )
        self.transform.planes_into(planes, self.transform.place(planes.shape[1], planes.shape[2], words), data[i])
        label[i] = item.label

    def _name(self, key: bytes) -> str:
        return f"{self.database.path}: key {key.decode('utf-8', 'backslashreplace')!r}"

    def __getstate__(self) -> dict[str, Any]:
        # An iterator cannot be copied; the copy moves to the same record by itself.
        state = super().__getstate__() | {"_keys": None}
        state["_copied_order"] = state["_copied_order"] or self._order()
        return state
