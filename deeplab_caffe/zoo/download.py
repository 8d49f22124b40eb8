"""Weights of the models of the papers, fetched once and checked ever after.

No checksum of them was ever published. So the first download's SHA-256 is recorded in ``<file>.lock`` beside the file,
and whatever is there later, or is fetched later, must match it. A file takes its name in the cache only when it is
whole, is a caffemodel and fits the model's network.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from deeplab_caffe.data.atomic import atomic_write
from deeplab_caffe.errors import CaffeModelError, DownloadError
from deeplab_caffe.proto import CaffeModel, read_net
from deeplab_caffe.zoo.models import Model, find_model
from deeplab_caffe.zoo.paths import prototxt_path
from deeplab_caffe.zoo.transfer import fetch_url

CHUNK = 1 << 20

Report = Callable[[int, int | None], None]


def cache_folder() -> Path:
    """``$DEEPLAB_CAFFE_CACHE``, else ``$XDG_CACHE_HOME/deeplab-caffe``, else ``~/.cache/deeplab-caffe``."""
    own = os.environ.get("DEEPLAB_CAFFE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deeplab-caffe"


def fetch(
    name: str | Model,
    *,
    cache: str | PathLike[str] | None = None,
    source: str | PathLike[str] | None = None,
    report: Report | None = None,
) -> Path:
    """The weights of a model: from the cache, from a user's folder, or from where they were published.

    Args:
        name: a model's name; see :func:`deeplab_caffe.zoo.find_model`.
        cache: the folder to keep files in; default: :func:`cache_folder`.
        source: copy from this file or folder instead of fetching.
        report: called with the bytes that are there and the total, None where the host does not tell.

    Returns:
        The caffemodel's path in the cache; its checksum has just been verified.

    Raises:
        DownloadError: no host has it, what came is truncated, no caffemodel or another network's, or a file's checksum
            is not the recorded one.
    """
    model = name if isinstance(name, Model) else find_model(name)
    folder = Path(cache if cache is not None else cache_folder()) / model.name
    found = None if model.file is not None or source is None else _find(Path(source), None)
    file_name = model.file.name if model.file is not None else found.name if found else _kept(folder)
    if file_name is None:
        raise DownloadError(f"no address of the weights of {model.name} is known. {_advice(model)}")
    target = folder / file_name
    pinned = model.file.sha256 if model.file is not None else None
    expected = pinned or recorded_sha256(target)
    if target.is_file() and expected is not None:
        check_sha256(target, expected)
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"cannot make the folder {folder}: {error.strerror}") from error
    with _alone(target):
        if source is not None:
            return _install(_copy(found or _find(Path(source), file_name), target), target, model, expected, "file")
        return _download(model, target, expected, report)


def recorded_sha256(target: Path) -> str | None:
    """What ``<file>.lock`` says of the file; None where there is no lock file.

    Raises:
        DownloadError: the lock file cannot be read.
    """
    lock = lock_file(target)
    try:
        text = lock.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DownloadError(f"{lock}: cannot be read: {error}") from error
    try:
        found = json.loads(text)["sha256"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str) or len(found) != 64:
        raise DownloadError(f"{lock}: holds no sha256; delete it to have it written anew, if you trust {target.name}")
    return found


def lock_file(target: Path) -> Path:
    """Where a file's checksum is recorded."""
    return target.with_name(f"{target.name}.lock")


def sha256_of(path: Path) -> str:
    """A file's SHA-256, in hexadecimal.

    Raises:
        DownloadError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DownloadError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Compares a file with the checksum that was recorded of it.

    Raises:
        DownloadError: it is another file, or cannot be read.
    """
    found = sha256_of(path)
    if found != expected:
        raise DownloadError(
            f"{path}: has changed: its sha256 is {found}, recorded was {expected}. It will not be used; delete it to "
            f"fetch it again, and {lock_file(path).name} with it to accept whatever comes"
        )


def _kept(folder: Path) -> str | None:
    """Name of the file that an earlier --from brought for a model without a known file."""
    kept = sorted(path.name.removesuffix(".lock") for path in folder.glob("*.caffemodel.lock"))
    return kept[0] if len(kept) == 1 else None


