"""The parts of the site beside ``docs/``: the API's pages, the command line, files of the repository, and links.

mkdocs calls these functions (``hooks`` in mkdocs.yml). Nothing is written into the checkout.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).resolve().parent.parent

# Each has a page of its public names; modules with a dot are added to the page of their room.
API = {
    "crf": ["crf", "crf.module"],
    "segmentation": ["segmentation"],
    "net": ["net"],
    "inference": ["inference"],
    "solver": ["solver"],
    "evaluation": ["evaluation"],
    "crf_search": ["crf_search.search", "crf_search.grid"],
    "convert": ["convert"],
    "weak": ["weak.boxes"],
    "data": ["data"],
    "proto": ["proto"],
    "viz": ["viz"],
    "zoo": ["zoo"],
    "ops": [],
    "layers": [],
    "pycaffe": ["pycaffe"],
    "pydensecrf": ["pydensecrf.densecrf", "pydensecrf.utils", "pydensecrf.eigen"],
    "errors": ["errors"],
}
# Files of the repository that are pages too, under repository/.
COPIED = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "examples/**/*.*", "deeplab_caffe/zoo/*/*.md")
PAGE_LIKE = (".md", ".jpg", ".png", ".svg")
NOTEBOOKS = "examples/notebooks"


def _modules(room: str) -> list[str]:
    """Return the modules on a room's page: those of API, or all of the folder."""
    files = sorted(ROOT.glob(f"deeplab_caffe/{room}/[a-z]*.py"))
    return API[room] or [f"{room}.{path.stem}" for path in files]


def _api_page(room: str) -> str:
    """Return a page with the docstrings of a room's modules."""
    blocks = (f"::: deeplab_caffe.{module}\n" for module in _modules(room))
    return f"# deeplab_caffe.{room}\n\n" + "\n".join(blocks)


