"""Make the sample pairs: synthetic satellite images whose displacement is known exactly.

    python sample_tiles/make_samples.py [OUTDIR]

Each image is sampled once from one continuous scene, blurred by the sensor's own point spread function. A
pixel of the target looks at the scene where the true model says it lies; no image is ever warped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from landscape import Doubles, Floats, Landscape, Scenery, build
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import Affine
from scipy import fft, ndimage
from tones import BANDS, cloud, render

WORKING_CRS = "EPSG:32633"
SIDE = 1500  # of the scene grid, in cells of STEP_M
STEP_M = 4.0
HALF_M = 2560.0  # where u and v of the models reach 1
# Sun in the south-east at about 45 degrees of elevation, cloud base near 900 m: its shadow falls north-west.
SHADOW_MOVE_M = (-540.0, 720.0)
NYQUIST_MTF = 0.15
NOISE_DB = 35.0
DESCRIPTION = (
    "Synthetic image pairs with their exact displacement. A feature seen in the target at (x, y), in `crs`"
    " (the reference's; the target's own coordinates are first brought there), truly lies at"
    " (corrected_x, corrected_y), in map units."
    " Displacement = corrected - given = reference - target; +x east, +y north."
)
FORMULA = (
    "u = (x - x0) / s, v = (y - y0) / s; "
    "corrected_x = x + sum_k cx[k] u^i[k] v^j[k], corrected_y = y + sum_k cy[k] u^i[k] v^j[k]"
)


@dataclass(frozen=True)
class Sensor:
    """How a scene becomes numbers."""

    gsd_m: float
    """Ground sampling distance, which also sets the point spread function."""
    bands: tuple[str, ...] = ("red",)
    """Bands of the landscape; `pan` is the mean of red and green."""
    dtype: str = "uint16"
    gain: float = 1.0
    offset: float = 0.0
    """dn = offset + gain * 10000 * reflectance ** gamma."""
    gamma: float = 1.0
    footprint_deg: float | None = None
    """Turn of the imaged square within the raster, outside of which is no data; None fills the raster."""


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie."""

    crs: str
    west: float
    north: float
    gsd_m: float
    side_px: int

    @property
    def transform(self) -> Affine:
        """Pixel to map; (0, 0) is the outer corner of the first pixel."""
        return Affine(self.gsd_m, 0, self.west, 0, -self.gsd_m, self.north)

    def centres_xy(self) -> Doubles:
        """Map coordinates of all pixel centres, in the grid's CRS, row by row."""
        at_px = np.arange(self.side_px) + 0.5
        x, y = np.meshgrid(self.west + self.gsd_m * at_px, self.north - self.gsd_m * at_px)
        return np.stack([x.ravel(), y.ravel()], axis=1)


@dataclass(frozen=True)
class Pair:
    """One sample: a landscape, the two sensors and grids, and the model in metres about the centre."""

    name: str
    scenery: Scenery
    centre_xy: tuple[float, float]
    """Centre of the scene in the working CRS, origin of the model's u and v."""
    model_m: Mapping[tuple[int, int], tuple[float, float]]
    """(i, j) -> coefficients in metres of u^i v^j, east and north; u, v are 1 at `HALF_M` from the centre."""
    ref_sensor: Sensor
    tgt_sensor: Sensor
    ref_grid: Grid
    tgt_grid: Grid
    change: float = 0.4
    """Share of the parcels which bear another crop in the target."""
    cloud_share: float = 0.0
    """Share of the scene which clouds hide from the target."""


def displacement(truth_pair: Mapping[str, Any], tgt_xy: Doubles) -> Doubles:
    """True displacement (reference - target) of a pair of truth.json.

    Parameters
    ----------
    truth_pair : one entry of `pairs`.
    tgt_xy : (N, 2) places in the target as its georeferencing gives them, brought to the reference's CRS
        (`crs` of the entry), map units.

    Returns
    -------
    (N, 2), map units of the reference's CRS, +x east, +y north. `tgt_xy + displacement` is the true place.

    >>> one = {"origin_xy": [0, 0], "scale": 100, "exponents": [[0, 0], [1, 0]],
    ...        "coefficients_x": [5, 2], "coefficients_y": [-3, 0]}
    >>> displacement({"model": one}, np.array([[0.0, 0.0], [50.0, 7.0]])).tolist()
    [[5.0, -3.0], [6.0, -3.0]]
    """
    model = truth_pair["model"]
    u, v = ((np.asarray(tgt_xy, float) - model["origin_xy"]) / model["scale"]).T
    terms = np.stack([u**i * v**j for i, j in model["exponents"]], axis=1)
    coefficients = np.stack([model["coefficients_x"], model["coefficients_y"]], axis=1)
    return np.asarray(terms @ coefficients, np.float64)


