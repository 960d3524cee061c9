"""What several test files share: the sample tiles and one alignment of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import georeg

SAMPLES = Path(__file__).resolve().parents[1] / "sample_tiles"


@pytest.fixture(scope="session")
def shift_pair() -> tuple[str, str]:
    """Reference and target of the sample pair that is moved by a translation."""
    return str(SAMPLES / "shift_reference.tif"), str(SAMPLES / "shift_target.tif")


@pytest.fixture(scope="session")
def shift_alignment(shift_pair: tuple[str, str]) -> georeg.Alignment:
    """Their alignment, matched once."""
    return georeg.align(*shift_pair)
