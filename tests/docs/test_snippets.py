"""What README.md and docs/*.md show is true: snippets run, command lines parse, names, flags and links exist."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_caffe import NetError, pycaffe
from deeplab_caffe.cli import VERBS, cli
from tests.docs.pages import (
    PAGES,
    ROOT,
    Command,
    Snippet,
    anchors,
    commands,
    dotted_names,
    flags,
    flags_of_verbs,
    has_snippets,
    links,
    links_to_anchors,
    page_name,
    snippets,
)
from tests.nets import conv, inputs, layer, relu

# A net with the blobs that the pages name: 513 x 513 gives 65 x 65 scores of 21 classes, and fc8_interp 513 x 513.
DEPLOY = (
    'name: "small"\n'
    + inputs(data=(1, 3, 65, 65))
    + layer("POOLING", "pool", "data", "pool", "pooling_param { pool: AVE kernel_size: 3 stride: 8 pad: 1 }")
    + conv("fc7", "pool", out=4)
    + relu("relu7", "fc7")
    + conv("fc8_voc12", "fc7", out=21, kernel=1)
    + layer("INTERP", "fc8_interp", "fc8_voc12", "fc8_interp", "interp_param { zoom_factor: 8 }")
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the snippets name."""
    folder = tmp_path_factory.mktemp("files")
    folder.joinpath("deploy.prototxt").write_text(DEPLOY)
    pycaffe.Net(str(folder / "deploy.prototxt"), pycaffe.TEST).save(str(folder / "x.caffemodel"))
    Image.open(ROOT / "deeplab_caffe" / "zoo" / "china.jpg").crop((0, 0, 80, 60)).save(folder / "photo.jpg")
    mask = Image.new("L", (80, 60))
    mask.paste(255, (20, 10, 60, 50))
    mask.save(folder / "mask.png")
    folder.joinpath("val_id.txt").write_text("a\nb\n")
    for number, name in enumerate("ab"):
        labels = Image.new("P", (30, 20), number)
        labels.putpalette(range(256))
        for place in ("res/val", "VOC2012/SegmentationClass"):
            folder.joinpath(place).mkdir(parents=True, exist_ok=True)
            labels.save(folder / place / f"{name}.png")
    voc = folder / "VOCdevkit" / "VOC2012"
    for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        voc.joinpath(place).mkdir(parents=True)
    Image.open(folder / "photo.jpg").save(voc / "JPEGImages" / "a.jpg")
    for path in (voc / "SegmentationClass" / "a.png", folder / "labels.png"):
        labels.resize((80, 60)).save(path)
    voc.joinpath("ImageSets/Segmentation/val.txt").write_text("a\n")
    return folder


def given(page: str) -> dict[str, Any]:
    """What a page's snippets take as given, by the names that they use."""
    numbers = np.random.default_rng(0)
    image = numbers.integers(0, 256, (24, 32, 3), np.uint8)
    scores = numbers.standard_normal((5, 24, 32)).astype(np.float32)
    softmax = np.exp(scores) / np.exp(scores).sum(0)
    photos = numbers.integers(0, 256, (2, 375, 500, 3), np.uint8)
    blob = torch.zeros(1, 3, 513, 513)
    names: dict[str, dict[str, Any]] = {
        "README.md": {"image": image, "x": blob.numpy()},
        "docs/guide.md": {"photos": photos, "blob": blob, "x": blob.numpy(), "scores": scores, "image": image},
        "docs/crf.md": {
            "scores": scores,
            "softmax": softmax,
            "energies": -np.log(softmax),
            "foreground": softmax[:1],
            "image": image,
            **{f"scores_{one}": scores for one in "ab"},
            **{f"image_{one}": image for one in "ab"},
            "several": [scores, scores],
        },
        "docs/crf-parameters.md": {"scores": scores, "image": image},
        "docs/moving.md": {"scores": scores, "softmax": softmax, "image": image},
        "docs/inference.md": {"photos": photos[:, :60, :80], "blob": blob},
    }
    return names.get(page, {})