def _command_line() -> str:
    """Return the help of each verb, under a heading of its own."""
    import click

    from deeplab_caffe.cli import cli

    group, texts = click.Context(cli, info_name="deeplab-caffe"), []
    for verb in cli.list_commands(group):
        command = cli.get_command(group, verb)
        assert command is not None
        context = click.Context(command, group, verb, max_content_width=98, terminal_width=98)
        texts.append(f"## {verb}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(texts)


def _copied() -> list[str]:
    """Return the paths of COPIED in the repository."""
    found = [path for pattern in COPIED for path in sorted(ROOT.glob(pattern)) if path.suffix in PAGE_LIKE]
    return [path.relative_to(ROOT).as_posix() for path in found]


def _notebooks() -> dict[str, str]:
    """Return the notebooks as pages: Markdown by the page's path on the site."""
    pages = {}
    for path in sorted(ROOT.glob(f"{NOTEBOOKS}/*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = [("".join(cell["source"]), cell["cell_type"] == "code") for cell in cells]
        text = "\n\n".join(f"```python\n{source}\n```" if code else source for source, code in texts)
        pages[f"repository/{NOTEBOOKS}/{path.stem}.md"] = f"{text}\n\n`{NOTEBOOKS}/{path.name}` in the repository.\n"
    return pages


def _placed(nav: Any) -> set[str]:
    """Return the pages that a nav names, at any depth."""
    parts = nav.values() if isinstance(nav, dict) else nav
    return {nav} if isinstance(nav, str) else set().union(*map(_placed, parts))


def on_config(config: Any) -> Any:
    """Complete the nav: the API's pages, pages of ``docs/`` that it does not name, the notebooks, the repository's."""
    config.markdown_extensions.append(_doctest_extension())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    config.repo_url = config.repo_url or project.get("urls", {}).get("Repository")
    sections = {name: pages for section in config.nav for name, pages in section.items()}
    sections["Reference"].append({"API": [{room: f"api/{room}.md"} for room in API]})
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    sections["How to"] += [page for page in pages if page not in _placed(config.nav)]
    sections["How to"].append({"Notebooks": list(_notebooks())})
    config.nav.append({"Project": [f"repository/{path}" for path in _copied() if path.endswith(".md")]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in ``docs/``."""
    from mkdocs.structure.files import File

    for room in API:
        files.append(File.generated(config, f"api/{room}.md", content=_api_page(room)))
    for path, text in _notebooks().items():
        files.append(File.generated(config, path, content=text))
    for path in _copied():
        files.append(File.generated(config, f"repository/{path}", abs_src_path=str(ROOT / path)))
    return files


def _source(path: str) -> str | None:
    """Return the page and anchor of a module's file, such as ``deeplab_caffe/layers/crf.py``, if it has one."""
    _, _, inside = path.removesuffix(".py").partition("deeplab_caffe/")
    module = inside.replace("/", ".")
    room = module.partition(".")[0]
    return f"api/{room}.md#deeplab_caffe.{module}" if room in API and module in _modules(room) else None


def site_target(page: str, target: str, files: Any, url: str | None) -> str | None:
    """Return the target of a page's relative link on the site.

    Args:
        page: path of the page on the site, such as ``crf.md`` or ``repository/SECURITY.md``.
        target: target of the link in the repository, without its anchor.
        files: mkdocs' files, by their paths on the site.
        url: URL of the repository, if it has one.

    Returns:
        The new target; None if the file is not on the site and the repository has no address.
    """
    prefix = "repository/"
    here = page.removeprefix(prefix) if page.startswith(prefix) else f"docs/{page}"
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
    found = path.removeprefix("docs/") if path.startswith("docs/") else prefix + path
    found = found.replace(".ipynb", ".md")
    if files.get_file_from_path(found) is None:
        source = _source(path)
        if source is None:
            return f"{url}/blob/main/{path}" if url else None
        found = source
    return posixpath.relpath(found, posixpath.dirname(page) or ".")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Change links to files of the repository to the site's pages, or to plain text; add the verbs' help."""
    here = page.file.src_uri
    if here == "command-line.md":
        markdown += "\n" + _command_line()

    def changed(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        found = site_target(here, target, files, config.repo_url)
        return text if found is None else f"[{text}]({found}{anchor if '#' not in found else ''})"

    return re.sub(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)", changed, markdown)


def fenced(lines: list[str]) -> list[str]:
    """Return lines with fences around examples (``>>> code`` up to an empty line), which Markdown takes for quotes."""
    result: list[str] = []
    is_example = is_fenced = False
    for line in lines:
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        if not is_fenced and not is_example and line.startswith(">>> "):
            is_example = True
            result.append("```pycon")
        elif is_example and not line.strip():
            is_example = False
            result.append("```")
        result.append(line)
    return [*result, "```"] if is_example else result


def _doctest_extension() -> Any:
    """Return a Markdown extension that does what :func:`fenced` does, before fences are looked for."""
    from markdown.extensions import Extension
    from markdown.preprocessors import Preprocessor

    class Examples(Preprocessor):  # type: ignore[misc]  # Markdown has no types
        def run(self, lines: list[str]) -> list[str]:
            return fenced(lines)

    class Doctests(Extension):  # type: ignore[misc]
        def extendMarkdown(self, md: Any) -> None:  # Markdown's name
            md.preprocessors.register(Examples(md), "examples", 40)

    return Doctests()


def on_page_content(html: str, **_: Any) -> str:
    """Make links of the roles in docstrings (``:func:`name```), where the name has an entry on the site."""

    def changed(match: re.Match[str]) -> str:
        name = match[1].lstrip("~")
        shown = name.rpartition(".")[2] if match[1].startswith("~") else name
        return f'<autoref optional identifier="{name}"><code>{shown}</code></autoref>'

    return re.sub(r":(?:attr|class|data|exc|func|meth|mod|obj):<code>([^<]+)</code>", changed, html)
