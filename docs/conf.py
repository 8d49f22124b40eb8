"""Sphinx: the site of docs/ and of the docstrings (``make docs``).

Sphinx, as the docstrings link to each other by its roles (``:func:`...```).
"""

from __future__ import annotations

from deeplab_caffe import __version__

project = "deeplab-caffe"
version = release = __version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["README.md"]  # index.md includes it

# docs/api is made anew by each run, and ignored by git.
apidoc_modules = [
    {
        "path": "../deeplab_caffe",
        "destination": "api",
        "exclude_patterns": ["**/caffe_pb2.py", "../deeplab_caffe/cli"],
        "separate_modules": True,
        "module_first": True,
    },
]
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_mock_imports = ["cupy", "plyvel", "triton"]  # not installed everywhere, and not needed to read a docstring
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # a dataclass's fields are described once

myst_heading_anchors = 3
# Links to files outside docs/ are for readers of the repository.
suppress_warnings = ["myst.xref_missing", "ref.python"]

html_theme = "furo"
html_title = f"deeplab-caffe {release}"
