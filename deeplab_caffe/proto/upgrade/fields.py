"""Copying a message to one of another dialect, field by field; no field is dropped silently."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from deeplab_caffe.proto.dims import MAX_DIM
from deeplab_caffe.proto.text.outline import Source

Handler = Callable[[Any, Any, Source], None]
Handlers = dict[str, dict[str, Handler]]
Neutral = dict[tuple[str, str], tuple[Any, ...] | None]

# Each of protobuf's implementations has its own class of descriptors.
Field = Any

_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
_INTEGERS = (
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
)


def is_repeated(field: Field) -> bool:
    """Return whether a field is repeated, in any protobuf release (``label`` is deprecated, ``is_repeated`` new)."""
    known = getattr(field, "is_repeated", None)
    return bool(field.label == FieldDescriptor.LABEL_REPEATED if known is None else known)


def put(target: Message, field: Field, value: Any, name: str | None = None) -> None:
    """Set the field of that name (or ``name``) in ``target``: enums by the name of their value, lists by appending."""
    name = name or field.name
    if is_repeated(field):
        getattr(target, name).extend(value)
    elif field.message_type is not None:
        getattr(target, name).CopyFrom(value)
    elif field.enum_type is not None:
        enum: Any = target.DESCRIPTOR.fields_by_name[name].enum_type
        setattr(target, name, enum.values_by_name[field.enum_type.values_by_number[value].name].number)
    else:
        setattr(target, name, value)


def copy_fields(
    source: Message,
    target: Message,
    where: Source,
    handlers: Handlers,
    neutral: Neutral,
) -> None:
    """Copy every field that is set in ``source`` to the field of that name in ``target``, recursively.

    Args:
        source: the message.
        target: message of the other dialect.
        where: place of ``source``; its ``into`` names the other dialect in errors.
        handlers: by message name, then field name: a function that moves that field itself. One that is named for
            several fields of a message moves them together and is called once.
        neutral: fields that the other dialect lacks, with the values that ask for its default behaviour (None: any
            value); these are left out.

    Raises:
        PrototxtError: a field has no equivalent in the other dialect (CaffeModelError when a file is written).
    """
    message_name = source.DESCRIPTOR.name
    own = handlers.get(message_name, {})
    called: set[Handler] = set()
    for field, value in source.ListFields():
        if field.name in own:
            handler = own[field.name]
            if handler not in called:
                called.add(handler)
                handler(source, target, where)
            continue
        if (message_name, field.name) in neutral:
            allowed = neutral[message_name, field.name]
            if allowed is None or value in allowed:
                continue
            raise where.error(f"{describe(field, value)} has no equivalent in {where.into}", field.name)
        other = target.DESCRIPTOR.fields_by_name.get(field.name)
        if other is None or is_repeated(other) != is_repeated(field):
            raise where.error(f"{describe(field, value)} has no equivalent in {where.into}", field.name)
        if field.message_type is not None:
            _copy_messages(field, value, target, where, handlers, neutral)
        elif is_repeated(field):
            getattr(target, field.name).extend(
                _scalar(field, other, item, where, (field.name, i)) for i, item in enumerate(value)
            )
        else:
            setattr(target, field.name, _scalar(field, other, value, where, (field.name,)))


def _copy_messages(
    field: Field, value: Any, target: Message, where: Source, handlers: Handlers, neutral: Neutral
) -> None:
    if not is_repeated(field):
        inner = getattr(target, field.name)
        inner.SetInParent()
        copy_fields(value, inner, where.at(field.name), handlers, neutral)
        return
    for i, item in enumerate(value):
        copy_fields(item, getattr(target, field.name).add(), where.at(field.name, i), handlers, neutral)


def _scalar(field: Field, other: Field, value: Any, where: Source, steps: tuple[str | int, ...]) -> Any:
    if field.enum_type is not None and other.enum_type is not None:
        name = field.enum_type.values_by_number[value].name
        found = other.enum_type.values_by_name.get(name)
        if found is None:
            raise where.error(f"{field.name}: {name} has no equivalent in {where.into}", *steps)
        return found.number
    if field.cpp_type == other.cpp_type or (field.cpp_type in _INTEGERS and other.cpp_type in _FLOATS):
        return value
    if field.cpp_type in _FLOATS and other.cpp_type in _INTEGERS and float(value).is_integer():
        return int(value)
    raise where.error(f"{describe(field, value)} has no equivalent in {where.into}", *steps)


def check_dims(dims: Iterable[int], where: Source, *steps: str | int) -> None:
    """Check that a blob can have these dimensions.

    Raises:
        PrototxtError: one is negative or too large (CaffeModelError when a file is written).
    """
    for dim in dims:
        if not 0 <= dim <= MAX_DIM:
            raise where.error(f"dimension {dim} is not in 0 ... {MAX_DIM}", *steps)


def describe(field: Field, value: Any) -> str:
    """Return a field as a user wrote it, ``axis: 2``; only the name of a message or list."""
    if field.message_type is not None or is_repeated(field):
        return str(field.name)
    if field.enum_type is not None:
        return f"{field.name}: {field.enum_type.values_by_number[value].name}"
    if isinstance(value, bool):
        return f"{field.name}: {str(value).lower()}"
    return f"{field.name}: {value}"
