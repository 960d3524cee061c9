"""The traps in our libraries that shaped georeg, pinned: a release that changes one of them fails here first.

These are laws of other people's code. Where one fails after an upgrade, read what georeg does because of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from scipy import ndimage

Floats = NDArray[np.float64]

UTM33 = "EPSG:32633"
OPENCV_5 = int(cv2.__version__.split(".")[0]) >= 5


def texture(side: int, sigma_px: float, seed: int = 0) -> Floats:
    """Noise through a Gaussian, periodic, mean 0, deviation 1."""
    image = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), sigma_px, mode="wrap")
    return np.asarray(image / image.std())


def moved(image: Floats, right_px: float, down_px: float) -> Floats:
    """A periodic image whose features lie further right and further down, exactly."""
    return np.asarray(np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), (down_px, right_px))).real)


def waves(row: Floats, col: Floats, n: int = 40, seed: int = 0) -> Floats:
    """A smooth image that is known at any place: waves of 4 pixels and longer."""
    rng = np.random.default_rng(seed)
    frequency, phase = rng.uniform(-0.18, 0.18, (n, 2)), rng.uniform(0, 2 * np.pi, n)
    parts = [np.cos(2 * np.pi * (fy * row + fx * col) + p) for (fy, fx), p in zip(frequency, phase, strict=True)]
    return np.asarray(np.sum(parts, axis=0))


def shift_between(expected: Floats, seen: Floats) -> Floats:
    """Small shift (right, down) of ``seen`` against ``expected``, to first order, away from the edges."""
    inner = np.s_[20:-20, 20:-20]
    down, across = (g[inner].ravel() for g in np.gradient(expected))
    move, *_ = np.linalg.lstsq(np.column_stack([across, down]), (expected - seen)[inner].ravel(), rcond=None)
    return np.asarray(move)


def test_phase_correlations_of_skimage_and_opencv_have_opposite_signs_and_orders() -> None:
    """Hence one sign in georeg, reference − target, and a self-test by aligning again."""
    skimage = pytest.importorskip("skimage.registration")
    ref = texture(128, 1.0)
    tgt = moved(ref, right_px=5, down_px=-3)
    row_col, _, _ = skimage.phase_cross_correlation(ref, tgt)
    assert row_col.tolist() == [3, -5]  # (row, column), reference − target
    x_y, _ = cv2.phaseCorrelate(ref, tgt)
    np.testing.assert_allclose(x_y, (5, -3), atol=0.05)  # (x, y), target − reference


def test_skimage_phase_normalisation_fails_on_smooth_images() -> None:
    """Whitening gives frequencies without signal the same say as the others; georeg weighs them by their coherence."""
    skimage = pytest.importorskip("skimage.registration")
    scene = texture(256, 4.0)
    ref, tgt = scene[40:168, 40:168], moved(scene, 5, -3)[40:168, 40:168]
    by_default, _, _ = skimage.phase_cross_correlation(ref, tgt, upsample_factor=20)
    window = np.outer(np.hanning(128), np.hanning(128))
    unwhitened, _, _ = skimage.phase_cross_correlation(
        ref * window, tgt * window, upsample_factor=20, normalization=None
    )
    assert np.hypot(*(by_default - (3, -5))) > 1
    assert np.hypot(*(unwhitened - (3, -5))) < 0.3


def sift_error_px(**options: Any) -> Floats:
    """Median (x, y) by which SIFT misplaces the features of an image that was turned by 180°."""
    image = texture(400, 2.5)
    ref = np.clip(128 + 40 * image, 0, 255).astype(np.uint8)
    tgt = np.ascontiguousarray(ref[::-1, ::-1])
    sift = cv2.SIFT_create(nfeatures=500, **options)
    (ref_points, ref_texts), (tgt_points, tgt_texts) = (sift.detectAndCompute(side, None) for side in (ref, tgt))
    matches = cv2.BFMatcher(crossCheck=True).match(ref_texts, tgt_texts)
    found = np.array([(*ref_points[m.queryIdx].pt, *tgt_points[m.trainIdx].pt) for m in matches])
    right = 399 - found[:, :2]  # pixel centres are whole numbers in OpenCV
    error = found[:, 2:] - right
    return np.asarray(np.median(error[np.hypot(*error.T) < 3], axis=0))


def test_sift_is_half_a_pixel_off_unless_it_upscales_precisely() -> None:
    """Half a pixel to and fro is a whole one between two opposite images, and a quarter at each doubling of scale."""
    assert np.abs(sift_error_px(enable_precise_upscale=True)).max() < 0.05
    assert np.abs(sift_error_px()).min() > 0.3


def test_opencv_4_rounds_places_to_a_32nd_of_a_pixel_and_5_does_not() -> None:
    """The reason that georeg resamples with SciPy. In OpenCV 5 float32 is exact, float64 still is not."""
    ramp = np.tile(np.arange(64.0), (64, 1))
    row, col = np.indices((64, 64), np.float32)
    at = (col + np.float32(0.0101)).clip(0, 62)
    error_px = {}
    for dtype in (np.float32, np.float64):
        out = cv2.remap(ramp.astype(dtype), at, row, cv2.INTER_LINEAR)
        error_px[dtype] = np.abs(out - at)[8:-8, 8:-8].max()
    assert (error_px[np.float32] < 1e-4) == OPENCV_5, error_px
    assert error_px[np.float64] > 0.005, error_px


def test_opencv_cubic_moves_smooth_images_and_a_spline_does_not() -> None:
    """OpenCV's a = −0.75 does not reproduce a ramp; the interpolating cubic B-spline nearly moves nothing."""
    row, col = np.indices((200, 200), float)
    image, expected = waves(row * 0.4, col * 0.4), waves(row * 0.4, (col + 0.25) * 0.4)
    at = np.stack([row, col + 0.25])
    seen = cv2.remap(image.astype(np.float32), at[1].astype(np.float32), at[0].astype(np.float32), cv2.INTER_CUBIC)
    assert abs(shift_between(expected, seen.astype(float))[0]) > 0.02
    assert abs(shift_between(expected, ndimage.map_coordinates(image, at, order=3, mode="mirror"))[0]) < 0.002


