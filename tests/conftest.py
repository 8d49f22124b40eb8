"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# A property test has no time limit: the machines are shared.
settings.register_profile("shared_machine", deadline=None)
settings.load_profile("shared_machine")