def truth(pair: Pair) -> dict[str, Any]:
    """The pair's entry in truth.json."""
    east_m, north_m = zip(*pair.model_m.values(), strict=True)
    return {
        "reference": f"{pair.name}_reference.tif",
        "target": f"{pair.name}_target.tif",
        "crs": WORKING_CRS,
        "gsd_m": max(pair.ref_sensor.gsd_m, pair.tgt_sensor.gsd_m),
        "model": {
            "kind": "polynomial",
            "origin_xy": list(pair.centre_xy),
            "scale": HALF_M,
            "exponents": [list(ij) for ij in pair.model_m],
            "coefficients_x": list(east_m),
            "coefficients_y": list(north_m),
        },
        "formula": FORMULA,
    }


def see(scene: Floats, centre_xy: tuple[float, float], true_xy: Doubles, gsd_m: float) -> Doubles:
    """Sample a scene, blurred by a sensor's point spread function, at places (N, 2) of the working CRS."""
    # A Gaussian whose MTF is NYQUIST_MTF at 1 / (2 gsd), and below 1e-5 at the scene grid's own Nyquist
    # frequency, so that the spline is exact. Dividing by the spectrum of the quintic B-spline turns samples
    # into its coefficients.
    south_freq, east_freq = fft.fftfreq(SIDE)[:, None], fft.rfftfreq(SIDE)[None, :]
    mtf = NYQUIST_MTF ** ((south_freq**2 + east_freq**2) * (2 * gsd_m / STEP_M) ** 2)
    turns = (2 * np.pi * south_freq, 2 * np.pi * east_freq)
    south_spline, east_spline = ((66 + 52 * np.cos(w) + 2 * np.cos(2 * w)) / 120 for w in turns)
    spectrum = fft.rfft2(scene.astype(np.float64)) * (mtf / (south_spline * east_spline))
    spline = fft.irfft2(spectrum, s=scene.shape)
    col = (true_xy[:, 0] - centre_xy[0]) / STEP_M + SIDE / 2 - 0.5
    row = (centre_xy[1] - true_xy[:, 1]) / STEP_M + SIDE / 2 - 0.5
    margin = 4 * gsd_m / STEP_M
    if min(col.min(), row.min()) < margin or max(col.max(), row.max()) > SIDE - margin:
        raise ValueError(f"an image leaves the scene of {SIDE * STEP_M:.0f} m; move or shrink its grid")
    seen = ndimage.map_coordinates(spline, [row, col], order=5, mode="grid-wrap", prefilter=False)
    return np.asarray(seen, np.float64)


def scene_of(land: Landscape, band: str, change: float, opacity: Floats | None) -> Floats:
    """Reflectance * 10000 of a band, with clouds of `opacity` and the shadow which they cast."""
    if band == "pan":
        halves = [scene_of(land, part, change, opacity) for part in ("red", "green")]
        return np.asarray((halves[0] + halves[1]) / 2, np.float32)
    ground = render(land, band=band, change=change)
    if opacity is None:
        return ground
    east, south = (round(move_m / STEP_M) for move_m in (SHADOW_MOVE_M[0], -SHADOW_MOVE_M[1]))
    lit = 1 - 0.62 * np.roll(opacity, (south, east), axis=(0, 1))
    bright = {"red": 6300, "green": 6500, "nir": 6900}[band] * (0.55 + 0.45 * opacity)
    return np.asarray(ground * lit * (1 - opacity) + bright * opacity, np.float32)


def digitise(reflectance: Doubles, sensor: Sensor, rng: np.random.Generator) -> NDArray[Any]:
    """Apply the sensor's response, add its noise and round to whole numbers from 1 up."""
    dn = sensor.offset + sensor.gain * 1e4 * (np.clip(reflectance, 0, None) / 1e4) ** sensor.gamma
    # The spread without the brightest and darkest, so that clouds do not make the sensor noisier.
    low, high = np.percentile(dn, [5, 95])
    dn += (high - low) / 3.29 * 10 ** (-NOISE_DB / 20) * rng.standard_normal(dn.shape)
    return np.clip(np.rint(dn), 1, np.iinfo(sensor.dtype).max).astype(sensor.dtype)


def imaged(grid: Grid, sensor: Sensor) -> NDArray[np.bool_]:
    """Which pixels (side, side) the sensor's footprint covers."""
    if sensor.footprint_deg is None:
        return np.ones((grid.side_px, grid.side_px), bool)
    turn = np.deg2rad(sensor.footprint_deg)
    row, col = np.indices((grid.side_px, grid.side_px)) + 0.5 - grid.side_px / 2
    along, across = np.cos(turn) * col + np.sin(turn) * row, np.cos(turn) * row - np.sin(turn) * col
    return np.asarray(np.maximum(abs(along), abs(across)) < 0.47 * grid.side_px)


def write(path: Path, bands: NDArray[Any], valid: NDArray[np.bool_], grid: Grid, sensor: Sensor) -> None:
    """Write bands (count, side, side) as a tiled GeoTIFF; nodata is declared if the footprint leaves any."""
    profile = {"driver": "GTiff", "dtype": sensor.dtype, "count": len(bands), "crs": grid.crs}
    profile |= {"width": grid.side_px, "height": grid.side_px, "transform": grid.transform}
    profile |= {"compress": "deflate", "predictor": 2, "zlevel": 9}
    profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band"}
    with rasterio.open(path, "w", nodata=None if valid.all() else 0, **profile) as dst:
        dst.write(np.where(valid, bands, 0).astype(sensor.dtype))
        dst.descriptions = sensor.bands
        dst.update_tags(TIFFTAG_IMAGEDESCRIPTION="Synthetic landscape, no real place")


