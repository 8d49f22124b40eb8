"""Import this before torch: if torch is missing, the error says what to install.

Raises:
    ModuleNotFoundError: torch is not installed.
"""

from deeplab_caffe.errors import how_to_install

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    message = f"networks need torch, which is not installed: {how_to_install('torch')}"
    raise ModuleNotFoundError(message, name="torch") from None
