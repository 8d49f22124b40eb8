"""The prototxts of an experiment: fill in templates, as sub.sed does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.experiment.settings import NUM_LABELS, ExperimentError, ExperimentSettings
from deeplab_caffe.proto.text.templates import fill_template
from deeplab_caffe.zoo import prototxt_path

_SNAPSHOT = re.compile(r"_iter_(\d+)\.caffemodel(?:\.h5)?$")


class Config:
    """The folder ``config/<NET_ID>``.

    Args:
        settings: the experiment's settings.
        dry: write nothing.
    """

    def __init__(self, settings: ExperimentSettings, *, dry: bool = False) -> None:
        self.settings = settings
        self.dry = dry
        self.notes: list[str] = []

    def file(self, kind: str, name: str | None = None) -> str:
        """Return ``config/<NET_ID>/<kind>[_<set>].prototxt``, relative to the experiments' folder."""
        return f"{self.settings.folder('config')}/{kind}{f'_{name}' if name else ''}.prototxt"

    def variables(self, **more: str | None) -> dict[str, str]:
        """Return the values of sub.sed's variables; values given by the user override them."""
        settings = self.settings
        values = {
            "EXP": settings.exp,
            "NET_ID": str(settings.net_id),
            "DATA_ROOT": str(settings.data_root),
            **{name: value for name, value in more.items() if value is not None},
        }
        if settings.exp in NUM_LABELS:
            values["NUM_LABELS"] = str(NUM_LABELS[settings.exp])
        if settings.strong_set is not None:
            values["TRAIN_SET_STRONG"] = settings.strong_set
        return {**values, **settings.variables}

    def fill(
        self, kind: str, set_name: str, values: Mapping[str, str], edit: Callable[[str], str] = lambda text: text
    ) -> str:
        """Fill a template and write it to ``config/<NET_ID>/<kind>_<set>.prototxt``.

        The template in ``config/<NET_ID>`` is used, so that it may be edited there; if there is none, the model's
        template is copied there first.

        Args:
            kind: kind of the template: ``"train"``, ``"test"``, ...
            set_name: name of the set of images.
            values: values of the variables.
            edit: function that changes the filled text.

        Returns:
            The filled text.

        Raises:
            PrototxtError: a variable has no value.
            ExperimentError: there is no template.
        """
        template = self._template(kind)
        path = self.settings.path(self.file(kind, set_name))
        text = edit(fill_template(template, values, self.settings.path(self.file(kind))))
        self.write(path, text)
        return text

    def preview(self, kind: str, values: Mapping[str, str]) -> str:
        """Return a filled template without writing it.

        Raises:
            PrototxtError: a variable has no value.
            ExperimentError: there is no template.
        """
        own = self.settings.path(self.file(kind))
        path = own if own.is_file() else self._origin(kind)
        if path is None or not path.is_file():
            raise ExperimentError(f"there is no {kind}.prototxt")
        return fill_template(path.read_text(encoding="utf-8"), values, path)

    def write(self, path: Path, text: str) -> None:
        """Write a file, unless it already has this content or this is a dry run."""
        if self.dry or (path.is_file() and path.read_bytes() == text.encode()):
            return
        with atomic_write(path, make_folders=True) as stream:
            stream.write(text.encode())

    def _template(self, kind: str) -> str:
        own = self.settings.path(self.file(kind))
        origin = self._origin(kind)
        if own.is_file():
            text = own.read_text(encoding="utf-8")
            if origin is not None and origin.is_file() and origin.read_text(encoding="utf-8") != text:
                self.notes.append(f"{self.file(kind)} is not (or no longer) what {origin} is: the former is used")
            return text
        if origin is None or not origin.is_file():
            where = f"{own} nor {origin}" if origin else f"{own} nor a network '{self.settings.model}'"
            raise ExperimentError(f"there is no {kind}.prototxt: neither {where}")
        text = origin.read_text(encoding="utf-8")
        self.write(own, text)
        return text

    def _origin(self, kind: str) -> Path | None:
        folder = Path(self.settings.model)
        if folder.is_dir():
            return folder / f"{kind}.prototxt"
        try:
            return prototxt_path(self.settings.model, kind)
        except DeepLabCaffeError as error:
            if self.settings.path(self.file(kind)).is_file():
                return None
            raise ExperimentError(str(error)) from error


def newest_snapshot(folder: Path, prefix: str) -> Path | None:
    """Return the newest ``<prefix>_iter_*.caffemodel`` or ``.caffemodel.h5``; on ties the largest iteration."""
    found = [path for path in folder.glob(f"{prefix}_iter_*") if _SNAPSHOT.search(path.name)]
    return max(found, key=lambda path: (path.stat().st_mtime, _number(path)), default=None)


def _number(path: Path) -> int:
    match = _SNAPSHOT.search(path.name)
    return int(match[1]) if match else -1