def make_pair(pair: Pair, outdir: Path) -> None:
    """Write the two images of a pair."""
    land = build(pair.scenery, side=SIDE, step_m=STEP_M)
    to_working = Transformer.from_crs(pair.tgt_grid.crs, WORKING_CRS, always_xy=True)
    given_xy = np.stack(to_working.transform(*pair.tgt_grid.centres_xy().T), axis=1)
    entry = truth(pair)
    true_xy = {"reference": pair.ref_grid.centres_xy(), "target": given_xy + displacement(entry, given_xy)}
    opacity = None
    if pair.cloud_share:
        rng = np.random.default_rng([pair.scenery.seed, 3])
        opacity = cloud(rng, SIDE, step_m=STEP_M, centre=(0.58, 0.62), share=pair.cloud_share)
    for date, (role, sensor, grid) in enumerate(
        [("reference", pair.ref_sensor, pair.ref_grid), ("target", pair.tgt_sensor, pair.tgt_grid)]
    ):
        rng = np.random.default_rng([pair.scenery.seed, 1 + date])
        images = []
        for band in sensor.bands:
            scene = scene_of(land, band, pair.change if date else 0.0, opacity if date else None)
            seen = see(scene, pair.centre_xy, true_xy[role], sensor.gsd_m)
            images.append(digitise(seen, sensor, rng).reshape(grid.side_px, grid.side_px))
        write(outdir / entry[role], np.stack(images), imaged(grid, sensor), grid, sensor)


def grid_about(crs: str, centre_xy: tuple[float, float], gsd_m: float, side_px: int) -> Grid:
    """A grid about a centre in its CRS, its corner on a whole multiple of the pixel."""
    half_m = side_px * gsd_m / 2
    corner_xy = (centre_xy[0] - half_m, centre_xy[1] + half_m)
    west, north = (round(at / gsd_m) * gsd_m for at in corner_xy)
    return Grid(crs, west, north, gsd_m, side_px)


def pairs() -> list[Pair]:
    """The four samples; their README says what each is for."""
    at = (302400.0, 5770800.0)
    ref_grid = grid_about(WORKING_CRS, at, 10, 512)
    turn, shear, scale = np.deg2rad(0.4), 4e-4, 1.002
    # corrected - given = (A - I) (xy - centre) + shift, with A = scale * rotation * shear.
    a = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, shear], [0, 1]]
    east_uv, north_uv = ((a - np.eye(2)) * HALF_M).tolist()
    zone32_xy = Transformer.from_crs(WORKING_CRS, "EPSG:32632", always_xy=True).transform(*at)
    return [
        Pair(
            "shift", Scenery(1), at, {(0, 0): (37.3, -52.6)},
            Sensor(10), Sensor(10, gain=0.86, offset=180, gamma=1.05),
            grid_about(WORKING_CRS, (at[0] - 200, at[1] + 200), 10, 512),
            grid_about(WORKING_CRS, (at[0] + 190, at[1] - 190), 10, 512),
        ),
        Pair(
            "affine", Scenery(2, relief=0.11, wood_share=0.3, river_m=0, villages=5), at,
            {(0, 0): (-61.4, 48.7), (1, 0): (east_uv[0], north_uv[0]), (0, 1): (east_uv[1], north_uv[1])},
            Sensor(10, BANDS), Sensor(10, BANDS, gain=0.9, offset=140, footprint_deg=9.0),
            ref_grid, ref_grid, change=0.25, cloud_share=0.075,
        ),
        Pair(
            "polynomial", Scenery(8, relief=0.15, river_m=25, lake_m=420, block_m=1250), at,
            {(0, 0): (-28.7, 31.2), (1, 0): (4.1, -2.6), (0, 1): (-3.3, 5.2),
             (2, 0): (11.8, -7.4), (1, 1): (-8.6, 12.3), (0, 2): (7.9, 9.7)},
            Sensor(10, ("green",)), Sensor(10, ("green",), gain=1.12, offset=60, gamma=0.97),
            ref_grid, ref_grid,
        ),
        Pair(
            "cross", Scenery(4, wood_share=0.26, villages=6, block_m=1700, river_m=80), at,
            {(0, 0): (-64.0, 83.0)},
            Sensor(10), Sensor(20, ("pan",), dtype="uint8", gain=0.047, offset=-12, gamma=0.7),
            ref_grid, grid_about("EPSG:32632", zone32_xy, 20, 256), change=0.3,
        ),
    ]  # fmt: skip


def main(outdir: Path) -> None:
    """Write all pairs and truth.json."""
    outdir.mkdir(parents=True, exist_ok=True)
    made = pairs()
    for pair in made:
        make_pair(pair, outdir)
    entries = {pair.name: truth(pair) for pair in made}
    text = json.dumps({"description": DESCRIPTION, "pairs": entries}, indent=2)
    (outdir / "truth.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
