"""Memory that was freed is used again, for the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from georeg.memory import keep_pages

TURNS, N_BYTES = 50, 4 * 2**20
CODE = f"""
import resource, sys
import numpy as np
from georeg.memory import keep_pages
if "keep" in sys.argv: keep_pages()
for turn in range({TURNS} + 1):
    if turn == 1: before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones({N_BYTES} // 4, np.uint8) for _ in range(4)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc that is told")
def test_pages_are_asked_for_once():
    new, kept = (
        int(subprocess.run([sys.executable, "-c", CODE, *more], capture_output=True, check=True, timeout=60).stdout)
        for more in ([], ["keep"])
    )
    assert new > TURNS * N_BYTES / 4096 / 2  # else there is nothing to keep
    assert kept < 0.05 * new


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_elsewhere_nothing_is_told(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("ctypes.CDLL", None)
    keep_pages()
