"""Links and examples of the site's pages, by hand; mkdocs itself is not needed."""

from __future__ import annotations

from tools.docs_site import API, _modules, fenced, on_page_content, site_target


class Files:
    """mkdocs' files, as far as they are asked."""

    def get_file_from_path(self, path: str) -> object | None:
        return path if path in ("crf.md", "repository/SECURITY.md", "repository/examples/notebooks/mask.md") else None


def test_targets() -> None:
    def of(page: str, target: str, url: str | None = None) -> str | None:
        return site_target(page, target, Files(), url)

    assert of("guide.md", "crf.md") == "crf.md"
    assert of("guide.md", "../SECURITY.md") == "repository/SECURITY.md"
    assert of("guide.md", "../examples/notebooks/mask.ipynb") == "repository/examples/notebooks/mask.md"
    assert of("repository/examples/a/README.md", "../../docs/crf.md") == "../../../crf.md"
    assert of("layers.md", "../deeplab_caffe/layers/crf.py") == "api/layers.md#deeplab_caffe.layers.crf"
    assert of("guide.md", "../prototxt") is None
    assert of("guide.md", "../prototxt", "https://host/name") == "https://host/name/blob/main/prototxt"


def test_examples_are_fenced() -> None:
    assert fenced(["a", "", ">>> f()", "1", "", "b"]) == ["a", "", "```pycon", ">>> f()", "1", "```", "", "b"]
    assert fenced([">>> f()"]) == ["```pycon", ">>> f()", "```"]
    assert fenced(["```", ">>> f()", "```"]) == ["```", ">>> f()", "```"]


def test_roles_become_links() -> None:
    html = on_page_content("see :func:<code>~deeplab_caffe.crf.dense_crf</code>")
    assert html == 'see <autoref optional identifier="deeplab_caffe.crf.dense_crf"><code>dense_crf</code></autoref>'


def test_every_room_has_modules() -> None:
    assert [room for room in API if not _modules(room)] == []
