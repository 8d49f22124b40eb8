"""The package's version: pyproject.toml reads it here, and rooms import it from here, not from the face above them."""

from __future__ import annotations

__version__ = "0.1.0"
