"""The sample pairs are what their generator makes, and their truth is true."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import Affine
from scipy import ndimage, optimize

FOLDER = Path(__file__).resolve().parents[1] / "sample_tiles"
TRUTH: dict[str, Any] = json.loads((FOLDER / "truth.json").read_text(encoding="utf-8"))
PAIRS = TRUTH["pairs"]

CLOUD_DN = {PAIRS["affine"]["target"]: 3400}  # no ground is as bright

Floats: TypeAlias = NDArray[np.float64]


@pytest.fixture(scope="module")
def samples() -> Iterator[ModuleType]:
    """make_samples.py as a module; its folder is no package, so it is on the path for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.syspath_prepend(str(FOLDER))
        for name in ("landscape", "tones", "make_samples"):
            spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
        yield module


def tgt_places(pair: dict[str, Any], spacing_m: float) -> tuple[Floats, Floats]:
    """Centres (N, 2) of clear target pixels in the reference's CRS, thinned out, and their values."""
    with rasterio.open(FOLDER / pair["target"]) as src:
        image = src.read(1).astype(float)
        clouds = image > CLOUD_DN.get(pair["target"], np.inf)
        valid = (src.read_masks(1) > 0) & ~ndimage.binary_dilation(clouds, iterations=15)
        step_px = max(1, round(spacing_m / src.res[0]))
        row, col = (index.ravel() for index in np.mgrid[: src.height : step_px, : src.width : step_px])
        row, col = row[valid[row, col]], col[valid[row, col]]
        at = src.transform  # axis-parallel
        x, y = at.c + at.a * (col + 0.5), at.f + at.e * (row + 0.5)
        to_ref = Transformer.from_crs(src.crs, pair["crs"], always_xy=True)
        return np.stack(to_ref.transform(x, y), axis=1), image[row, col]


@functools.cache
def ref_spline(path: Path, tgt_gsd_m: float) -> tuple[Floats, Affine]:
    """Cubic spline of a reference, blurred as a sensor of `tgt_gsd_m` sees it, and its transform."""
    with rasterio.open(path) as src:
        # Gaussian spreads add in square; 0.62 pixel is what an MTF of 0.15 at the Nyquist frequency means.
        blur_px = 0.62 * np.sqrt((tgt_gsd_m / src.res[0]) ** 2 - 1)
        image = ndimage.gaussian_filter(src.read(1).astype(float), blur_px)
        return np.asarray(ndimage.spline_filter(image, order=3)), src.transform


def ref_values(pair: dict[str, Any], ref_xy: Floats) -> Floats:
    """The reference at map coordinates (N, 2); NaN outside."""
    spline, at = ref_spline(FOLDER / pair["reference"], pair["gsd_m"])
    index = [(ref_xy[:, 1] - at.f) / at.e - 0.5, (ref_xy[:, 0] - at.c) / at.a - 0.5]  # axis-parallel
    return np.asarray(ndimage.map_coordinates(spline, index, order=3, cval=np.nan, prefilter=False))


def likeness(pair: dict[str, Any], ref_xy: Floats, tgt_values: Floats) -> float:
    """Correlation of target values with the reference at the places given for them."""
    seen = ref_values(pair, ref_xy)
    both = np.isfinite(seen)
    return float(np.corrcoef(seen[both], tgt_values[both])[0, 1])


def measured_displacement(pair: dict[str, Any], near_xy: Floats, tgt_xy: Floats, tgt_values: Floats) -> Floats:
    """Displacement (2,) in metres, near a first guess, at which the target is most like the reference."""
    simplex = near_xy + np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    best = optimize.minimize(
        lambda moved: -likeness(pair, tgt_xy + moved, tgt_values),
        near_xy,
        method="Nelder-Mead",
        options={"xatol": 0.02, "fatol": 1e-7, "initial_simplex": simplex},
    )
    return np.asarray(best.x)


def test_generator_makes_these_files_again(samples: ModuleType, tmp_path: Path) -> None:
    samples.main(tmp_path)
    made = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert made["pairs"].keys() == PAIRS.keys()
    for name, pair in PAIRS.items():
        for side in ("reference", "target"):
            with rasterio.open(FOLDER / pair[side]) as kept, rasterio.open(tmp_path / pair[side]) as new:
                assert new.profile == kept.profile
                assert new.descriptions == kept.descriptions
                difference = np.abs(new.read().astype(int) - kept.read().astype(int))
            # Another FFT may round otherwise: by one count, and rarely across the edge of a field or a house.
            assert np.mean(difference > 1) < 1e-4, (name, side)
        for key in ("origin_xy", "scale", "exponents", "coefficients_x", "coefficients_y"):
            np.testing.assert_allclose(made["pairs"][name]["model"][key], pair["model"][key], rtol=1e-12)


def test_samples_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 6e6


def test_truth_equals_its_written_formula(samples: ModuleType) -> None:
    x, y = 303000.0, 5769000.0
    for pair in PAIRS.values():
        model = pair["model"]
        u, v = (x - model["origin_xy"][0]) / model["scale"], (y - model["origin_xy"][1]) / model["scale"]
        terms = [u**i * v**j for i, j in model["exponents"]]
        by_hand = [sum(c * t for c, t in zip(model[f"coefficients_{a}"], terms, strict=True)) for a in "xy"]
        assert samples.displacement(pair, np.array([[x, y]]))[0] == pytest.approx(by_hand)
        assert samples.displacement(pair, np.empty((0, 2))).shape == (0, 2)


def test_shift_truth_is_what_correlation_measures() -> None:
    pair = PAIRS["shift"]
    told = np.array([pair["model"][f"coefficients_{axis}"][0] for axis in "xy"])
    tgt_xy, tgt_values = tgt_places(pair, spacing_m=20)
    # From whole steps of 20 m around nothing at all, so that a wrong sign could be found as well.
    steps = [np.array([dx, dy]) for dx in range(-80, 81, 20) for dy in range(-80, 81, 20)]
    start = max(steps, key=lambda moved: likeness(pair, tgt_xy[::7] + moved, tgt_values[::7]))
    found = measured_displacement(pair, start.astype(float), tgt_xy, tgt_values)
    assert np.abs(found - told).max() < 0.1 * pair["gsd_m"]


@pytest.mark.parametrize("name", ["affine", "polynomial", "cross"])
def test_truth_aligns_the_images(samples: ModuleType, name: str) -> None:
    pair = PAIRS[name]
    tgt_xy, tgt_values = tgt_places(pair, spacing_m=10)
    moved = samples.displacement(pair, tgt_xy)
    corrected = likeness(pair, tgt_xy + moved, tgt_values)
    assert corrected > 0.8  # not 1: up to two parcels in five bear another crop
    assert corrected > likeness(pair, tgt_xy, tgt_values) + 0.2
    assert corrected > likeness(pair, tgt_xy - moved, tgt_values) + 0.2


@pytest.mark.parametrize("name", ["affine", "polynomial", "cross"])
@pytest.mark.parametrize("quarter", range(4))
def test_truth_leaves_no_displacement_in_any_quarter(samples: ModuleType, name: str, quarter: int) -> None:
    pair = PAIRS[name]
    tgt_xy, tgt_values = tgt_places(pair, spacing_m=20)
    east, north = (tgt_xy > pair["model"]["origin_xy"]).T
    here = (2 * north + east) == quarter
    corrected_xy = (tgt_xy + samples.displacement(pair, tgt_xy))[here]
    left = measured_displacement(pair, np.zeros(2), corrected_xy, tgt_values[here])
    assert np.abs(left).max() < 0.1 * pair["gsd_m"]
