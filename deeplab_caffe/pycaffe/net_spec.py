"""Networks written in Python: pycaffe's ``NetSpec``, ``layers`` and ``params`` (python/caffe/net_spec.py).

>>> from deeplab_caffe.pycaffe import NetSpec, layers as L, params as P
>>> n = NetSpec()
>>> n.data = L.Input(input_param=dict(shape=dict(dim=[1, 3, 8, 8])))
>>> n.conv = L.Convolution(n.data, kernel_size=3, num_output=4, weight_filler=dict(type="xavier"))
>>> n.relu = L.ReLU(n.conv, in_place=True)
>>> n.pool = L.Pooling(n.relu, kernel_size=2, stride=2, pool=P.Pooling.MAX)
>>> text = str(n.to_proto())

A layer's keywords are fields of the message named after its type (``ConvolutionParameter`` for ``Convolution``), or of
``LayerParameter`` itself: ``param``, ``include``, ``loss_weight``, ``name``, and other messages such as ``loss_param``.
The messages come from the schema, so new layers need no code here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema.names import did_you_mean
from deeplab_caffe.proto.upgrade.fields import is_repeated


class NetSpecError(NetError, AttributeError, KeyError, TypeError):
    """A network written in Python is wrong.

    pycaffe raises AttributeError, KeyError or TypeError; ``except`` with any of these works here too.
    """

    # KeyError.__str__ would put the message in quotes.
    __str__ = Exception.__str__


def param_name_dict() -> dict[str, str]:
    """Return the names of the layers' parameters by layer type: ``{"Convolution": "convolution", ...}``."""
    return {
        field.message_type.name.removesuffix("Parameter"): field.name.removesuffix("_param")
        for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields
        if field.message_type is not None and field.name.endswith("_param")
    }


_param_names = param_name_dict()


def assign_proto(proto: Message, name: str, val: Any) -> None:
    """Set a field of a message from Python's built-in types.

    Args:
        proto: the message.
        name: the field.
        val: for a message a dict or a message; for a repeated field a list, tuple or array, or its only value.

    Raises:
        NetSpecError: there is no such field, or the value does not fit it. Fields that were set before stay set.
    """
    fields = proto.DESCRIPTOR.fields_by_name
    if name not in fields:
        raise NetSpecError(f"{proto.DESCRIPTOR.name} has no field '{name}'{did_you_mean(name, fields)}")
    # NumPy's numbers and arrays.
    value = val.tolist() if hasattr(val, "tolist") else val
    try:
        if is_repeated(fields[name]):
            _extend(getattr(proto, name), list(value) if isinstance(value, (list, tuple)) else [value])
        elif fields[name].message_type is not None:
            _fill(getattr(proto, name), value)
        else:
            setattr(proto, name, value)
    except NetSpecError:
        raise
    except (TypeError, ValueError) as error:
        raise NetSpecError(f"{proto.DESCRIPTOR.name}.{name} cannot be {val!r:.60}: {error}") from None


def _extend(repeated: Any, values: list[Any]) -> None:
    for value in values:
        if isinstance(value, Mapping):
            _fill(repeated.add(), value)
        else:
            repeated.append(value)


def _fill(message: Message, value: Any) -> None:
    if not isinstance(value, Mapping):
        message.CopyFrom(value)
        return
    for name, part in value.items():
        assign_proto(message, name, part)


def _hint(name: str) -> str:
    """Return a hint for a parameter of a layer type without its own message: the messages with such a field."""
    owners = [
        f"{field.name}=dict({name}=...)"
        for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields
        if field.message_type is not None and name in field.message_type.fields_by_name
    ]
    return f"; write {' or '.join(owners[:3])}" if owners else ""


class Top:
    """One output blob of a layer.

    Attributes:
        fn: the layer.
        n: its number among the layer's tops.
    """

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> caffe_pb2.NetParameter:
        """Return a net of all layers that this blob needs, with generated names: ``Convolution1``, ..."""
        return to_proto(self)


class Function:
    """A layer: its type, parameters and bottoms.

    Args:
        type_name: the layer's type.
        inputs: its bottoms.
        params: its parameters by name. ``ntop`` is the number of tops (default 1); with ``in_place`` the tops are the
            bottoms.

    Raises:
        NetSpecError: a bottom is not a :class:`Top`.
    """

    def __init__(self, type_name: str, inputs: Iterable[Top], params: Mapping[str, Any]) -> None:
        self.type_name = type_name
        self.inputs = tuple(inputs)
        for index, blob in enumerate(self.inputs):
            if not isinstance(blob, Top):
                raise NetSpecError(f"{type_name} input {index} is not a Top (type is {type(blob)})")
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def to_layer(self, bottoms: Iterable[str], names: _Names) -> caffe_pb2.LayerParameter:
        """Return the layer's message; ``names`` has the names of the tops and of the layer."""
        layer = caffe_pb2.LayerParameter(type=self.type_name, bottom=bottoms)
        layer.top.extend(layer.bottom if self.in_place else [names.of(top) for top in self.tops])
        layer.name = names.of(self if self in names.given or not self.tops else self.tops[0])
        for name, value in self.params.items():
            try:
                assign_proto(self._owner(layer, name), name, value)
            except NetSpecError as error:
                hint = "" if self.type_name in _param_names else _hint(name)
                raise NetSpecError(f"{self.type_name}: {error}{hint}", layer=layer.name) from None
        return layer

    def _owner(self, layer: caffe_pb2.LayerParameter, name: str) -> Message:
        """Return the message that a parameter is a field of: that of the layer's type, or the layer itself."""
        if self.type_name not in _param_names or name.endswith("param"):
            return layer
        own: Message = getattr(layer, f"{_param_names[self.type_name]}_param")
        of_layer = name in layer.DESCRIPTOR.fields_by_name and name not in own.DESCRIPTOR.fields_by_name
        return layer if of_layer else own


