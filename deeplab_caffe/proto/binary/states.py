"""Single blobs (``.binaryproto``) and solver states (``.solverstate``), read as caffemodels are."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.proto.binary.blobs import ModelBlob, read_blob_message
from deeplab_caffe.proto.binary.mapped import map_file, named_errors
from deeplab_caffe.proto.binary.wire import (
    BYTES,
    MAX_PARTS,
    VARINT,
    WireError,
    expect,
    read_field,
    read_text,
    to_signed,
)

_ITER, _LEARNED_NET, _HISTORY, _CURRENT_STEP = 1, 2, 3, 4


@dataclass
class SolverSnapshot:
    """A solver's state as a ``.solverstate`` file has it.

    Attributes:
        iteration: the iteration to resume from.
        learned_net: path of the caffemodel that goes with it, as written by the run that saved it; may be empty.
        current_step: number of steps of the learning rate so far.
        history: the momentum of every parameter blob, in net order.
    """

    iteration: int = 0
    learned_net: str = ""
    current_step: int = 0
    history: list[ModelBlob] = field(default_factory=list)


def read_solverstate(path: str | os.PathLike[str]) -> SolverSnapshot:
    """Read a ``.solverstate``; its blobs are views of the mapped file.

    Raises:
        CaffeModelError: the file cannot be read, is malformed, or has no iteration.
    """
    buffer = map_file(path, "solverstate")
    state = SolverSnapshot()
    seen = False
    with named_errors(path, "solverstate"):
        position = 0
        while position < len(buffer):
            part = read_field(buffer, position, len(buffer))
            position = part.end
            if part.number == _ITER:
                expect(part, VARINT, "iter")
                state.iteration = to_signed(part.value, 32)
                seen = True
            elif part.number == _LEARNED_NET:
                state.learned_net = read_text(buffer, part, "learned_net")
            elif part.number == _CURRENT_STEP:
                expect(part, VARINT, "current_step")
                state.current_step = to_signed(part.value, 32)
            elif part.number == _HISTORY:
                expect(part, BYTES, "history")
                if len(state.history) == MAX_PARTS:
                    raise WireError(f"has more than {MAX_PARTS} blobs", part.offset)
                try:
                    state.history.append(read_blob_message(buffer, part.start, part.end, scalars=True))
                except WireError as error:
                    raise WireError(f"history {len(state.history)}: {error}", error.offset) from error
    if not seen:
        raise CaffeModelError("has no iteration: is it a solverstate?", path)
    return state


def read_blob(path: str | os.PathLike[str]) -> ModelBlob:
    """Read a ``.binaryproto``: one blob, such as Caffe's mean images.

    Raises:
        CaffeModelError: the file cannot be read, is malformed, or has no numbers.
    """
    buffer = map_file(path, "binaryproto")
    with named_errors(path, "binaryproto"):
        blob = read_blob_message(buffer, 0, len(buffer))
    if not blob.count:
        raise CaffeModelError("has no numbers: is it a binaryproto?", path)
    return blob