@pytest.fixture(scope="module")
def wave_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("conventions") / "waves.tif"
    row, col = np.indices((500, 500), float)
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "height": 500, "width": 500, "crs": UTM33}
    with rasterio.open(path, "w", transform=Affine(10, 0, 302000, 0, -10, 5771000), **profile) as dataset:
        dataset.write(waves(row + 0.5, col + 0.5).astype(np.float32), 1)
    return path


def vrt_row_px(path: Path, **options: Any) -> Floats:
    """Source rows that GDAL takes for the pixels of a geographic grid, from an image of row numbers."""
    grid = {"transform": Affine(0.012, 0, 12.5, 0, -0.009, 51.8), "width": 440, "height": 440}
    options |= {"crs": "EPSG:4326", "resampling": Resampling.bilinear, "nodata": -1, "XSCALE": 1, "YSCALE": 1}
    with rasterio.open(path) as source, WarpedVRT(source, **grid, **options) as vrt:
        return np.asarray(vrt.read(1))


def test_gdal_approximates_its_coordinates_unless_told_how_well(tmp_path: Path) -> None:
    """Its tolerance of an eighth of a pixel is a systematic error. georeg has a lattice of its own, exact to 0.002 px."""
    ramp = tmp_path / "ramp.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "float64", "height": 500, "width": 500, "crs": UTM33}
    with rasterio.open(ramp, "w", transform=Affine(1000, 0, 300000, 0, -1000, 5800000), **profile) as dataset:
        dataset.write(np.indices((500, 500), float)[0] + 0.5, 1)
    fine = vrt_row_px(ramp, tolerance=1e-6)
    valid = (fine > 2) & (fine < 498)
    assert valid.mean() > 0.5
    tried = vrt_row_px(ramp), vrt_row_px(ramp, tolerance=0.001)
    coarse, close = (np.abs(rows - fine)[valid].max() for rows in tried)
    assert close <= 0.002
    assert coarse > 0.02


