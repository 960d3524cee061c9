"""A made-up lowland landscape: where fields, woods, a river, villages and roads lie.

What lies where comes from the scenery's seed alone; `tones.py` says how it looks on a given date. So two
dates of one scenery differ as two acquisitions of one place do, and nothing has moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.spatial import cKDTree

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

(FIELD, TRACK, HEDGE, CONIFER, BROADLEAF, CLEARING, WATER) = range(7)
(REED, GARDEN, TILE, HALL, SLATE, STREET, ROAD) = range(7, 14)
_LANES = 32  # strips per block and parcels per strip, counted modulo this


@dataclass(frozen=True)
class Scenery:
    """What a landscape holds."""

    seed: int
    """Seed of everything that stays in place."""
    relief: float = 0.07
    """Standard deviation of the relief shading, of the reflectance."""
    wood_share: float = 0.22
    """Share of the land under trees."""
    villages: int = 4
    """Number of villages."""
    block_m: float = 1500.0
    """Spacing of the blocks of parallel fields, whose borders carry the country roads."""
    river_m: float = 55.0
    """Width of the river; 0 for none."""
    lake_m: float = 0.0
    """Mean radius of the lake; 0 for none."""


@dataclass(frozen=True)
class Landscape:
    """The geometry of a landscape on a square grid; rows run south, columns east."""

    seed: int
    """The scenery's seed."""
    cover: NDArray[np.uint8]
    """Code of the land cover."""
    parcel: NDArray[np.int32]
    """Number of the parcel, for the tone of its crop or stand."""
    parcels: int
    """Count of the parcel numbers."""
    furrow_phase: Floats
    """Phase of the drilling rows and tramlines, in periods."""
    grain: Floats
    """Fine texture, mean 0, standard deviation 1."""
    soil: Floats
    """Pattern of the soils, mean 0, standard deviation 1."""
    shading: Floats
    """Relief shading about 0."""
    shadow: Floats
    """Cast shadows of trees and buildings: 0 (none) to 1."""


def fractal(rng: np.random.Generator, side: int, *, step_m: float, slope: float, band_m: tuple[float, float]) -> Floats:
    """Band-limited fractal noise on a periodic square grid.

    Parameters
    ----------
    slope : exponent by which the amplitude falls with frequency.
    band_m : shortest and longest wavelength; both ends roll off smoothly.

    Returns
    -------
    (side, side), mean 0, standard deviation 1.
    """
    freq2 = fft.rfftfreq(side, step_m)[None, :] ** 2 + fft.fftfreq(side, step_m)[:, None] ** 2
    freq2 = freq2.astype(np.float32)
    short_m, long_m = band_m
    gain = (freq2 + long_m**-2) ** (-slope / 2) * np.exp(-0.5 * freq2 * short_m**2)
    gain[0, 0] = 0
    gain = gain.astype(np.float32)
    white = rng.standard_normal((2, *gain.shape), dtype=np.float32)
    noise = fft.irfft2(gain * (white[0] + 1j * white[1]), s=(side, side))
    return np.asarray(noise / noise.std(), np.float32)