class _Names:
    """The names of a net's blobs and layers: those given, and ``Convolution1``, ``Convolution2``, ... for the rest."""

    def __init__(self, given: Mapping[Top | Function, str]) -> None:
        self.given = dict(given)
        self._taken = set(given.values())
        self._counts: Counter[str] = Counter()

    def of(self, what: Top | Function) -> str:
        """Return the name of a blob, or of a layer without tops."""
        while what not in self.given:
            type_name = what.fn.type_name if isinstance(what, Top) else what.type_name
            self._counts[type_name] += 1
            name = f"{type_name}{self._counts[type_name]}"
            if name not in self._taken:
                self.given[what] = name
        return self.given[what]


def _net_of(wanted: Iterable[Top | Function], names: Mapping[Top | Function, str]) -> caffe_pb2.NetParameter:
    """Return a net of the wanted layers and all layers that they need, each after the layers of its bottoms."""
    made: dict[Function, caffe_pb2.LayerParameter] = {}
    all_names = _Names(names)
    # An explicit stack: deep nets would exceed Python's recursion limit.
    waiting = [what.fn if isinstance(what, Top) else what for what in wanted][::-1]
    while waiting:
        fn = waiting[-1]
        missing = [] if fn in made else [blob.fn for blob in fn.inputs if blob.fn not in made]
        if missing:
            waiting += missing[::-1]
            continue
        waiting.pop()
        if fn not in made:
            made[fn] = fn.to_layer([made[blob.fn].top[blob.n] for blob in fn.inputs], all_names)
    return caffe_pb2.NetParameter(layer=made.values())


def to_proto(*tops: Top) -> caffe_pb2.NetParameter:
    """Return a net of all layers that the blobs need, with generated names: ``Convolution1``, ``Convolution2``, ...

    Raises:
        NetSpecError: an argument is no blob, a layer has a parameter that does not exist, or a value does not fit.
    """
    given: tuple[object, ...] = tops
    for number, top in enumerate(given):
        if not isinstance(top, (Top, Function)):
            hint = ": give each by itself, to_proto(*tops)" if isinstance(top, (list, tuple)) else ""
            raise NetSpecError(f"argument {number} of to_proto is no blob but {type(top).__name__}{hint}")
    return _net_of(tops, {})


class NetSpec:
    """A net whose blobs are attributes or items; their names become the names of the blobs and layers.

    Attributes:
        tops: the blobs by name (for layers without tops the :class:`Function`), in the order of assignment.
    """

    tops: dict[str, Any]

    def __init__(self) -> None:
        object.__setattr__(self, "tops", {})

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        # copy and pickle get attributes before __init__ has set `tops`.
        tops = self.__dict__.get("tops", {})
        if name not in tops:
            raise NetSpecError(f"the net has no blob '{name}'{did_you_mean(name, tops)}")
        return tops[name]

    def __delattr__(self, name: str) -> None:
        self.__getattr__(name)
        del self.tops[name]

    # A blob may have the name of a method: it is then found as an item.
    __setitem__ = __setattr__
    __getitem__ = __getattr__
    __delitem__ = __delattr__

    def keys(self) -> list[str]:
        """Return the names of the blobs."""
        return list(self.tops)

    def vals(self) -> list[Any]:
        """Return the blobs."""
        return list(self.tops.values())

    def update(self, name: str, params: Mapping[str, Any]) -> None:
        """Set further parameters of the layer that a blob comes from."""
        top = self[name]
        (top.fn if isinstance(top, Top) else top).params.update(params)

    def to_proto(self) -> caffe_pb2.NetParameter:
        """Return the net: all layers that its blobs need.

        Raises:
            NetSpecError: an attribute is not a blob, a parameter does not exist, or a value does not fit.
        """
        for name, top in self.tops.items():
            if not isinstance(top, (Top, Function)):
                raise NetSpecError(f"'{name}' is no blob but {type(top).__name__}: a layer with ntop=2 is two blobs")
        return _net_of(self.tops.values(), {top: name for name, top in self.tops.items()})


class Layers:
    """The pseudo-module ``layers``: ``layers.Convolution(bottom, kernel_size=3)`` returns the top of a new layer.

    With ``ntop=2`` it returns two tops, with ``ntop=0`` the :class:`Function`.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def layer(*inputs: Top, **params: Any) -> Any:
            fn = Function(name, inputs, params)
            return fn.tops[0] if fn.ntop == 1 else fn.tops or fn

        return layer


class Parameters:
    """The pseudo-module ``params``: ``params.Pooling.MAX`` is the value of that name in ``PoolingParameter``."""

    def __getattr__(self, name: str) -> Any:
        message = getattr(caffe_pb2, f"{name}Parameter", None)
        if message is None:
            raise NetSpecError(f"no parameters are called '{name}'{did_you_mean(name, _param_names)}")
        return message


layers = Layers()
params = Parameters()
