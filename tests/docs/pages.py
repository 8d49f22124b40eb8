"""What README.md and docs/*.md show: snippets of Python, command lines, names, links."""

from __future__ import annotations

import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.torchvision_models import define_operators

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("examples/**/README.md")),
    *sorted(ROOT.glob("deeplab_caffe/zoo/*/MODEL_CARD.md")),
]


@dataclass(frozen=True)
class Snippet:
    """One fenced block of Python.

    Attributes:
        where: page and line of its first line of code.
        code: the text, with empty lines before it so that a traceback gives the page's line.
        reason: why it is not run, from ``<!-- not run: REASON -->`` before it, or what is not installed of
            ``<!-- needs: MODULE, MODULE -->``; empty if it is.
    """

    where: str
    code: str
    reason: str


@dataclass(frozen=True)
class Command:
    """One command line of ``deeplab-caffe``.

    Attributes:
        where: page and line.
        words: the arguments after ``deeplab-caffe``.
        complete: it is shown as a line to be typed, or has two flags, so that it must have what the verb requires.
    """

    where: str
    words: tuple[str, ...]
    complete: bool


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def snippets(path: Path) -> list[Snippet]:
    """The page's blocks of Python, in order."""
    text = path.read_text(encoding="utf-8")
    found = []
    mark = r"(?:<!-- not run: (?P<reason>[^>]+) -->\n+|<!-- needs: (?P<needs>[^>]+) -->\n+)?"
    for match in re.finditer(mark + r"```python\n(?P<code>.*?)^```$", text, re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, match.start("code")) + 1
        reason = match["reason"] or _not_installed(match["needs"] or "")
        found.append(Snippet(f"{page_name(path)}:{line}", "\n" * (line - 1) + match["code"], reason))
    return found


def has_snippets(path: Path) -> bool:
    """Whether the page has blocks of Python: without what :func:`snippets` imports, which may end a process."""
    return "```python\n" in path.read_text(encoding="utf-8")


def _not_installed(modules: str) -> str:
    """Which of some modules, with commas between, cannot be imported here."""
    missing = []
    define_operators()
    for name in filter(None, re.split(r",\s*", modules)):
        try:
            importlib.import_module(name)
        except (ImportError, RuntimeError) as error:
            missing.append(f"{name}: {error}")
    return "; ".join(missing)


def _words(line: str) -> tuple[str, ...] | None:
    """The arguments of a line that calls ``deeplab-caffe``, else None."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    if words[:1] == ["deeplab-caffe"]:
        return tuple(words[1:])
    if "torchrun" in words[:1] and "deeplab_caffe" in words:
        return tuple(words[words.index("deeplab_caffe") + 1 :])
    return None


def commands(path: Path) -> list[Command]:
    """The page's command lines: indented or fenced lines, and ``code`` in the text."""
    text = path.read_text(encoding="utf-8")
    found = []
    joined = re.sub(r"\\\n\s*", lambda match: " " * len(match[0]), text)
    for match in re.finditer(r"^(?: {4})?((?:deeplab-caffe|torchrun) .*)$", joined, re.MULTILINE):
        words = _words(match[1])
        if words:
            found.append(Command(f"{page_name(path)}:{text.count(chr(10), 0, match.start()) + 1}", words, True))
    for match in re.finditer(r"`(deeplab-caffe\s[^`]*)`", text):
        words = _words(match[1].replace("\n", " "))
        if words:
            complete = sum(word.startswith("--") for word in words) > 1
            found.append(Command(f"{page_name(path)}:{text.count(chr(10), 0, match.start()) + 1}", words, complete))
    return found


def dotted_names(path: Path) -> list[str]:
    """Names such as ``deeplab_caffe.crf.DenseCRF`` and ``dc.Net`` that the page mentions, in full."""
    text = re.sub(r"\]\([^)]*\)|<https?:[^>]*>", "", path.read_text(encoding="utf-8"))
    names = re.findall(r"(?<![\w./-])(?:deeplab_caffe|dc)(?:\.[A-Za-z_]\w*)+", text)
    full = {re.sub(r"^dc\.", "deeplab_caffe.", name) for name in names}
    return sorted(name for name in full if name.rpartition(".")[2] not in ("py", "pyi", "cpp", "md", "so"))


def links(path: Path) -> list[str]:
    """Targets of the page's links to files of the repository, without anchors."""
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    return sorted({target.partition("#")[0] for target in targets if not re.match(r"\w+:|#", target)})


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as the hosting sites and mkdocs make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def links_to_anchors(path: Path) -> list[tuple[Path, str]]:
    """Page and anchor of the page's links that have an anchor and stay in the repository."""
    targets = re.findall(r"\]\(([^)\s]*)#([^)\s]+)\)", path.read_text(encoding="utf-8"))
    return [(path.parent / page if page else path, anchor) for page, anchor in targets if not re.match(r"\w+:", page)]


def flags(path: Path) -> list[str]:
    """Flags such as ``--crf`` that the page names by themselves, as code."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return sorted(set(re.findall(r"`(--[a-z][\w-]*)[^`]*`", text)))


def flags_of_verbs(path: Path) -> list[tuple[str, str]]:
    """Verbs with a flag of theirs that the page names as code: ``train --log``."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([a-z][a-z-]*)(\s[^`]*)`", text)
    return [(verb, flag) for verb, rest in spans for flag in re.findall(r"(?<=\s)--[a-z][\w-]*", rest)]
