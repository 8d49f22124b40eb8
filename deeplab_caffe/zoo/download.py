"""Weights of the models of the papers, downloaded once and checked at each use.

No checksum of the authors' files was ever published. So the first download's SHA-256 is recorded in ``<file>.lock``
beside the file, and the file, or a later download of it, must match it. A file gets its name in the cache only when it
is complete, is a caffemodel and fits the model's network. torchvision's files are state_dicts; the first digits of
their checksums are known.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from os import PathLike
from pathlib import Path, PurePosixPath

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.lock import exclusive
from deeplab_caffe.errors import CaffeModelError, DownloadError
from deeplab_caffe.proto import CaffeModel, read_net
from deeplab_caffe.zoo.models import OWN_MODELS, Model, RemoteFile, find_model
from deeplab_caffe.zoo.paths import prototxt_paths
from deeplab_caffe.zoo.transfer import Report, fetch_url

CHUNK = 1 << 20
# Number of digits of a SHA-256 in hexadecimal.
_DIGITS = 64
# Allowed bytes of a caffemodel beyond four per parameter: names, layers' parameters, an ImageNet classifier.
_SLACK_BYTES = 64 << 20
# An archive may hold several such files: of both rounds of training, and the initial model.
_ARCHIVE_FILES = 4
# Limit for files whose network is not known; VGG-16 with its classifier has 553 MB.
_MOST_BYTES = 1 << 30


def cache_folder() -> Path:
    """Return ``$DEEPLAB_CAFFE_CACHE``, else ``$XDG_CACHE_HOME/deeplab-caffe``, else ``~/.cache/deeplab-caffe``."""
    own = os.environ.get("DEEPLAB_CAFFE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deeplab-caffe"


def fetch(
    name: str | Model,
    *,
    cache: str | PathLike[str] | None = None,
    source: str | PathLike[str] | None = None,
    report: Report | None = None,
) -> Path:
    """Get the weights of a model from the cache, from a user's folder, or from the published URLs.

    Args:
        name: a model's name; see :func:`deeplab_caffe.zoo.find_model`.
        cache: the folder to keep files in; default: :func:`cache_folder`.
        source: copy from this file or folder instead of fetching.
        report: called with the number of received bytes and the total, which is None if the host does not send it.

    Returns:
        The caffemodel's path in the cache; its checksum has just been verified.

    Raises:
        DownloadError: no host has the file; it is truncated, not a caffemodel or of another network; or its checksum is
            not the recorded one.
    """
    model = name if isinstance(name, Model) else find_model(name)
    folder = Path(cache if cache is not None else cache_folder()) / model.name
    found = None if model.file is not None or source is None else _find(Path(source), None)
    file_name = model.file.name if model.file is not None else found.name if found else _kept(folder)
    if file_name is None:
        if model in OWN_MODELS:
            raise DownloadError(f"there is nothing to download for {model.name}. {model.notes[0]}")
        raise DownloadError(f"no address of the weights of {model.name} is known. {_advice(model)}")
    target = folder / file_name
    pinned = model.file.sha256 if model.file is not None else None
    # A recorded complete checksum is better than the known first digits.
    expected = pinned if pinned is not None and len(pinned) == _DIGITS else recorded_sha256(target) or pinned
    if target.is_file() and expected is not None:
        check_sha256(target, expected)
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"cannot make the folder {folder}: {error.strerror}") from error
    busy = DownloadError(f"another process is fetching {target}")
    with exclusive(target.with_name(f".{target.name}.busy"), busy):
        if source is not None:
            return _install(_copy(found or _find(Path(source), file_name), target), target, model, expected, "file")
        assert model.file is not None
        return _download(model, model.file, target, expected, report)


def recorded_sha256(target: Path) -> str | None:
    """Read the SHA-256 that ``<file>.lock`` records; None without a lock file.

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
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str) or len(found) != _DIGITS:
        raise DownloadError(f"{lock}: holds no sha256; delete it to have it written anew, if you trust {target.name}")
    return found


def lock_file(target: Path) -> Path:
    """Return the path of the file that records a file's checksum."""
    return target.with_name(f"{target.name}.lock")


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256, in hexadecimal.

    Raises:
        DownloadError: the file cannot be read.
    """
    import pooch

    try:
        return str(pooch.file_hash(str(path), "sha256"))
    except OSError as error:
        raise DownloadError(f"{path}: cannot be read: {error.strerror or error}") from error


def check_sha256(path: Path, expected: str) -> None:
    """Compare a file's checksum with the recorded one, or with its known first digits.

    Raises:
        DownloadError: the checksum differs, or the file cannot be read.
    """
    found = sha256_of(path)
    if not found.startswith(expected):
        raise DownloadError(
            f"{path}: has changed: its sha256 is {found}, recorded was {expected}. It will not be used; delete it to "
            f"fetch it again, and {lock_file(path).name} with it to accept whatever comes"
        )


def _kept(folder: Path) -> str | None:
    """Return the name of the file that an earlier --from copied for a model without a known file."""
    kept = sorted(path.name.removesuffix(".lock") for path in folder.glob("*.caffemodel.lock"))
    return kept[0] if len(kept) == 1 else None


def _find(source: Path, name: str | None) -> Path:
    """Return the file of that name in a user's folder or below it; without a name, the only caffemodel there."""
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
    except BaseException as error:
        copy.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise DownloadError(f"{source}: cannot be copied to {target.parent}: {error.strerror or error}") from error
    return copy


