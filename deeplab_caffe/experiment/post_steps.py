"""The steps after the network: search of CRF parameters, dense CRF, evaluation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from deeplab_caffe.crf import CRFParams, find_preset
from deeplab_caffe.data.classes import BESIDE, KNOWN, find_classes
from deeplab_caffe.errors import CRFError
from deeplab_caffe.experiment.context import UNKNOWN, StepContext
from deeplab_caffe.experiment.lists import folder_of
from deeplab_caffe.experiment.markers import digest, file_digest
from deeplab_caffe.experiment.settings import ExperimentError
from deeplab_caffe.experiment.steps import ExperimentStep
from deeplab_caffe.zoo.paths import BASES


def build_search(context: StepContext) -> ExperimentStep:
    """Build ``crf-search``: run_densecrf_grid_search.sh by the paper's method, on 100 images of the search set.

    Raises:
        ExperimentError: the set has no labels, or its scores are not complete.
    """
    settings, set_name = context.settings, context.settings.searched
    labels = context.labels(set_name)
    if labels is None:
        raise ExperimentError(f"CRF parameters cannot be searched on {set_name}: it has no labels")
    out = f"{context.results('', set_name)}/crf_search"
    inputs = {
        "features": context.features_key("", set_name),
        "ids": context.lists.checksum(f"{set_name}_id"),
        "options": digest("\0".join(settings.search_options)),
        "labels": _labels_key(context, set_name, labels),
    }
    scores, images = context.features("", set_name, scores=True), str(context.images(set_name))
    words = ["crf-search", "--scores", scores, "--images", images]
    words += ["--labels", str(labels), "--list", settings.list_file(f"{set_name}_id"), "--out", out]
    return ExperimentStep("crf-search", inputs, [f"{out}/best.json"], [[*words, *settings.search_options]])


def build_crf(context: StepContext, stage: str, set_name: str, *, searching: bool = False) -> ExperimentStep:
    """Build ``crf`` or ``crf2`` for one set: run_densecrf.sh.

    Args:
        context: the experiment's shared state.
        stage: ``""`` or ``"2"``.
        set_name: the set.
        searching: whether, in a dry run, a search of the parameters comes before.
    """
    params, source = _params(context, searching)
    ids = context.lists.ids(set_name)
    out = f"{context.results(stage, set_name)}/{_folder(params)}"
    inputs = {
        "features": context.features_key(stage, set_name),
        "params": repr(params),
        "images": str(context.images(set_name)),
        "ids": context.lists.checksum(f"{set_name}_id"),
    }
    found = params.by_axis()
    numbers: dict[str, float] = {"-i": params.iterations, "-pw": found.pos_w, "-bw": found.bi_w}
    numbers |= {f"-p{axis}": std for axis, std in zip("xy", found.pos_xy_std, strict=True)}
    numbers |= {f"-b{axis}": std for axis, std in zip("xyrgb", (*found.bi_xy_std, *found.bi_rgb_std), strict=True)}
    images, scores = str(context.images(set_name)), context.features(stage, set_name, scores=True)
    words = ["crf", "-id", images, "-fd", scores, "-sd", out]
    words += ["--list", context.settings.list_file(f"{set_name}_id")]
    words += ["--input", "mat", *(word for flag, number in numbers.items() for word in (flag, _digits(number)))]
    return ExperimentStep(
        f"crf{stage}-{set_name}", inputs, [f"{out}/{name}.bin" for name in ids], [words], about=source
    )


def build_eval(context: StepContext, stage: str, set_name: str, *, refining: bool = False) -> ExperimentStep:
    """Build ``eval`` or ``eval2`` for one set (EvalSegResults.m): for the scores, and for the CRF's results if any.

    Args:
        context: the experiment's shared state.
        stage: ``""`` or ``"2"``.
        set_name: the set.
        refining: whether, in a dry run, the dense CRF runs before.
    """
    settings = context.settings
    key = context.features_key(stage, set_name)
    labels = context.labels(set_name)
    inputs = {
        "features": key,
        "ids": context.lists.checksum(f"{set_name}_id"),
        "labels": _labels_key(context, set_name, labels),
    }
    sources = [(context.features(stage, set_name), "mat", f"{context.results(stage, set_name)}/post_none")]
    notes = []
    marker = context.marker(f"crf{stage}-{set_name}")
    current = marker.finished() and marker.read()["inputs"]["features"] == key
    if current or (context.dry and refining):
        first = next(iter(marker.read()["outputs"])) if current else ""
        folder = str(folder_of(first, context.lists.ids(set_name)[0])) if current else "<the dense CRF's results>"
        inputs["crf"] = marker.key if current else UNKNOWN
        sources.append((folder, "bin", folder))
    elif marker.read():
        notes.append("the dense CRF's results are half finished or of other scores: they are not evaluated")
    inside = next((blob for blob in context.blobs(stage, set_name)[1:] if blob.kind == "crf"), None)
    if inside is not None and (context.dry or context.complete(inside.folder, set_name)):
        inputs["crf inside"] = digest(inside.folder)
        sources.append((inside.folder, "mat", f"{context.results(stage, set_name, inside.name)}/post_none"))
    if labels is not None and (seen := context.seen(stage, set_name)):
        notes.append(seen)
    classes = _classes(context)
    inputs["options"] = digest(f"{find_classes(classes).names} {settings.trimap}")
    dataset = "VOC2012" if settings.exp == "voc12" else settings.exp
    outputs, commands = [], []
    for folder, kind, out in sources:
        words = ["eval", "--predictions", folder, "--input", kind, "--list", settings.list_file(f"{set_name}_id")]
        pictures = f"{out}/results/{dataset}/Segmentation/comp6_{set_name}_cls"
        outputs += [f"{pictures}/{name}.png" for name in context.lists.ids(set_name)]
        words += ["--save-png", pictures, "--classes", classes, "--images", str(context.images(set_name))]
        if labels is not None:
            words += ["--labels", str(labels), "--title", f"{settings.net_id} {set_name} {Path(out).name}"]
            words += [*(["--trimap", settings.trimap] if settings.trimap else [])]
            endings = ["json", "markdown", "html", *(["plot"] if importlib.util.find_spec("matplotlib") else [])]
            for ending in endings:
                outputs.append(f"{out}/eval.{ {'markdown': 'md', 'plot': 'png'}.get(ending, ending) }")
                words += [f"--{ending}", outputs[-1]]
        commands.append(words)
    if labels is None:
        notes.append(f"{set_name} has no labels: results are saved as PNG, nothing is evaluated")
    return ExperimentStep(f"eval{stage}-{set_name}", inputs, outputs, commands, notes)


def _params(context: StepContext, searching: bool) -> tuple[CRFParams, str]:
    settings = context.settings
    if settings.crf is not None:
        params = _simple(CRFParams.named(settings.crf))
        if settings.crf.lower().endswith(".json"):
            return params, settings.crf
        preset = find_preset(settings.crf)
        return params, f"{preset.name} ({preset.source})"
    marker = context.marker("crf-search")
    if marker.finished() and marker.read()["inputs"]["features"] == context.features_key("", settings.searched):
        best = next(iter(marker.read()["outputs"]))
        return _simple(CRFParams.from_file(settings.path(best))), f"searched on {settings.searched}, {best}"
    later = "; the search before this step may find others" if searching and context.dry else ""
    model = Path(settings.model).name
    # A recipe that has no preset of its own uses its network's.
    for name in (str(settings.net_id), model, BASES.get(model, model), BASES.get(str(settings.net_id), model)):
        try:
            preset = find_preset(name)
        except CRFError:
            continue
        return CRFParams.for_model(name), f"preset {preset.name} ({preset.source}){later}"
    preset = find_preset("refine_pascal_v4")
    return CRFParams.for_model(preset.name), f"{preset.source}: no preset is known for {settings.net_id}{later}"


def _simple(params: CRFParams) -> CRFParams:
    try:
        params.by_axis()
    except CRFError as exc:
        raise ExperimentError("the flow needs CRF parameters of one smoothness and one appearance kernel") from exc
    return params


def _folder(params: CRFParams) -> str:
    found = params.by_axis()
    return (
        f"post_densecrf_W{found.bi_w:g}_XStd{found.bi_xy_std[0]:g}_RStd{found.bi_rgb_std[0]:g}"
        f"_PosW{found.pos_w:g}_PosXStd{found.pos_xy_std[0]:g}"
    )


def _digits(number: float) -> str:
    """Return a number in full; whole numbers have no decimal point."""
    return repr(float(number)).removesuffix(".0")


def _classes(context: StepContext) -> str:
    settings = context.settings
    if settings.classes is not None:
        known = settings.classes in KNOWN
        return settings.classes if known else str(Path(settings.classes).absolute())
    if settings.exp in KNOWN:
        return settings.exp
    for folder in (Path(settings.model), settings.data_root / "list"):
        if (folder / BESIDE).is_file():
            return str((folder / BESIDE).absolute())
    raise ExperimentError(f"the names of the classes of {settings.exp} are not known: say --classes FILE")


def _labels_key(context: StepContext, set_name: str, labels: Path | None) -> str:
    if labels is None:
        return "none"
    return digest("\n".join(file_digest(labels / f"{name}.png") for name in context.lists.ids(set_name)))
