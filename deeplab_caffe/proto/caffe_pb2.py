"""DeepLab v1's protobuf messages, as ``protoc`` would name them: ``caffe_pb2.NetParameter``, ``caffe_pb2.TRAIN``, ...

Old scripts do ``from caffe.proto import caffe_pb2``; they find here the classes they expect. The classes are made at
import by :mod:`deeplab_caffe.proto.schema`.
"""

from __future__ import annotations

from deeplab_caffe.proto.schema import v1_schema as _v1_schema

_schema = _v1_schema()
DESCRIPTOR = _schema.descriptor

for _name, _message in _schema.messages.items():
    # pickle and copy find a class again by its module.
    _message.__module__ = __name__
    globals()[_name] = _message
for _name, _enum in _schema.enums.items():
    globals()[_name] = _enum
    globals().update(_enum.items())

__all__ = [
    "DESCRIPTOR",
    *_schema.messages,
    *_schema.enums,
    *(k for e in _schema.enums.values() for k in dict(e.items())),
]