def _download(model: Model, file: RemoteFile, target: Path, expected: str | None, report: Report | None) -> Path:
    problems = []
    limit = _MOST_BYTES if model.parameters is None else 4 * model.parameters * model.towers + _SLACK_BYTES
    for url in file.urls:
        packed = url.endswith(".zip")
        part = target.with_name(f"{target.name}{'.zip' if packed else ''}.part")
        try:
            fetch_url(url, part, report, limit=_ARCHIVE_FILES * limit if packed else limit)
            whole = _unpack(part, target, limit) if packed else part
            return _install(whole, target, model, expected, url)
        except DownloadError as error:
            problems.append(f"{url}: {error}")
    tried = "; ".join(problems)
    raise DownloadError(f"the weights of {model.name} could not be fetched: {tried}. {_advice(model)}")


def _advice(model: Model) -> str:
    pages = f" (these linked to it: {', '.join(model.pages)})" if model.pages else ""
    command = f"deeplab-caffe download {model.name} --from DIR"
    return f"The authors' hosts may be gone{pages}. If you have the file: {command}"


def _unpack(archive: Path, target: Path, limit: int = _MOST_BYTES) -> Path:
    """Unpack the caffemodel of a zip archive, which may have up to ``limit`` bytes, and remove the archive.

    Of several caffemodels the one with the target's name is taken.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [info for info in packed.infolist() if info.filename.endswith(".caffemodel")]
            if len(members) > 1:
                names = ", ".join(info.filename for info in members)
                members = [info for info in members if PurePosixPath(info.filename).name == target.name]
                if len(members) != 1:
                    raise DownloadError(f"the archive holds {names}: not one of them is the only {target.name}")
            if not members:
                raise DownloadError("the archive holds 0 caffemodels, expected one")
            with packed.open(members[0]) as source, part.open("wb") as file:
                for chunk in iter(lambda: source.read(CHUNK), b""):
                    file.write(chunk)
                    if file.tell() > limit:
                        raise DownloadError(f"the archive unpacks to more than the {limit:,} bytes of such a file")
    except BaseException as error:  # each compression method has its own errors for damaged data
        part.unlink(missing_ok=True)
        if isinstance(error, DownloadError) or not isinstance(error, Exception):
            raise
        raise DownloadError(f"what came is no readable zip archive: {error or type(error).__name__}") from error
    finally:
        archive.unlink(missing_ok=True)
    return part


def _install(part: Path, target: Path, model: Model, expected: str | None, origin: str) -> Path:
    """Check a complete file, record its checksum and rename it; a wrong file is removed."""
    try:
        found = sha256_of(part)
        if expected is not None and not found.startswith(expected):
            if len(expected) < _DIGITS:
                raise DownloadError(f"what came has sha256 {found}, which should begin with {expected}: another file")
            raise DownloadError(
                f"what came has sha256 {found}, but {expected} was recorded before: it is another file. To accept it, "
                f"delete {lock_file(target)}"
            )
        _check_content(part, model)
        if expected is None or len(expected) < _DIGITS:
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
    if model.file is not None and model.file.name.endswith(".pth"):
        return  # A state_dict; its checksum is known.
    try:
        found = {layer.name: layer.blobs for layer in CaffeModel(path).layers if layer.blobs}
    except CaffeModelError as error:
        with path.open("rb") as file:
            is_page = file.read(64).lstrip().startswith(b"<")
        came = "a web page" if is_page else error
        raise DownloadError(f"what came is no caffemodel: {came}") from error
    deploy = None if model.network is None else prototxt_paths(model.network).get("deploy")
    if deploy is None:
        return
    layers = [one for one in read_net(deploy).layer if one.convolution_param.num_output]
    for layer in layers:
        if layer.name.startswith(("fc8", "fc1_")):
            continue  # Named after the data set, with as many outputs as that has classes.
        conv = layer.convolution_param
        blobs = found.get(layer.name)
        if blobs is None or blobs[0].shape[:1] != (conv.num_output,):
            came = "no such layer" if blobs is None else f"shape {blobs[0].shape}"
            raise DownloadError(
                f"what came is of another network than {model.network}: layer '{layer.name}' needs {conv.num_output} "
                f"filters, it has {came}"
            )
