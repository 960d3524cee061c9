"""Kernels give what theory says of them: against exact waves, their error is their transfer function's and nothing more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.windows import Window

from georeg import resampling
from georeg.models import Translation, identity
from georeg.placement import Placement
from georeg.raster import open_raster
from georeg.reader import Reader
from georeg.resampling import Kernel, interpolate, positions, taps
from georeg.warp import sample

SMOOTH: tuple[Kernel, ...] = tuple(kernel for kernel in get_args(Kernel) if kernel != "nearest")
UTM = CRS.from_epsg(32633)
GSD, CORNER_XY = 10.0, (300000.0, 5800000.0)
SIDE_PX, RIM_PX = 256, 48
MOVES_PX = [(0.5, 0.5), (0.25, -0.37), (-0.1, 0.45), (0.02, -0.98)]

Floats = NDArray[np.float64]


def spectrum(seed: int = 0, n: int = 60, highest: float = 0.35) -> tuple[Floats, Floats, Floats]:
    """Frequencies (n, 2) in cycles per pixel, amplitudes and phases of a band-limited scene seen by a sensor whose transfer
    function is 0.2 at the Nyquist frequency."""
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(-highest, highest, (n, 2))
    radius = np.hypot(*frequency.T)
    amplitude = 100 / (1 + (radius / 0.05) ** 1.5) * 0.2 ** ((radius / 0.5) ** 2)
    return frequency, amplitude, rng.uniform(0, 2 * np.pi, n)


def scene(col: Floats, row: Floats, seed: int = 0) -> Floats:
    """The exact scene at any place; pixel centres of the source are whole numbers."""
    waves = zip(*spectrum(seed), strict=True)
    return 1000 + sum(a * np.cos(2 * np.pi * (f[0] * col + f[1] * row) + p) for f, a, p in waves)


def weights_of(kernel: Kernel, beyond: float) -> tuple[NDArray[np.int64], Floats]:
    """A kernel's own formula: taps at whole pixels around a place ``beyond`` the one at 0."""
    at = np.arange(-60, 61)
    x = np.abs(beyond - at)
    if kernel == "bilinear":
        return at, np.maximum(1 - x, 0)
    if kernel == "lanczos":
        w = np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)
        return at, w / w.sum()
    degree = {"cubic": 3, "quintic": 5}[kernel]

    def spline(x: Floats) -> Floats:  # the truncated powers of the textbook
        total = np.zeros_like(x)
        for k in range(degree + 2):
            binomial = np.prod([(degree + 1 - j) / (j + 1) for j in range(k)])
            total += (-1) ** k * binomial * np.maximum(x + (degree + 1) / 2 - k, 0) ** degree
        return total / np.prod(np.arange(1, degree + 1))

    # coefficients that make the spline pass through the samples, by solving for an impulse
    whole = spline(np.abs(at[:, None] - at[None, :]).astype(float))
    impulse = np.linalg.solve(whole, np.eye(len(at))[:, len(at) // 2])
    return at, np.convolve(spline(beyond - at), impulse, mode="same")


def transfer(kernel: Kernel, beyond: float, frequency: Floats) -> NDArray[np.complex128]:
    """What a kernel makes of waves at a place ``beyond`` a pixel, over what they are there."""
    at, weights = weights_of(kernel, beyond)
    turn = 2j * np.pi * frequency[:, None]
    return np.asarray((weights * np.exp(turn * (at - beyond))).sum(axis=1))


def moved(path: Path, kernel: Kernel, move_px: tuple[float, float], dtype: str = "float32") -> tuple[Floats, Floats]:
    """A scene read from a file through a model that moves it, and the exact scene there, without the rim."""
    row, col = np.indices((SIDE_PX, SIDE_PX)).astype(float)
    transform = Affine(GSD, 0, CORNER_XY[0], 0, -GSD, CORNER_XY[1])
    profile: dict[str, Any] = {"driver": "GTiff", "count": 1, "width": SIDE_PX, "height": SIDE_PX, "dtype": dtype}
    with rasterio.open(path, "w", crs=UTM.to_wkt(), transform=transform, **profile) as dataset:
        values = scene(col, row)
        dataset.write((np.rint(values) if dtype == "uint16" else values).astype(dtype), 1)
    raster = open_raster(path)
    model = Translation((0.0, 0.0), 1.0, np.array([[GSD * move_px[0], -GSD * move_px[1]]]))
    grid = GeoBox((SIDE_PX, SIDE_PX), transform, "EPSG:32633")
    with Reader(raster) as reader:
        patch = sample(reader, Placement(raster, UTM, model), grid, [1], kernel=kernel)
    inner = np.s_[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX]
    return patch.data[0][inner].astype(float), scene(col - move_px[0], row - move_px[1])[inner]


def phase_px(image: Floats, truth: Floats) -> tuple[float, float]:
    """How far ``image`` lies from ``truth``, right and down: least squares on the truth's gradient."""
    down, right = np.gradient(truth)
    fields = np.stack([right[2:-2, 2:-2].ravel(), down[2:-2, 2:-2].ravel()], axis=1)
    solved, *_ = np.linalg.lstsq(fields, (image - truth)[2:-2, 2:-2].ravel(), rcond=None)
    return -float(solved[0]), -float(solved[1])


@pytest.mark.parametrize("move_px", MOVES_PX)
@pytest.mark.parametrize("kernel", SMOOTH)
def test_the_error_is_that_of_the_kernels_formula(tmp_path: Path, kernel: Kernel, move_px: tuple[float, float]) -> None:
    image, truth = moved(tmp_path / "a.tif", kernel, move_px)
    frequency, amplitude, phase = spectrum()
    gain = np.ones(len(frequency), complex)
    for axis in (0, 1):
        gain *= transfer(kernel, -move_px[axis] % 1, frequency[:, axis])
    row, col = np.indices((SIDE_PX, SIDE_PX))[:, RIM_PX:-RIM_PX, RIM_PX:-RIM_PX].astype(float)
    foretold = sum(
        a * np.real((g - 1) * np.exp(1j * (2 * np.pi * (f[0] * (col - move_px[0]) + f[1] * (row - move_px[1])) + p)))
        for f, a, p, g in zip(frequency, amplitude, phase, gain, strict=True)
    )
    theory, found = np.sqrt((foretold**2).mean()), np.sqrt(((image - truth) ** 2).mean())
    assert found < 1.1 * theory + 2e-3  # single precision of 1000
    assert found > 0.9 * theory - 2e-3
    assert np.abs(image - truth - foretold).max() < 0.01


@pytest.mark.parametrize("move_px", MOVES_PX)
@pytest.mark.parametrize(
    ("kernel", "bound_px"), [("bilinear", 0.02), ("cubic", 0.004), ("lanczos", 0.005), ("quintic", 0.001)]
)
def test_no_kernel_moves_the_scene(
    tmp_path: Path, kernel: Kernel, bound_px: float, move_px: tuple[float, float]
) -> None:
    assert np.abs(phase_px(*moved(tmp_path / "a.tif", kernel, move_px))).max() < bound_px


def test_whole_numbers_are_rounded_not_cut_off(tmp_path: Path) -> None:
    image, truth = moved(tmp_path / "a.tif", "cubic", (0.3, -0.4), "uint16")
    assert abs((image - truth).mean()) < 0.02


@pytest.mark.parametrize("kernel", SMOOTH)
@pytest.mark.parametrize("coarser", [2.6, 4.0])
def test_detail_that_the_output_cannot_show_is_averaged_away(tmp_path: Path, kernel: Kernel, coarser: float) -> None:
    """Without antialiasing a wave above the output's Nyquist frequency comes back as a false one, as strong as it was."""
    row, col = np.indices((300, 300))
    wave = 1000 + 100 * np.cos(2 * np.pi * 0.41 * col) * np.cos(2 * np.pi * 0.37 * row)
    transform = Affine(GSD, 0, CORNER_XY[0], 0, -GSD, CORNER_XY[1])
    path = tmp_path / "a.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        width=300,
        height=300,
        dtype="float32",
        crs=UTM.to_wkt(),
        transform=transform,
    ) as dataset:
        dataset.write(wave.astype("float32"), 1)
    raster, side = open_raster(path), int(280 / coarser)
    grid = GeoBox((side, side), transform @ Affine.translation(3.3, 4.1) @ Affine.scale(coarser), "EPSG:32633")
    with Reader(raster) as reader:
        patch = sample(reader, Placement(raster, UTM, identity()), grid, [1], kernel=kernel)
    inner = np.s_[10:-10, 10:-10]
    assert patch.data[0][inner].std() < 0.03 * wave.std()
    assert patch.data[0][inner].mean() == pytest.approx(1000, abs=0.5)


def block(dtype: str, seed: int = 0) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    data = rng.normal(1000, 200, (3, 90, 100)).astype(dtype)
    if np.iscomplexobj(data):
        data = data + 1j * rng.normal(0, 200, data.shape).astype(dtype)
    valid = np.ones(data.shape, bool)
    valid[1, 20:40, 30:60] = False
    return data, valid


def turned_nodes() -> Floats:
    """Of an output of 64 × 80 pixels, turned a little, some of it beyond the source."""
    col, row = np.meshgrid(np.arange(0, 97, 16.0), np.arange(0, 81, 16.0))
    return np.stack([12 + 1.1 * col - 0.2 * row, 8 + 0.15 * col + 0.9 * row])


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("kernel", get_args(Kernel))
def test_compiled_and_numpy_agree(kernel: Kernel, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if resampling._library is None:
        pytest.skip("no compiler was at hand when georeg was installed")
    out = []
    for library in (resampling._library, None):
        monkeypatch.setattr(resampling, "_library", library)
        at = positions(turned_nodes(), (3.0, 5.0), 16, (64, 80))
        data, valid = block(dtype)
        out.append((at, *interpolate(data, valid, at, (-2, 3), reduce=1, kernel=kernel)))
    (at, values, known), (at2, values2, known2) = out
    np.testing.assert_allclose(at.px, at2.px, rtol=0, atol=1e-12)
    assert at.low == pytest.approx(at2.low)
    assert at.high == pytest.approx(at2.high)
    np.testing.assert_array_equal(known, known2)
    assert 0.5 < known.mean() < 1
    np.testing.assert_allclose(values[known], values2[known], rtol=0, atol=1e-9 if dtype == "float64" else 3e-3)


def test_positions_beyond_the_nodes_are_nowhere() -> None:
    at = positions(turned_nodes(), (70.0, 5.0), 16, (20, 10))
    np.testing.assert_array_equal(np.isnan(at.px[0]).any(axis=1), np.arange(20) + 70.5 > 80)
    assert at.low[0] < at.high[0]
    nowhere = positions(turned_nodes(), (90.0, 5.0), 16, (4, 4))
    assert nowhere.low[0] > nowhere.high[0]


@pytest.mark.parametrize("kernel", SMOOTH)
def test_taps_sum_to_one_and_mirror_each_other(kernel: Kernel) -> None:
    by = taps(kernel)
    np.testing.assert_allclose(by.table.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(by.table, by.table[::-1, ::-1], atol=1e-12)
    assert by.prefilter[0] + 2 * by.prefilter[1:].sum() == pytest.approx(1)


def test_a_block_of_the_grid_is_where_the_whole_grid_has_it(tmp_path: Path) -> None:
    """Nodes are computed by squares of a lattice that belongs to the whole grid."""
    row, col = np.indices((700, 800)).astype(float)
    path = tmp_path / "a.tif"
    transform = Affine(GSD, 0, CORNER_XY[0], 0, -GSD, CORNER_XY[1])
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        width=800,
        height=700,
        dtype="float32",
        crs=UTM.to_wkt(),
        transform=transform,
    ) as dataset:
        dataset.write(scene(col / 4, row / 4).astype("float32"), 1)
    raster = open_raster(path)
    grid = GeoBox((8000, 9000), transform @ Affine.translation(-50, -30) @ Affine.scale(0.1), "EPSG:32633")
    with Reader(raster) as reader:
        place = Placement(raster, UTM, identity())
        for corner in ((4096 - 20, 4096 - 30), (7000, 7900), (3000, 900)):
            part = sample(reader, place, grid, [1], window=Window(corner[1], corner[0], 64, 80), kernel="cubic")
            wanted = [corner[1] + np.arange(64), corner[0] + np.arange(80)]
            at_col, at_row = ((n + 0.5) * 0.1 - 0.5 - offset for n, offset in zip(wanted, (50, 30), strict=True))
            exact = scene(at_col[None, :] / 4, at_row[:, None] / 4)
            assert part.valid.all()
            assert np.abs(part.data[0] - exact).max() < 0.05