def _find(source: Path, name: str | None) -> Path:
    """The file of that name in a user's folder or below it; without a name, the only caffemodel there."""
    if source.is_file():
        return source
    if not source.is_dir():
        raise DownloadError(f"{source}: no such file or folder")
    pattern = name or "*.caffemodel"
    found = sorted(path for path in source.rglob(pattern) if path.is_file())
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(path.relative_to(source)) for path in found[:5])
    problem = f"holds {len(found)} ({names}): name one with --from FILE" if found else f"holds no {pattern}"
    raise DownloadError(f"{source}: {problem}")


def _copy(source: Path, target: Path) -> Path:
    copy = target.with_name(f"{target.name}.part")
    try:
        shutil.copyfile(source, copy)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise DownloadError(f"{source}: cannot be copied to {target.parent}: {error.strerror or error}") from error
    return copy


def _download(model: Model, target: Path, expected: str | None, report: Report | None) -> Path:
    problems = []
    for url in model.file.urls:
        packed = url.endswith(".zip")
        part = target.with_name(f"{target.name}{'.zip' if packed else ''}.part")
        try:
            fetch_url(url, part, report)
            whole = _unpack(part, target) if packed else part
            return _install(whole, target, model, expected, url)
        except DownloadError as error:
            problems.append(f"  {url}: {error}")
    tried = "\n".join(problems)
    raise DownloadError(f"the weights of {model.name} could not be fetched:\n{tried}\n{_advice(model)}")


def _advice(model: Model) -> str:
    pages = f" (they were told of at {', '.join(model.pages)})" if model.pages else ""
    command = f"deeplab-caffe download {model.name} --from DIR"
    return f"The authors' hosts may be gone{pages}. If you have the file: {command}"


def _unpack(archive: Path, target: Path) -> Path:
    part = target.with_name(f"{target.name}.part")
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [info for info in packed.infolist() if info.filename.endswith(".caffemodel")]
            if len(members) != 1:
                raise DownloadError(f"the archive holds {len(members)} caffemodels, expected one")
            with packed.open(members[0]) as source, part.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise DownloadError(f"what came is no readable zip archive: {error}") from error
    finally:
        archive.unlink(missing_ok=True)
    return part


def _install(part: Path, target: Path, model: Model, expected: str | None, origin: str) -> Path:
    """Checks a whole file, records its checksum and gives it its name; a wrong one is removed."""
    try:
        found = sha256_of(part)
        if expected is not None and found != expected:
            raise DownloadError(
                f"what came has sha256 {found}, but {expected} was recorded before: it is another file. To accept it, "
                f"delete {lock_file(target)}"
            )
        _check_content(part, model)
        if expected is None:
            note = {"sha256": found, "bytes": part.stat().st_size, "from": origin}
            with atomic_write(lock_file(target), sync=True) as file:
                file.write((json.dumps(note, indent=1) + "\n").encode())
        part.replace(target)
    except OSError as error:
        raise DownloadError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _check_content(path: Path, model: Model) -> None:
    try:
        found = {layer.name: layer.blobs for layer in CaffeModel(path).layers if layer.blobs}
    except CaffeModelError as error:
        with path.open("rb") as file:
            is_page = file.read(64).lstrip().startswith(b"<")
        came = "a web page" if is_page else error
        raise DownloadError(f"what came is no caffemodel: {came}") from error
    if model.network is None:
        return
    layers = [one for one in read_net(prototxt_path(model.network)).layer if one.type == "Convolution"]
    for layer in layers:
        if layer.name.startswith("fc8"):
            continue  # Named after the data set, with as many outputs as that has classes.
        conv = layer.convolution_param
        blobs = found.get(layer.name)
        if blobs is None or blobs[0].shape[:1] != (conv.num_output,):
            came = "no such layer" if blobs is None else f"shape {blobs[0].shape}"
            raise DownloadError(
                f"what came is of another network than {model.network}: layer '{layer.name}' needs {conv.num_output} "
                f"filters, it has {came}"
            )


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keeps a second process from writing to the same partial file; where the system can tell."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    guard = target.with_name(f".{target.name}.busy")
    with guard.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DownloadError(f"another process is fetching {target}") from error
        yield
