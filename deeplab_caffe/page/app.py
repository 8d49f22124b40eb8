"""The page itself, by gradio: it only shows the results of :mod:`deeplab_caffe.page.session`."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from deeplab_caffe.crf import PRESETS, CRFParams
from deeplab_caffe.errors import DeepLabCaffeError, how_to_install, one_line
from deeplab_caffe.page import forms
from deeplab_caffe.page.masks import MaskKind
from deeplab_caffe.page.session import HEAT, LABELS, NETWORKS, Network, Session, open_mask, open_network

MASK = "my mask"
_OWN = "(as the sliders stand)"

# Parameter: title, least, most and step of its slider.
_SLIDERS = {
    "pos_w": ("pos_w: weight of smoothness", 0, 20, 0.5),
    "pos_xy_std": ("pos_xy_std: its reach, pixels", 0.5, 30, 0.5),
    "bi_w": ("bi_w: weight of appearance", 0, 50, 0.5),
    "bi_xy_std": ("bi_xy_std: its reach, pixels", 1, 200, 1),
    "bi_rgb_std": ("bi_rgb_std: its reach, grey levels", 0.5, 50, 0.5),
    "iterations": ("iterations", 0, 30, 1),
}
_CSS = """
.gradio-container {max-width: 1500px !important}
#photo .wrap, #mask .wrap {font-size: 0.8em; padding-top: 1em}
#status {min-height: 1.6em; font-size: 0.95em}
#status .error {color: #b91c1c; font-weight: 600}
"""


def build(
    photo: str | None = None,
    mask: str | None = None,
    *,
    network: Network | None = None,
    crf: CRFParams | None = None,
    device: str = "cpu",
) -> Any:
    """Return the page as gradio's Blocks.

    Args:
        photo: the initial photograph.
        mask: the initial mask.
        network: the initial network; the package's networks can be chosen too.
        crf: initial parameters of the sliders; None: the network's parameters, or the defaults.
        device: device of networks and the CRF.

    Raises:
        DeepLabCaffeError: gradio is not installed.
    """
    return _Page(photo, mask, network, crf, device).blocks


class _Page:
    """The components and their callbacks."""

    def __init__(
        self, photo: str | None, mask: str | None, network: Network | None, crf: CRFParams | None, device: str
    ) -> None:
        self.gr = _gradio()
        self.folder = tempfile.TemporaryDirectory(prefix="deeplab-caffe-page-")  # gone when the process ends
        self.given, self.crf, self.device = {"photo": photo, "mask": mask}, crf, device
        first = {} if network is None else {network.name: network}
        self.networks = first | {name: one for name, one in NETWORKS.items() if name not in first}
        with self.gr.Blocks(
            title="deeplab-caffe page", analytics_enabled=False, delete_cache=(600, 3600)
        ) as self.blocks:
            self._lay_out()
            self._connect()

    def _lay_out(self) -> None:
        gr = self.gr
        self.session = gr.State(None, time_to_live=3600)
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                self.photo = gr.File(self.given["photo"], label="Picture", height=130, elem_id="photo")
                self.mask = gr.File(self.given["mask"], label="Mask, if there is one", height=130, elem_id="mask")
                first = MASK if self.given["mask"] else next(iter(self.networks))
                self.source = gr.Dropdown([*self.networks, MASK], value=first, label="Scores from", elem_id="source")
                with gr.Accordion("The mask", open=bool(self.given["mask"])):
                    self.kind = gr.Radio(list(get_args(MaskKind)), value="auto", label="What it is")
                    self.certainty = gr.Slider(0.51, 0.99, 0.8, step=0.01, label="How far to trust it")
                self.preset = gr.Dropdown([_OWN, *(one.name for one in PRESETS)], value=_OWN, label="Parameters of")
                start = _numbers(self.crf or CRFParams())
                self.sliders = [
                    gr.Slider(least, most, start[name], step=step, label=title, elem_id=name)
                    for name, (title, least, most, step) in _SLIDERS.items()
                ]
            with gr.Column(scale=2, min_width=480):
                self.status = gr.HTML("Drop a picture to begin.", elem_id="status")
                self.wipe = gr.ImageSlider(
                    label="Before and after the CRF", format="jpeg", max_height=520, interactive=False, elem_id="wipe"
                )
                with gr.Row():
                    self.show = gr.Radio([LABELS, HEAT], value=LABELS, label="Show")
                    self.name = gr.Dropdown([], label="Class", allow_custom_value=True, elem_id="class")
                self._lay_out_tabs()

    def _lay_out_tabs(self) -> None:
        gr = self.gr
        with gr.Tab("Iterations"), gr.Row():
            self.energy = gr.LinePlot(
                x="iteration", y="KL divergence per pixel", height=220, label="What the CRF minimizes"
            )
            self.moved = gr.LinePlot(x="iteration", y="labels changed, %", height=220, label="Labels that change")
        with gr.Tab("JSON"):
            self.json = gr.Code(
                language="json", lines=8, max_lines=12, label="params.json: for --crf params.json", elem_id="json"
            )
        with gr.Tab("Command line"):
            self.command = gr.Code(
                language="shell",
                lines=2,
                max_lines=12,
                wrap_lines=True,
                label="In the picture's folder",
                elem_id="command",
            )
            self.archive = gr.DownloadButton("ZIP with the folders images and scores", visible=False, elem_id="zip")
        with gr.Tab("Python"):
            self.python = gr.Code(
                language="python",
                lines=8,
                max_lines=14,
                wrap_lines=True,
                label="In the picture's folder",
                elem_id="python",
            )

    def _connect(self) -> None:
        gr = self.gr
        inputs = [self.photo, self.mask, self.source, self.kind, self.certainty]
        quiet: dict[str, Any] = {"api_visibility": "private"}
        view = [self.session, self.show, self.name, *self.sliders]
        pictures = [self.status, self.wipe, self.json, self.command, self.python]
        plots = [self.energy, self.moved]
        starts = [self.photo.change, self.mask.change, self.source.input, self.kind.input, self.certainty.release]
        opened = gr.on(
            [*starts, self.blocks.load],
            self.open,
            [*inputs, *self.sliders],
            [self.session, self.status, self.source, self.name, self.archive, *self.sliders],
            **quiet,
        )
        opened.success(self.draw, view, pictures, **quiet).success(
            self.plot, [self.session, *self.sliders], plots, **quiet
        )
        gr.on(
            [slider.change for slider in self.sliders] + [self.show.change, self.name.change],
            self.draw,
            view,
            pictures,
            trigger_mode="always_last",
            show_progress="hidden",
            **quiet,
        )
        gr.on(
            [slider.release for slider in self.sliders],
            self.plot,
            [self.session, *self.sliders],
            plots,
            trigger_mode="always_last",
            show_progress="hidden",
            **quiet,
        )
        self.preset.input(self.take_preset, [self.preset], self.sliders, **quiet).then(
            self.plot, [self.session, *self.sliders], plots, show_progress="hidden", **quiet
        )

    def open(
        self, photo: str | None, mask: str | None, source: str, kind: MaskKind, certainty: float, *numbers: float
    ) -> Sequence[Any]:
        """Read the files and compute the scores; if that fails, show a message and an empty session."""
        gr = self.gr
        if photo is None:
            return self._closed("Drop a picture to begin.", source)
        try:
            if source == MASK:
                if mask is None:
                    return self._closed("Drop a mask too, or choose a network.", source)
                names = self._name(photo, "photo"), self._name(mask, "mask")
                session = open_mask(photo, mask, kind=kind, certainty=certainty, shown=names, device=self.device)
            else:
                shown = self._name(photo, "photo")
                session = open_network(photo, self.networks[source], shown=shown, device=self.device)
            params = _params(numbers, session)
            if _numbers(params) == _numbers(CRFParams()):  # nobody has moved a slider
                params = session.params
            present = session.present(session.tuner.refine(params))
        except (DeepLabCaffeError, ImportError, MemoryError, OSError, ValueError) as error:
            return self._closed(f'<span class="error">{html.escape(_message(error, photo, mask))}</span>', source)
        archive = gr.update(visible=False) if source != MASK else gr.update(visible=True, value=self._archive(session))
        thing = next((name for name in present if name != "background"), present[0])
        names_of = gr.update(choices=present, value=thing)
        return [session, "", source, names_of, archive, *_numbers(params).values()]

    def _closed(self, text: str, source: str) -> Sequence[Any]:
        skip = self.gr.skip
        return [None, text, source, skip(), self.gr.update(visible=False), *(skip() for _ in _SLIDERS)]

    def _archive(self, session: Session) -> str:
        """Write the ZIP file for ``deeplab-caffe crf``, and return its path; gradio makes a copy."""
        folder = Path(tempfile.mkdtemp(dir=self.folder.name))
        return str(session.archive(session.tuner.before, folder / "for_crf.zip"))

    def _name(self, path: str, what: str) -> str:
        """Return a file's name for the forms: without the folder for an upload, as given for the command line."""
        given = self.given[what]
        return given if given is not None and Path(given).name == Path(path).name else Path(path).name

    def draw(self, session: Session | None, show: str, name: str | None, *numbers: float) -> Sequence[Any]:
        """Refine with the sliders' parameters: the status, both pictures, JSON, command line, Python."""
        skip = self.gr.skip()
        if session is None:
            return [skip, None, "", "", ""]
        try:
            params = _params(numbers, session)
            refined = session.tuner.refine(params)
        except (DeepLabCaffeError, MemoryError) as error:
            return [f'<span class="error">{html.escape(_message(error))}</span>', skip, skip, skip, skip]
        height, width = session.tuner.image.shape[:2]
        lattice = "a new lattice" if refined.lattices_built else "lattice kept"
        status = (
            f"CRF: <b>{refined.milliseconds:.0f} ms</b> ({lattice}), {width} x {height} pixels, "
            f"{len(session.tuner.classes)} classes; {100 * session.changed(refined):.2f} % of the pixels have another "
            "label."
        )
        texts = forms.as_json(params), forms.as_command(params, session.source), forms.as_python(params, session.source)
        return [status, session.pictures(refined, show, name), *texts]

    def plot(self, session: Session | None, *numbers: float) -> Sequence[Any]:
        """Return the two plots over the iterations."""
        import pandas as pd

        if session is None:
            return [None, None]
        try:
            curve = session.tuner.curve(_params(numbers, session))
        except (DeepLabCaffeError, MemoryError):  # said by draw
            return [None, None]
        steps = list(range(len(curve.changed)))
        energy = pd.DataFrame({"iteration": steps, "KL divergence per pixel": curve.kl_divergence})
        changed = [100 * share for share in curve.changed]
        return [energy, pd.DataFrame({"iteration": steps[1:], "labels changed, %": changed[1:]})]

    def take_preset(self, name: str) -> Sequence[Any]:
        """Return the sliders' values for a preset."""
        if name == _OWN:
            return [self.gr.skip() for _ in _SLIDERS]
        return list(_numbers(CRFParams.for_model(name)).values())


