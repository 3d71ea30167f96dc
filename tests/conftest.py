"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says how busy the machine is: no test is about that.
settings.register_profile("frostline", deadline=None)
settings.load_profile("frostline")
