"""Ground that is bent from one raster to the other, from the pixels to the model and its uncertainty."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from scenes import fields, grey
from scipy import ndimage

import georeg
from georeg.models import identity
from georeg.options import FitOptions, MatchOptions
from georeg.search import distortion_px

GSD = 10.0
SIDE = 640
FINE = 2
"""Cells of the ground in a pixel."""
CORNER = (500_000.0, 5_800_000.0)


def waves(uv: np.ndarray) -> np.ndarray:
    """(N, 2) displacement, pixels, +x right, +y down, at uv of 0 to 1: 3 px from crest to trough, a crest every image."""
    u, v = 2 * np.pi * uv.T
    return np.stack([2.3 + 1.5 * np.sin(u) * np.cos(0.7 * v), -1.4 + 1.5 * np.cos(0.8 * u + v)], axis=1)


def shifted(uv: np.ndarray) -> np.ndarray:
    return np.tile([2.3, -1.4], (len(uv), 1))


@cache
def blurred_ground(seed: int) -> np.ndarray:
    """The ground through a Gaussian of transfer 0.2 at the Nyquist frequency of the pixels."""
    ground = fields(seed, side=FINE * (SIDE + 60), cell=30.0, texture=0.6)
    return ndimage.gaussian_filter(ground, FINE * np.sqrt(-2 * np.log(0.2)) / np.pi)


def look(displacement, seed: int, noise_seed: int) -> np.ndarray:
    """(side, side) image whose pixel at p shows the ground of p + displacement, by a spline of fifth order."""
    col, row = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    px = np.stack([col.ravel(), row.ravel()], axis=1)
    at = FINE * (px + 30 + displacement(px / SIDE)) - 0.5
    seen = ndimage.map_coordinates(blurred_ground(seed), at.T[::-1], order=5, mode="mirror").reshape(SIDE, SIDE)
    return grey(seen, seed=noise_seed)


def write(path: Path, image: np.ndarray) -> Path:
    transform = Affine(GSD, 0, CORNER[0], 0, -GSD, CORNER[1])
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=1, dtype=image.dtype, crs="EPSG:32633", transform=transform
    ) as raster:  # fmt: skip
        raster.write(image, 1)
    return path


def pair(folder: Path, displacement, seed: int = 3) -> tuple[Path, Path]:
    """A reference, and a target of the same ground bent by ``displacement``."""
    still = look(lambda uv: np.zeros_like(uv), seed, noise_seed=1)
    return write(folder / "reference.tif", still), write(folder / "target.tif", look(displacement, seed, noise_seed=2))


def places() -> tuple[np.ndarray, np.ndarray]:
    """uv (N, 2) all over the target, and their map xy."""
    line = (np.arange(20) + 0.5) / 20
    uv = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return uv, CORNER + uv * SIDE * GSD * (1, -1)


@pytest.fixture(scope="module")
def bent(tmp_path_factory):
    reference, target = pair(tmp_path_factory.mktemp("bent"), waves)
    return georeg.align(reference, target)


def test_a_field_is_chosen_where_the_ground_is_bent_and_is_right_all_over_it(bent):
    uv, tgt_xy = places()
    error_px = (bent.model(tgt_xy) - tgt_xy) / GSD * (1, -1) - waves(uv)
    assert bent.model.kind == "local"
    assert np.sqrt((error_px**2).sum(axis=1).mean()) < 0.05


def test_its_errors_are_as_large_as_it_says(bent):
    uv, tgt_xy = places()
    error_px = (bent.model(tgt_xy) - tgt_xy) / GSD * (1, -1) - waves(uv)
    sigma_px = np.sqrt(bent.model.covariance_at(tgt_xy)[:, [0, 1], [0, 1]]) / GSD
    assert 0.5 < np.sqrt((error_px**2 / sigma_px**2).mean()) < 1.5


def test_windows_were_matched_through_the_bend(bent):
    """Else those on a slope would be blurred, and on a crest pulled off it."""
    straight = georeg.match(
        bent.points.inputs.reference, bent.points.inputs.target, matching=MatchOptions(window_px=128, spacing_px=64)
    )
    uv = (straight.tgt_xy - CORNER) / (SIDE * GSD) * (1, -1)
    error_px = (straight.displacement / GSD * (1, -1) - waves(uv))[straight.kept]
    assert np.median(np.hypot(*error_px.T)) < 0.03
    assert distortion_px(straight, identity(), bent.model) > 0.1


def test_an_affine_map_that_is_asked_for_is_refused_or_says_how_ill_it_fits(bent):
    try:
        forced = georeg.fit(bent.points, FitOptions(model="affine"))
    except georeg.GeoregError as refusal:
        assert "affine model" in str(refusal)  # noqa: PT017
    else:
        assert forced.sigma_px > 0.3


def test_shifted_ground_is_a_translation(tmp_path):
    alignment = georeg.align(*pair(tmp_path, shifted))
    assert alignment.model.kind == "translation"
    moved_px = alignment.model.displacement(places()[1])[0] / GSD * (1, -1)
    np.testing.assert_allclose(moved_px, (2.3, -1.4), rtol=0, atol=0.01)
