"""The tie points against what is physically possible, on made scenes: benchmarks/accuracy.py in small."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SHIFT_PX = (0.37, -1.21)


@pytest.fixture(scope="module")
def bench():
    """benchmarks/optics.py and peers.py, which are no package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield tuple(importlib.import_module(name) for name in ("optics", "peers"))
    finally:
        sys.path.remove(str(BENCHMARKS))


def measured(bench, condition, window_px=64, scene="landscape3"):
    """Errors (N, 2) of the kept windows, their covariances, the bounds, and the share kept."""
    optics, peers = bench
    case = optics.make_case(scene, condition, window_px, SHIFT_PX, seed=1)
    found = peers.ours(case)
    error = (found.shift_px - case.shift_px)[found.kept]
    return error, found.cov_px[found.kept], case.bound_px[found.kept], found.kept.mean()


@pytest.mark.parametrize(("window_px", "mtf"), [(64, 0.1), (64, 0.2), (128, 0.2)])
def test_the_same_band_is_matched_at_the_cramer_rao_bound(bench, window_px, mtf):
    optics, _ = bench
    errors = [measured(bench, optics.with_sensors(optics.CONDITIONS[0], mtf, 30.0), window_px, scene)
              for scene in ("landscape3", "landscape8")]  # fmt: skip
    error, bound = (np.concatenate([part[k] for part in errors]) for k in (0, 2))
    rmse, least = np.sqrt((error**2).mean()), np.sqrt(np.trace(bound, axis1=1, axis2=2).mean() / 2)
    assert rmse < 1.35 * least
    assert rmse < 0.002 * (128 / window_px)


CONDITIONS = ["noisy 20 dB", "gamma 0.5", "inversion", "local inversion", "cloud 30 %", "cloud 50 %", "changed 30 %",
              "bands red/green", "bands red/nir", "stripes", "same stripes", "half masked"]  # fmt: skip


@pytest.mark.parametrize("name", CONDITIONS)
def test_errors_are_small_and_as_large_as_stated(bench, name):
    optics, _ = bench
    condition = next(c for c in optics.CONDITIONS + optics.MASKED if c.name == name)
    error, cov, _, kept = measured(bench, condition)
    assert kept > 0.9
    assert (np.hypot(*error.T) < 0.5).all()
    assert np.sqrt((error**2).mean()) < (0.15 if name == "bands red/nir" else 0.02)
    z = np.linalg.solve(np.linalg.cholesky(cov), error[..., None])
    assert 0.6 < z.std() < 1.6  # 72 numbers of one image