def test_gdal_warps_narrow_tiles_unlike_the_whole_unless_scales_are_given(wave_file: Path) -> None:
    """It sizes its kernel by what a chunk happens to cover. Hence the law that tiles equal the whole."""
    turned = Affine.translation(302500, 5770500) @ Affine.rotation(7) @ Affine.scale(10, -10)

    def difference(**options: Any) -> float:
        grid = {"crs": UTM33, "transform": turned, "width": 300, "height": 300, "resampling": Resampling.cubic}
        with rasterio.open(wave_file) as source, WarpedVRT(source, nodata=-99, **grid, **options) as vrt:
            whole = vrt.read(1)
            columns = [vrt.read(1, window=Window(col, 0, 4, 300)) for col in range(0, 300, 4)]
        return float(np.abs(np.concatenate(columns, axis=1) - whole).max() / whole.std())

    if int(rasterio.__gdal_version__.split(".")[1]) >= 10:  # older ones fare better on this image
        assert difference() > 0.05
    assert difference(XSCALE=1, YSCALE=1) == 0


def test_centre_of_the_first_pixel_is_one_half_in_gdal_and_zero_in_opencv() -> None:
    """The half pixel that every second registration tool has lost; only a matcher's last line converts."""
    transform = Affine(10, 0, 500, 0, -10, 900)
    assert rasterio.transform.xy(transform, 0, 0) == (505, 895)
    assert rasterio.transform.xy(transform, 0, 0, offset="ul") == (500, 900)
    ramp = np.tile(np.arange(32, dtype=np.float32), (32, 1))
    halved = cv2.resize(ramp, (16, 16), interpolation=cv2.INTER_LINEAR)  # outer corners stay
    doubling = np.array([[2.0, 0, 0], [0, 2.0, 0]])  # OpenCV's affine maps keep the first pixel's centre
    kept = cv2.warpAffine(ramp, doubling, (16, 16), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    assert (halved[8, 8], kept[8, 8]) == (16.5, 16.0)


def test_cache_size_is_in_bytes() -> None:
    """`rasterio.Env(GDAL_CACHEMAX=64)` hands the number on as it is, where GDAL's own variable counts megabytes."""
    with rasterio.Env(GDAL_CACHEMAX=64 * 2**20):
        assert rasterio.env.getenv()["GDAL_CACHEMAX"] == 64 * 2**20


def test_affine_transforms_are_multiplied_in_one_of_two_ways() -> None:
    """affine 2 knows only ``*``, affine 3 warns of it: georeg has `compose`."""
    from georeg.placement import compose

    outer, inner = Affine(2, 1, 5, 0, 3, 7), Affine(0, -1, 4, 1, 0, 9)
    assert compose(outer, inner).almost_equals(Affine(1, -2, 22, 3, 0, 34), 1e-12)


OPEN = """
import json, sys, rasterio
with rasterio.open(sys.argv[1]) as dataset:
    print(json.dumps(None if dataset.crs is None else dataset.crs.to_epsg()))
"""


@pytest.mark.parametrize("leaked", [False, True])
def test_leaked_proj_data_takes_the_crs_away(wave_file: Path, tmp_path: Path, leaked: bool) -> None:
    """Another program's PROJ_DATA makes rasterio lose every CRS without an error, so georeg refuses a file without one."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PROJ_DATA", "PROJ_LIB")}
    if leaked:
        environment["PROJ_DATA"] = str(tmp_path)  # without a proj.db, or with one too old
    done = subprocess.run([sys.executable, "-c", OPEN, str(wave_file)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == (None if leaked else 32633)
