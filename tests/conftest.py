"""Settings for all tests."""

from __future__ import annotations

from collections import Counter
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sum up the skipped tests in a line, the most frequent reasons first; ``-rs`` lists them."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    if reasons:
        first = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
        more = f"; and {len(reasons) - 3} more reasons" if len(reasons) > 3 else ""
        terminalreporter.write_line(f"skipped: {first}{more} (-rs lists them)")
