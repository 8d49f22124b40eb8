"""The inner form's protobuf messages, named as by ``protoc``: ``caffe_pb2.NetParameter``, ``caffe_pb2.TRAIN``, ...

They are BVLC's (``net.layer``, ``type: "Convolution"``) with DeepLab's own fields and messages beside them, and, for
scripts of 2014, ``net.layers`` in DeepLab v1's layout. See :mod:`deeplab_caffe.proto.schema.inner`.
"""

from __future__ import annotations

from deeplab_caffe.proto.schema.inner import inner_schema as _inner_schema
from deeplab_caffe.proto.schema.names import layer_type_values as _layer_type_values

_schema = _inner_schema()
DESCRIPTOR = _schema.descriptor

for _name, _message in _schema.messages.items():
    # pickle and copy find a class again by its module.
    _message.__module__ = __name__
    globals()[_name] = _message
# In 2014 LayerParameter was what is V1LayerParameter since.
for _name, _value in _layer_type_values().items():
    setattr(_schema.messages["LayerParameter"], _name, _value)
for _name, _enum in _schema.enums.items():
    globals()[_name] = _enum
    globals().update(_enum.items())

__all__ = [
    "DESCRIPTOR",
    *_schema.messages,
    *_schema.enums,
    *(k for e in _schema.enums.values() for k in dict(e.items())),
]
