"""pycaffe's functions for the process: its log, and its rank among processes that train together.

Here one process trains; use ``torchrun -m deeplab_caffe train`` for several. A script that asks for several gets an
error instead of a training that differs from the one that it asked for.
"""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

from deeplab_caffe.errors import NetError

_LOG = logging.getLogger("deeplab_caffe.pycaffe")
# glog's levels: INFO, WARNING, ERROR, FATAL.
_LEVELS = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Make :func:`log` write messages of glog's ``level`` and above (0 INFO to 3 FATAL).

    Args:
        level: the lowest level to write.
        stderr: write to the standard error; else leave it to the handlers of :mod:`logging`.

    Raises:
        NetError: there is no such level.
    """
    if not 0 <= level < len(_LEVELS):
        raise NetError(f"init_log: level must be 0 (INFO) to {len(_LEVELS) - 1} (FATAL), got {level}")
    _LOG.setLevel(_LEVELS[level])
    if stderr and not _LOG.handlers:
        _LOG.addHandler(logging.StreamHandler(sys.stderr))


def log(message: str) -> None:
    """Write a line to the log ``deeplab_caffe.pycaffe`` of :mod:`logging`, at level INFO."""
    _LOG.info("%s", message)


def set_logging_disabled() -> None:
    """Make :func:`log` write nothing; a function of some forks."""
    _LOG.setLevel(logging.CRITICAL + 1)


def has_nccl() -> bool:
    """Return False: :class:`NCCL` is not implemented."""
    return False


class NCCL:
    """pycaffe's class for training on several GPUs, which is not implemented.

    Raises:
        NetError: always.
    """

    def __init__(self, *arguments: object) -> None:
        _refuse("NCCL")

    @staticmethod
    def new_uid() -> str:
        """Raise the error, as the constructor does."""
        _refuse("NCCL")


def _refuse(what: str) -> NoReturn:
    raise NetError(f"{what}: one process trains here; for several use torchrun -m deeplab_caffe train --solver FILE")


def solver_count() -> int:
    """Return the number of processes that train together: 1."""
    return 1


def set_solver_count(count: int) -> None:
    """Check that the number of processes is 1.

    Raises:
        NetError: another number.
    """
    if count != 1:
        _refuse(f"set_solver_count({count})")


def solver_rank() -> int:
    """Return the rank of this process: 0."""
    return 0


def set_solver_rank(rank: int) -> None:
    """Check that the rank is 0.

    Raises:
        NetError: another number.
    """
    if rank != 0:
        _refuse(f"set_solver_rank({rank})")


def set_multiprocess(multiprocess: bool) -> None:
    """Do nothing: the flag is for Python layers shared by several solvers, and there is only one solver."""
