"""Write the folders of ``prototxt/`` that come from Python: ``python -m tools.networks``.

With ``--check`` nothing is written, and the exit status is 1 if a file is not current.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.networks import (
    deeplab_attention_vgg16,
    deeplab_dt_edgenet,
    deeplab_lite0,
    deeplab_resnet101,
    deeplab_v3,
    deeplab_vgg16,
)

ROOT = Path(__file__).resolve().parent.parent.parent / "prototxt"
MODULES = (deeplab_vgg16, deeplab_resnet101, deeplab_attention_vgg16, deeplab_dt_edgenet, deeplab_v3, deeplab_lite0)


def files() -> dict[str, str]:
    """Return all texts by their paths in ``prototxt/``."""
    return {path: text for module in MODULES for path, text in module.files().items()}


def main(arguments: list[str] | None = None) -> int:
    """Write the networks' prototxts, or check them; the exit status is 1 if one is not current."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is not current")
    check = parser.parse_args(arguments).check
    status = 0
    for name, text in files().items():
        path = ROOT / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            print(f"prototxt/{name} is not current: run `make networks` and commit it", file=sys.stderr)
            status = 1
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
