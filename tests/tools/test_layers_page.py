from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe import proto
from deeplab_caffe.layers import LAYERS
from tools import layers_page

NET = 'input: "x" input_dim: 1 input_dim: 1 input_dim: 4 input_dim: 4\n'


class Example:
    """Twice x; see :func:`deeplab_caffe.ops.twice` | not (layers/twice_layer.cpp). More.

    Like layers/thrice_layer.cu, by Doe et al. And more.
    """


def test_what_a_docstring_tells() -> None:
    assert layers_page.source_of(Example) == "layers/twice_layer.cpp, layers/thrice_layer.cu"
    Example.__doc__ = "Resizes (Doe et al. 2006, in part; layers/a_layer.cpp). More."
    assert layers_page.summary_of(Example) == "Resizes (Doe et al. 2006, in part)"
    Example.__doc__ = "Twice | thrice, of ``x`` (layers/a_layer.cpp); see :func:`b`."
    assert layers_page.summary_of(Example) == r"Twice \| thrice, of `x`"


@pytest.mark.parametrize("text", ['layers { name: "a" type: RELU }', 'layer { name: "a" type: "ReLU" }'])
def test_types_of_both_forms(text: str) -> None:
    assert layers_page.layer_types(proto.parse_net(NET + text)) == {"ReLU"}


@pytest.mark.parametrize("layer_type", LAYERS)
def test_every_layer_names_its_source(layer_type: str) -> None:
    cls = LAYERS[layer_type]
    assert layers_page.source_of(cls), f"{cls.__module__}.{cls.__name__}: its docstring names no layers/*.cpp"
    assert layers_page.summary_of(cls)


def test_cases_come_from_the_folders_that_are_there(tmp_path: Path) -> None:
    for name, layers in (("b", "ReLU"), ("a", "ReLU"), ("big", "ReLU TanH"), ("broken", "")):
        folder = tmp_path / "golden" / name
        folder.mkdir(parents=True)
        folder.joinpath("case.json").write_text("{}")
        text = "".join(f'layer {{ name: "{one}" type: "{one}" bottom: "x" top: "{one}" }}' for one in layers.split())
        folder.joinpath("net.prototxt").write_text(NET + text if text else "nonsense")
    cases = layers_page.cases_here("", tmp_path)
    assert cases["golden v1"]["ReLU"] == "a, b, big"
    assert cases["golden v1"]["TanH"] == "big"
    assert cases["golden v2"] == {}
    # A checkout without the folders keeps what the page has.
    text = layers_page.page(cases)
    assert layers_page.cases_here(text, tmp_path / "nothing")["golden v1"] == cases["golden v1"]
    assert layers_page.page(layers_page.cases_here(text, tmp_path / "nothing")) == text


def test_the_page_is_current() -> None:
    assert layers_page.main(["--check"]) == 0, "run `make docs-table` and commit docs/layers.md"
