"""The package's version. pyproject.toml reads it here; rooms import it from here, not from the package."""

from __future__ import annotations

__version__ = "0.1.0"