def build(scenery: Scenery, *, side: int, step_m: float) -> Landscape:
    """Lay out a landscape of `side` x `side` cells of `step_m`."""
    rng = np.random.default_rng(scenery.seed)

    def noise(slope: float, short_m: float, long_m: float) -> Floats:
        return fractal(rng, side, step_m=step_m, slope=slope, band_m=(short_m, long_m))

    wide, detail, grain = noise(2.0, 30, 1500), noise(1.3, 14, 250), noise(0.5, 5, 45)
    bend_east, bend_south, relief = noise(2.6, 90, 1500), noise(2.6, 90, 1500), noise(2.1, 28, 1800)
    axis_m = ((np.arange(side) + 0.5) * step_m).astype(np.float32)
    south_m, east_m = np.meshgrid(axis_m, axis_m, indexing="ij")
    size_m = side * step_m
    bent_m = np.stack([east_m + 45 * bend_east, south_m + 45 * bend_south], axis=-1)
    block = _blocks(rng, bent_m, spacing_m=scenery.block_m, size_m=size_m)
    parcel, along_m, across_m, border_m, parcels = _parcels(rng, block, east_m, south_m)
    river_m, lake_m = _water_distances(rng, scenery, wide + 0.15 * detail, east_m, south_m, step_m)

    cover = np.full((side, side), FIELD, np.uint8)
    kind = rng.random(parcels)  # one number per parcel decides its border, stand and clearing
    edge = kind[parcel]
    cover[(border_m < 3.5) & (edge < 0.45)] = TRACK
    cover[(border_m < 7 + 3 * detail) & (edge > 0.80)] = HEDGE
    _plant(rng, cover, parcel, wide + 0.25 * detail, edge, scenery.wood_share)
    meadow = (np.minimum(river_m, lake_m) < 25 + 22 * detail) & (cover == FIELD)
    cover[meadow] = REED
    cover[(np.abs(river_m - 30) < 16 * detail) & (river_m > 0)] = BROADLEAF
    water = (river_m < 0) | (lake_m < 0)
    cover[water] = WATER
    roads = ((block.road_m < 4.5) & (lake_m > 0)) | _highway(rng, bend_east, east_m, south_m, size_m)
    village_m = _village_distance(rng, scenery, block, east_m, south_m, detail)
    _settle(rng, cover, (along_m, across_m), village_m, water)
    cover[roads] = ROAD

    trees = np.isin(cover, (CONIFER, BROADLEAF, HEDGE))
    built = np.isin(cover, (TILE, HALL, SLATE))
    height_m = relief * 25 - 30 * np.exp(-((np.clip(river_m, 0, 4000) / 280) ** 2))
    slope_nw = -np.gradient(height_m, axis=0) * 0.8 - np.gradient(height_m, axis=1) * 0.6
    shading = -slope_nw * (~water) * scenery.relief / slope_nw.std()
    return Landscape(
        seed=scenery.seed,
        cover=cover,
        parcel=parcel,
        parcels=parcels,
        furrow_phase=(across_m / (18 + 18 * rng.random(parcels, np.float32)[parcel])).astype(np.float32),
        grain=grain,
        soil=detail,
        shading=np.clip(shading, -0.6, 0.6).astype(np.float32),
        shadow=_cast(trees, 4) * np.float32(0.55) + _cast(built, 2) * np.float32(0.5),
    )


@dataclass(frozen=True)
class _Blocks:
    """Blocks of parallel fields: cells nearest to scattered seats."""

    number: NDArray[np.intp]
    """Number of the block."""
    road_m: Floats
    """Distance to the nearest border that bears a road."""
    seats_m: Doubles
    """(blocks, 2) seats, east and south."""
    roadside_cells: Doubles
    """(N, 2) places on roads, row and column of the grid."""


def _blocks(rng: np.random.Generator, places_m: Floats, *, spacing_m: float, size_m: float) -> _Blocks:
    count = int(np.ceil(size_m / spacing_m)) + 1
    lattice = np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=-1).reshape(-1, 2)
    seats_m: Doubles = (lattice + rng.uniform(-0.38, 0.38, lattice.shape)) * np.float64(spacing_m)
    away_m, seat = cKDTree(seats_m, leafsize=4).query(places_m, k=2, workers=-1)
    number, other = seat[..., 0], seat[..., 1]
    gap_m = np.hypot(*(seats_m[:, None] - seats_m[None]).T)
    road_m = ((away_m[..., 1] ** 2 - away_m[..., 0] ** 2) / (2 * gap_m[number, other])).astype(np.float32)
    paved = np.triu(rng.random(gap_m.shape) < 0.72)
    road_m[~(paved | paved.T)[number, other]] = np.inf
    return _Blocks(number, road_m, seats_m, np.argwhere(road_m[::9, ::9] < 15).astype(np.float64) * 9)