@pytest.mark.parametrize("page", [path for path in PAGES if has_snippets(path)], ids=page_name)
def test_snippets_run(page: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's snippets run one after the other, each with what is given and the names of those before."""
    for path in files.iterdir():
        tmp_path.joinpath(path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in snippets(page):
        names |= given(page_name(page))
        if snippet.reason:
            compile(snippet.code, str(page), "exec")
            assert missing_names(snippet) == []
        else:
            run(snippet.code, page, names)


def run(code: str, page: Path, names: dict[str, Any]) -> None:
    """Run a snippet; where this processor has no bfloat16, in float32."""
    try:
        exec(compile(code, str(page), "exec"), names)
    except NetError as error:
        if "dtype bfloat16: this processor" not in str(error):
            raise
        exec(compile(code.replace("bfloat16", "float32"), str(page), "exec"), names)


def source_names(module: str) -> set[str]:
    """Names that a module's file defines or imports, for a module that cannot be imported here."""
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {one.id for one in node.targets if isinstance(one, ast.Name)}
    return names


def has_name(module: str, name: str) -> bool:
    """Whether the package's module has a name, or a module of that name in it; modules that lack a library too."""
    try:
        if hasattr(importlib.import_module(module), name):
            return True
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("deeplab_caffe"):
            return False
        return name in source_names(module) or importlib.util.find_spec(f"{module}.{name}") is not None
    return True


def missing_names(snippet: Snippet) -> list[str]:
    """Names of the package that a snippet imports, or takes from a module that it imports, and that do not exist."""
    tree, modules, missing = ast.parse(snippet.code), {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deeplab_caffe"):
            for alias in node.names:
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                if not has_name(node.module or "", alias.name):
                    missing.append(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            modules |= {a.asname or a.name: a.name for a in node.names if a.name.startswith("deeplab_caffe")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            module = modules[node.value.id]
            if is_module(module) and not has_name(module, node.attr):
                missing.append(f"{module}.{node.attr}")
    return missing


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_missing_names_by_hand() -> None:
    code = "from deeplab_caffe import crf, nothing\nimport deeplab_caffe as dc\n"
    code += "crf.dense_crf\ncrf.sparse_crf\ndc.Net\ndc.Nat\n"
    expected = ["deeplab_caffe.nothing", "deeplab_caffe.crf.sparse_crf", "deeplab_caffe.Nat"]
    assert sorted(missing_names(Snippet("", code, ""))) == sorted(expected)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_names_exist(page: Path) -> None:
    assert [name for name in dotted_names(page) if not exists(name)] == []


def exists(dotted: str) -> bool:
    """Whether a name such as ``deeplab_caffe.crf.DenseCRF.infer`` exists."""
    module, *names = dotted.split(".")
    while names and is_module(f"{module}.{names[0]}"):
        module = f"{module}.{names.pop(0)}"
    if not names:
        return True
    if not has_name(module, names[0]):
        return False
    if len(names) == 1:
        return True
    found = getattr(importlib.import_module(module), names[0])
    for name in names[1:]:
        # An annotated field of a class need not be an attribute of it.
        if not hasattr(found, name) and name not in getattr(found, "__annotations__", {}):
            return False
        found = getattr(found, name, None)
    return True


ALL_COMMANDS = [command for page in PAGES for command in commands(page)]


def complaint(command: Command) -> str | None:
    """What is wrong with a command line, or None; whether its files exist is not asked."""
    verb, *words = command.words
    if verb.startswith("-") or verb == "VERB":
        return None
    if verb not in VERBS:
        return f"no verb {verb}"
    found = cli.get_command(click.Context(cli), verb)
    assert found is not None
    complete = command.complete and "..." not in words
    context = click.Context(found, info_name=verb)
    try:
        values, rest, _ = found.make_parser(context).parse_args([word for word in words if word != "..."])
    except click.UsageError as error:
        return error.format_message()
    if rest:
        return f"too many arguments: {' '.join(rest)}"
    for param in found.params:
        value = values.get(param.name)
        is_given = value is not None and value != () and "Sentinel" not in type(value).__name__
        if not is_given:
            if complete and param.required:
                return f"{param.opts[0]} is missing"
        elif not isinstance(param.type, (click.Path, click.File)):
            # A word in capitals stands for a value.
            texts = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else []
            if any(isinstance(text, str) and re.fullmatch(r"[A-Z_]+|\.\.\.", text) for text in texts):
                continue
            try:
                param.type_cast_value(context, value)
            except click.UsageError as error:
                return error.format_message()
    return None


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=lambda command: f"{command.where}-{command.words[0]}")
def test_commands_parse(command: Command) -> None:
    assert complaint(command) is None, " ".join(command.words)


@pytest.mark.parametrize("verb", VERBS)
def test_examples_of_help_parse(verb: str) -> None:
    """The line that ``deeplab-caffe VERB --help`` ends with."""
    words = (verb, *shlex.split(VERBS[verb].example))
    assert complaint(Command("--help", words, complete=True)) is None


def test_complaints_by_hand() -> None:
    def of(line: str) -> str:
        return complaint(Command("", tuple(line.split()), complete=True)) or ""

    assert "nothing" in of("nothing --at all")
    assert "--nothing" in of("net deploy.prototxt --nothing")
    assert "too many" in of("net deploy.prototxt another.prototxt")
    assert "missing" in of("train --log x.jsonl")
    assert "twenty" in of("time --model x.prototxt --iterations twenty")
    assert of("time --model x.prototxt --iterations 20") == ""
    assert of("net ...") == ""


def known_flags() -> set[str]:
    """Flags of every verb, and of the scripts beside the package."""
    known = {"--help", "--version"}
    for verb in VERBS:
        found = cli.get_command(click.Context(cli), verb)
        assert found is not None
        known |= {flag for param in found.params for flag in (*param.opts, *param.secondary_opts)}
    for path in (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("examples/**/*.py")):
        known |= set(re.findall(r'"(--[a-z][\w-]*)', path.read_text(encoding="utf-8")))
    return known


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_flags_exist(page: Path) -> None:
    assert sorted(set(flags(page)) - known_flags()) == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_verbs_have_the_flags_that_are_named_with_them(page: Path) -> None:
    missing = []
    for verb, flag in flags_of_verbs(page):
        found = cli.get_command(click.Context(cli), verb) if verb in VERBS else None
        params = found.params if found is not None else []
        if found is not None and flag not in {one for param in params for one in (*param.opts, *param.secondary_opts)}:
            missing.append(f"{verb} {flag}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_anchors_exist(page: Path) -> None:
    assert [
        f"{target.name}#{anchor}" for target, anchor in links_to_anchors(page) if anchor not in anchors(target)
    ] == []


def test_anchors_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# `net.optimize`, in full\n\n```\n# no heading\n```\n\n## [A link](x.md) (v2)\n\n[a](#a-link-v2) [b](x.md#b)\n"
    )
    assert anchors(page) == {"netoptimize-in-full", "a-link-v2"}
    assert links_to_anchors(page) == [(page, "a-link-v2"), (tmp_path / "x.md", "b")]