def launch(page: Any, *, host: str, port: int | None, share: bool, browser: bool, block: bool = True) -> Any:
    """Serve a page until Ctrl-C; without ``block`` return gradio's (app, local address, share address) at once.

    Raises:
        DeepLabCaffeError: the port is taken, or the host cannot be bound.
    """
    gr = _gradio()
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        return page.launch(
            server_name=host,
            server_port=port,
            share=share,
            inbrowser=browser,
            prevent_thread_lock=not block,
            quiet=not block,
            ssr_mode=False,
            max_file_size="200mb",
            footer_links=[],
            theme=theme,
            css=_CSS,
        )
    except OSError as exc:
        raise DeepLabCaffeError(f"the page cannot be served on {host}, port {port or '7860 to 7959'}: {exc}") from exc


def _gradio() -> Any:
    try:
        import gradio
    except ModuleNotFoundError as exc:
        raise DeepLabCaffeError(f"the page needs gradio: {how_to_install('gradio')}") from exc
    return gradio


def _message(error: BaseException, *files: str | None) -> str:
    """Return an error in one line, without the folders of uploads."""
    if isinstance(error, ImportError):
        return f"A network needs torch ({error.name} is not installed): {how_to_install('torch')}. A mask needs none."
    text = one_line(str(error) or type(error).__name__)
    for path in files:
        text = text if path is None else text.replace(path, Path(path).name)
    return text


def _numbers(params: CRFParams) -> dict[str, float]:
    return {name: getattr(params, name) for name in _SLIDERS}


def _params(numbers: Sequence[float], session: Session) -> CRFParams:
    found: dict[str, Any] = dict(zip(_SLIDERS, numbers, strict=True))
    return session.params.replace(**{**found, "iterations": int(found["iterations"])})