def _parcels(
    rng: np.random.Generator, block: _Blocks, east_m: Floats, south_m: Floats
) -> tuple[NDArray[np.int32], Floats, Floats, Floats, int]:
    """Split each block into strips and each strip into parcels; also the distance to the parcel's border."""
    blocks = len(block.seats_m)
    angle = rng.uniform(-0.9, 0.9, blocks).astype(np.float32)
    cos, sin = np.cos(angle)[block.number], np.sin(angle)[block.number]
    seat = block.seats_m.astype(np.float32)[block.number]
    away_east, away_south = east_m - seat[..., 0], south_m - seat[..., 1]
    along_m, across_m = cos * away_east + sin * away_south, cos * away_south - sin * away_east
    deep_m = rng.uniform(160, 420, blocks).astype(np.float32)[block.number]
    strip = across_m / deep_m + np.float32(0.5)
    lane = block.number * _LANES + np.floor(strip).astype(np.intp) % _LANES
    broad_m = rng.lognormal(np.log(210), 0.55, blocks * _LANES).clip(70, 650).astype(np.float32)[lane]
    place = along_m / broad_m + rng.random(blocks * _LANES, np.float32)[lane]
    parcel = lane * _LANES + np.floor(place).astype(np.intp) % _LANES
    to_strip_m = np.abs(strip - np.round(strip)) * deep_m
    to_place_m = np.abs(place - np.round(place)) * broad_m
    return parcel.astype(np.int32), along_m, across_m, np.minimum(to_strip_m, to_place_m), blocks * _LANES**2


