"""Layers that users write in Python: their base class, and how their methods are called (python_layer.hpp)."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, SupportsIndex

from deeplab_caffe.errors import DeepLabCaffeError, NetError
from deeplab_caffe.layers.blob import Blob, ParameterBlob
from deeplab_caffe.proto import caffe_pb2


class BlobVec(list[ParameterBlob]):
    """A layer's parameter blobs.

    Args:
        blobs: the blobs.
        new: creates a further blob of a shape; None if the layer's class fixes its blobs.

    Attributes:
        take_over: called with a number, the blob at that place and another net's blob; has the layer compute with the
            other one, and returns what to show in its place. None if no pycaffe net has the layer.
    """

    def __init__(
        self, blobs: Iterable[ParameterBlob] = (), new: Callable[[tuple[int, ...]], ParameterBlob] | None = None
    ) -> None:
        super().__init__(blobs)
        self._new = new
        self.take_over: Callable[[int, ParameterBlob, ParameterBlob], ParameterBlob] | None = None

    def __setitem__(self, index: SupportsIndex | slice, value: Any) -> None:
        """Have the layer compute with another net's blob: both have one memory from now on, as in Caffe.

        Raises:
            NetError: it is no parameter blob, has another shape, or the layer cannot change its own.
        """
        places = range(len(self))[index]
        if isinstance(places, range):
            values = list(value)
            if len(values) != len(places):
                raise NetError(f"expected {len(places)} parameter blobs, got {len(values)}")
            for place, each in zip(places, values, strict=True):
                self[place] = each
            return
        if not isinstance(value, ParameterBlob) or self.take_over is None:
            raise NetError(
                f"parameter blob {places} cannot be replaced by {type(value).__name__}: write into its array, "
                ".data[...] = x"
            )
        super().__setitem__(places, self.take_over(places, self[places], value))

    def add_blob(self, *shape: int) -> None:
        """Add a parameter blob of this shape, all 0; for ``setup``.

        Raises:
            NetError: the layer is not written in Python.
        """
        if self._new is None:
            raise NetError("add_blob: only layers written in Python add parameter blobs, in their setup")
        self.append(self._new(shape))


class UserLayer:
    """``caffe.Layer``: the base class of layers written in Python.

    A subclass has ``setup(bottom, top)``, called once; ``reshape(bottom, top)``, called before each ``forward(bottom,
    top)``; and ``backward(top, propagate_down, bottom)``. ``bottom`` and ``top`` are lists of :class:`Blob`.

    Attributes:
        blobs: the parameter blobs; ``setup`` adds some by ``self.blobs.add_blob(*shape)``.
        param_str: ``python_param``'s ``param_str``.
        param_str_: the same; its name of 2015.
        phase: ``TRAIN`` (0) or ``TEST`` (1).
        type: ``"Python"``.
    """

    type = "Python"
    blobs: BlobVec
    param_str: str
    param_str_: str
    phase: int

    def __init__(self, param: caffe_pb2.LayerParameter) -> None:
        pass


class UserCode:
    """A user's layer, and the blobs that its methods are given.

    Args:
        param: the LayerParameter; ``python_param`` names module and class.
        phase: the net's.
        add_parameter: makes a parameter blob.
        unchanged: raise exceptions of the user's code as they are, and not as a NetError.

    Attributes:
        layer: the user's object.
        bottoms: the bottoms' blobs.
        tops: the tops' blobs.

    Raises:
        NetError: there is no such module or class, or the class is not a layer.
    """

    def __init__(
        self,
        param: caffe_pb2.LayerParameter,
        phase: int,
        add_parameter: Callable[[tuple[int, ...]], ParameterBlob],
        *,
        unchanged: bool = False,
    ) -> None:
        self._name = param.name
        self._class = f"{param.python_param.module}.{param.python_param.layer}"
        self._unchanged = unchanged
        self.bottoms = [Blob(()) for _ in param.bottom]
        self.tops = [Blob(()) for _ in param.top]
        made = self._find(param.python_param)
        with self._running("constructor"):
            self.layer = made(param)
        self.layer.blobs = BlobVec(new=add_parameter)
        self.layer.param_str = self.layer.param_str_ = param.python_param.param_str
        self.layer.phase = phase

    def _find(self, python: caffe_pb2.PythonParameter) -> type[UserLayer]:
        with self._running(f"import of module {python.module}"):
            try:
                module = importlib.import_module(python.module)
            except ImportError as error:
                hint = f"module '{python.module}' cannot be imported: {error}: "
                if error.name == "caffe":
                    hint += "have 'import caffe' find this package by deeplab_caffe.pycaffe.install_as_caffe()"
                else:
                    hint += "modules are looked for on sys.path; PYTHONPATH adds to it"
                raise NetError(hint, self._name) from error
        found = getattr(module, python.layer, None)
        if found is None:
            raise NetError(f"module '{python.module}' has no class '{python.layer}'", self._name)
        if not (isinstance(found, type) and issubclass(found, UserLayer)):
            raise NetError(
                f"{self._class} must be derived from this package's caffe.Layer: its module must import "
                "deeplab_caffe.pycaffe as caffe, or deeplab_caffe.pycaffe.install_as_caffe() must be called before",
                self._name,
            )
        return found

    @contextmanager
    def _running(self, what: str) -> Iterator[None]:
        """Run a part of the user's code, and add to its exceptions which part it was."""
        try:
            yield
        except DeepLabCaffeError:
            raise
        except Exception as error:
            where = f"layer '{self._name}': {what} of {self._class}"
            if self._unchanged:
                if hasattr(error, "add_note"):  # from Python 3.11 on
                    error.add_note(where)
                raise
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
            raise NetError(
                f"{where.partition(': ')[2]}: {text} ({frame.filename}:{frame.lineno})", self._name
            ) from error

    def _call(self, method: str, *arguments: Any) -> None:
        with self._running(method):
            getattr(self.layer, method)(*arguments)
        for blob in self.layer.blobs:
            # Copy what the user wrote on the host to the parameter's device.
            blob.tensor()

    def setup(self) -> None:
        """Call the user's ``setup``, then its ``reshape``."""
        self._call("setup", self.bottoms, self.tops)
        self.reshape()

    def reshape(self) -> None:
        """Call the user's ``reshape``, which gives the tops their shapes."""
        self._call("reshape", self.bottoms, self.tops)

    def forward(self) -> None:
        """Call the user's ``reshape``, then its ``forward``, which computes the tops."""
        self.reshape()
        self._call("forward", self.bottoms, self.tops)

    def backward(self, propagate_down: Sequence[bool]) -> None:
        """Call the user's ``backward``, which computes the diffs of the parameters and of the bottoms asked for."""
        self._call("backward", self.tops, list(propagate_down), self.bottoms)
