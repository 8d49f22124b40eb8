"""Parameters of a dense CRF in a JSON file, as `crf-search` writes them and `crf` and `segment` read them."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_caffe.errors import CRFError

if TYPE_CHECKING:
    from deeplab_caffe.crf.params import CRFParams


def write_params(path: str | os.PathLike[str], params: CRFParams) -> None:
    """Writes the fields of the parameters by their names.

    Raises:
        DataError: the file cannot be written.
    """
    from deeplab_caffe.data.io.atomic import atomic_write

    text = json.dumps(dataclasses.asdict(params), indent=2) + "\n"
    with atomic_write(path, make_folders=True) as stream:
        stream.write(text.encode())


def read_params(path: str | os.PathLike[str], kind: type[CRFParams]) -> CRFParams:
    """Reads what :func:`write_params` wrote; what the file leaves out has its default.

    Raises:
        CRFError: the file cannot be read, is no JSON object, has a name that is none of the fields, or a bad value.
    """
    try:
        values = json.loads(Path(path).read_bytes())
    except OSError as exc:
        raise CRFError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise CRFError(f"{path}: is no JSON file: {exc}") from exc
    names = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(values, dict) or not values.keys() <= set(names):
        unknown = sorted(values.keys() - set(names)) if isinstance(values, dict) else [type(values).__name__]
        raise CRFError(f"{path}: expected an object with {', '.join(names)}, got {', '.join(unknown)}")
    try:
        return kind(**values)
    except CRFError as exc:
        raise CRFError(f"{path}: {exc}") from exc