def _water_distances(
    rng: np.random.Generator, scenery: Scenery, rough: Floats, east_m: Floats, south_m: Floats, step_m: float
) -> tuple[Floats, Floats]:
    """Distances to the banks of river and lake, negative in the water; far away where there is none."""
    side = len(rough)
    size_m = side * step_m
    river_m = lake_m = np.full(rough.shape, 1e4, np.float32)
    if scenery.river_m:
        along = np.arange(0, 3.2 * size_m, 4.0)
        heading = 1.25 * np.sin(2 * np.pi * along / 1900 + rng.uniform(0, 6)) + 0.45 * np.sin(along / 210)
        heading += rng.uniform(0.5, 0.8)
        line_m = 4 * np.cumsum(np.stack([np.sin(heading), np.cos(heading)], axis=1), axis=0)
        line_m += [rng.uniform(0.3, 0.7) * size_m, rng.uniform(0.3, 0.7) * size_m] - line_m[len(line_m) // 3]
        # The distance is smooth away from the centre line, so every third cell is enough.
        coarse = np.stack([south_m[1::3, 1::3], east_m[1::3, 1::3]], axis=-1)
        near = np.all((line_m > -800) & (line_m < size_m + 800), axis=1)
        near_m, _ = cKDTree(line_m[near]).query(coarse, distance_upper_bound=800)
        near_m = ndimage.zoom(np.minimum(near_m, 800), 3, order=1, mode="nearest", grid_mode=True)
        river_m = np.asarray(near_m - scenery.river_m / 2 * (1 + 0.12 * rough), np.float32)
    if scenery.lake_m:
        row, col = rng.uniform(0.22, 0.4, 2) * size_m
        lake_m = np.hypot(south_m - np.float32(row), 0.7 * (east_m - np.float32(col)))
        lake_m = np.asarray(lake_m - scenery.lake_m * (1 + 0.45 * rough), np.float32)
    return river_m, lake_m


def _plant(
    rng: np.random.Generator,
    cover: NDArray[np.uint8],
    parcel: NDArray[np.int32],
    wide: Floats,
    edge: Doubles,
    share: float,
) -> None:
    """Plant woods: they follow a broad pattern, but most of their margins follow the parcels."""
    leaning = rng.normal(0, 0.55, int(parcel.max()) + 1)[parcel]
    score = wide + leaning
    woods = score > np.quantile(score[::8, ::8], 1 - share)
    rides = cover == TRACK
    cover[woods] = np.where(wide + 2.2 * (edge - 0.5) > 0.9, BROADLEAF, CONIFER)[woods]
    cover[woods & (edge < 0.07)] = CLEARING
    cover[woods & rides & (edge < 0.25)] = TRACK


def _highway(rng: np.random.Generator, bend: Floats, east_m: Floats, south_m: Floats, size_m: float) -> Mask:
    """A dual carriageway in a wide curve, and a straight railway."""
    angle, tilt = rng.uniform(-0.7, 0.7), rng.uniform(0.9, 2.2)
    mid_m = size_m * rng.uniform(0.4, 0.6, 4).astype(np.float32)
    off_m = np.cos(angle) * (south_m - mid_m[0]) - np.sin(angle) * (east_m - mid_m[1])
    run_m = np.sin(angle) * (south_m - mid_m[0]) + np.cos(angle) * (east_m - mid_m[1])
    off_m = np.abs(off_m + run_m**2 / 18000)
    rail_m = np.abs(np.cos(tilt) * (south_m - mid_m[2]) - np.sin(tilt) * (east_m - mid_m[3]))
    return np.asarray(((off_m < 14) & (off_m > 3)) | (rail_m < 4))


def _village_distance(
    rng: np.random.Generator, scenery: Scenery, block: _Blocks, east_m: Floats, south_m: Floats, rough: Floats
) -> Floats:
    """Distance outside the nearest village; villages lie on roads, apart from each other."""
    step_m = float(east_m[0, 1] - east_m[0, 0])
    sites_m = block.roadside_cells[rng.permutation(len(block.roadside_cells))] * step_m
    inside = np.all((sites_m > 600) & (sites_m < len(rough) * step_m - 600), axis=1)
    chosen: list[Doubles] = []
    for site_m in sites_m[inside]:
        if len(chosen) < scenery.villages and all(np.hypot(*(site_m - c)) > 1100 for c in chosen):
            chosen.append(site_m)
    away_m = np.full(rough.shape, 1e4, np.float32)
    for south, east in chosen:
        radius_m = rng.uniform(140, 330)
        here_m = np.hypot(south_m - np.float32(south), east_m - np.float32(east)) - 1.5 * radius_m
        away_m = np.minimum(away_m, here_m.astype(np.float32))
    # They reach far along the roads, and little to their sides.
    return np.asarray(away_m + np.minimum(1.3 * block.road_m, 400) + 35 * rough, np.float32)


def _settle(
    rng: np.random.Generator,
    cover: NDArray[np.uint8],
    axes_m: tuple[Floats, Floats],
    village_m: Floats,
    water: Mask,
) -> None:
    """Fill villages with streets, gardens and houses on lots; farm halls stand at their rims."""
    near_village = np.nonzero((village_m < 75) & ~water)  # the rest of the grid need not be looked at
    here, along_m, across_m = village_m[near_village], axes_m[0][near_village], axes_m[1][near_village]
    inside, laid = here < 0, cover[near_village]
    laid[inside] = GARDEN
    for lot_m, within, kinds, chance in (
        ((25.0, 31.0), inside, (TILE, TILE, SLATE, BROADLEAF), 0.78),
        ((95.0, 80.0), here > -45, (HALL, TILE, HALL), 0.22),
    ):
        lot = np.stack([across_m / lot_m[1], along_m / lot_m[0]])
        number = tuple(np.floor(lot).astype(np.intp) % 128)
        half = rng.uniform(0.16, 0.34, (2, 128, 128))
        kind = rng.choice(np.array(kinds, np.uint8), (128, 128))
        there = rng.random((128, 128)) < chance
        covered = np.all(np.abs(lot - np.floor(lot) - 0.5) < half[(slice(None), *number)], axis=0)
        house = within & covered & there[number]
        laid[house] = kind[number][house]
    street = (np.abs(across_m / 62 % 1 - 0.5) * 62 < 3) | (np.abs(along_m / 150 % 1 - 0.5) * 150 < 3)
    laid[inside & street] = STREET
    cover[near_village] = laid


def _cast(mask: Mask, cells: int) -> Floats:
    """Shadow of what stands on `mask`, to the north-west: the sun stands in the south-east."""
    shadow = np.zeros_like(mask)
    for k in range(1, cells + 1):
        shadow |= np.roll(mask, (-k, -k * 3 // 4), axis=(0, 1))
    return np.asarray(shadow & ~mask, np.float32)
