"""Settings for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# A property test has no time limit: the machines are shared.
settings.register_profile("shared_machine", deadline=None)
settings.load_profile("shared_machine")


@pytest.fixture
def no_tf32() -> Iterator[None]:
    """Float32 all through: torch lets cuDNN's convolutions round to ten bits, too few to compare with the CPU's."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
