"""What several test files share: the sample tiles and one alignment of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

import georeg

SAMPLES = Path(__file__).resolve().parents[1] / "sample_tiles"

collect_ignore = ["plugin_driver.py", "plugin_inputs_driver.py", "qgis"]
"""Played inside QGIS by the tests beside them: doctests cannot be looked for in these."""


@pytest.fixture(scope="session")
def shift_pair() -> tuple[str, str]:
    """Reference and target of the sample pair that is moved by a translation."""
    return str(SAMPLES / "shift_reference.tif"), str(SAMPLES / "shift_target.tif")


@pytest.fixture(scope="session")
def shift_alignment(shift_pair: tuple[str, str]) -> georeg.Alignment:
    """Their alignment, matched once."""
    return georeg.align(*shift_pair)


# Hypothesis: few and always the same examples at the gate, more when asked for with HYPOTHESIS_PROFILE=thorough.
settings.register_profile("ci", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
