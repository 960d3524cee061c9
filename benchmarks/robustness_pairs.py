"""Displaced, identical and unrelated pairs of real ground, each from its number alone."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from optics import data_folder
from robustness_ground import (
    CORNER_XY,
    Floats,
    Ground,
    Picture,
    Trial,
    apply,
    clouded,
    corners,
    grounds,
    layer,
    pick,
    placed,
    quantised,
    see,
    tone,
)

STRATA = ("offset", "rotation", "scale", "gsd ratio", "all", "small in big")
GEOREFERENCED = "georeferenced"
MAX_OFFSET_PX = 500
"""By which the target's georeferencing is wrong, pixels of the coarser raster."""
MIN_OVERLAP = 0.5
"""Of the smaller image."""
MIN_DECLARED_OVERLAP = 0.1
"""Of the smaller image, by the wrong georeferencing: a target said to be elsewhere altogether is another error."""
SIDES_PX = (160, 1600)
"""Least and greatest side of an image."""
_GROUNDS, _ATTEMPTS = 100, 10
_CELL_PX = 16


def displaced(number: int) -> Trial:
    """Ground that both show, displaced, turned, scaled or seen with other pixels, by the number's remainder."""
    rng = np.random.default_rng([1, number])
    stratum = STRATA[number % len(STRATA)]
    placement = rng.choice([GEOREFERENCED, "target plain", "both plain"], p=[2 / 3, 1 / 6, 1 / 6])
    for _ in range(_GROUNDS):
        ground = pick(rng)
        for _ in range(_ATTEMPTS):  # on each, so that small ones have their share of the trials
            trial = _displaced(stratum, str(placement), ground, rng)
            if trial is not None:
                return trial
    raise AssertionError(f"no ground holds displaced trial {number}")


def _displaced(stratum: str, placement: str, ground: Ground, rng: np.random.Generator) -> Trial | None:
    scale, ratio, angle = _change(stratum, placement, rng)
    extent = layer(*ground.ref_layers[0])[0].shape[::-1]
    ref_gsd, tgt_gsd = _finest(extent, rng) * np.array([max(1, 1 / (scale * ratio)), max(1, scale * ratio)])
    shapes = _shapes(stratum, (ref_gsd, tgt_gsd), angle, extent, rng)
    if shapes is None:
        return None
    ref_shape, tgt_shape = shapes
    to_ground = _place(ref_shape, tgt_shape, (ref_gsd, tgt_gsd), angle, extent, rng)
    if to_ground is None:
        return None
    layers, kind = _layers(ground, rng)
    inverted = kind != "other band" and rng.random() < 0.1
    seen = [see(layers[0], to_ground[0], ref_shape), see(layers[1], _moved(ground) @ to_ground[1], tgt_shape)]
    if seen[0] is None or seen[1] is None:
        return None
    tgt_px, ref_px = shared_points(to_ground, ref_shape, tgt_shape)
    if not (_textured(seen[0], ref_px) and _textured(seen[1], tgt_px)):
        return None
    images = [tone(seen[0], rng), tone(seen[1], rng, inverted)]
    cloud = [rng.random() < share for share in (0.05, 0.15)]
    images = [
        clouded(image, rng.uniform(0.1, 0.4), rng) if over else image for image, over in zip(images, cloud, strict=True)
    ]
    transforms = _declared(ground, to_ground, shapes, (ref_gsd, tgt_gsd / scale), rng)
    plain = placement != GEOREFERENCED, placement == "both plain"
    return Trial(
        Picture(quantised(images[0], rng), None if plain[1] else transforms[0]),
        Picture(quantised(images[1], rng), None if plain[0] else transforms[1]),
        tgt_px,
        ref_px,
        {
            "stratum": stratum,
            "what differs": "contrast inverted" if inverted else "cloud" if any(cloud) else kind,
            "placement": placement,
            "ground": ground.name,
        },
        per_px=ref_gsd / max(ref_gsd, tgt_gsd),
        about={
            "angle_deg": math.degrees(angle), "scale": scale, "gsd_ratio": ratio, "layers": layers, "cloud": cloud,
            "finest_px": min(ref_gsd, tgt_gsd), "shapes": shapes, "kind": kind, "inverted": inverted,
            "to_reference_px": (np.linalg.inv(to_ground[0]) @ to_ground[1]).tolist(),
        },
    )  # fmt: skip


def _change(stratum: str, placement: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Scale that the georeferencing does not know, ratio of pixel sizes that it does, and angle in radians."""
    scale, ratio, angle = np.exp(rng.uniform(-1, 1) * math.log(2)), 1.0, rng.uniform(-math.pi, math.pi)
    most = math.log(4 if placement == GEOREFERENCED else 2)
    if stratum in ("gsd ratio", "all"):
        ratio = math.exp(rng.uniform(-most, most))
    if stratum == "all":
        ratio = min(max(ratio, math.exp(-most) / scale), math.exp(most) / scale)
    some = stratum == "small in big" and rng.random() < 0.5
    return (
        float(scale) if stratum in ("scale", "all") or some else 1.0,
        ratio,
        angle if stratum in ("rotation", "all") or some else 0.0,
    )


def _finest(extent: tuple[int, ...], rng: np.random.Generator) -> float:
    """Ground pixels per pixel of the finer image: two or three where there is ground enough."""
    drawn = rng.uniform(2, 3) if rng.random() < 0.7 else 1.25
    return float(drawn if min(extent) > 1400 else 1.25)


def _shapes(
    stratum: str, gsd: tuple[float, float], angle: float, extent: tuple[int, ...], rng: np.random.Generator
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(height, width) of reference and target, made to fit the ground; None where too little would be left."""
    small = stratum == "small in big"
    tgt_side = np.maximum(rng.uniform(*((256, 400) if small else (400, 1000)), 2) * gsd[1], 200 * max(gsd))
    ref_side = tgt_side * rng.uniform(*((2.5, 4.0) if small else (0.7, 1.5)), 2)
    tgt_side = np.minimum(tgt_side, SIDES_PX[1] * gsd[1])
    ref_side = np.minimum(np.minimum(ref_side, SIDES_PX[1] * gsd[0]), extent)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    box = np.array([cos * tgt_side[0] + sin * tgt_side[1], sin * tgt_side[0] + cos * tgt_side[1]])
    tgt_side = tgt_side * min(1.0, float((np.asarray(extent) / box).min()))
    sides = [(side / size).astype(int) for side, size in zip((ref_side, tgt_side), gsd, strict=True)]
    if min(int((side * size / max(gsd)).min()) for side, size in zip(sides, gsd, strict=True)) < SIDES_PX[0]:
        return None
    if small and np.prod(ref_side) < 4 * np.prod(tgt_side):
        return None
    (ref_w, ref_h), (tgt_w, tgt_h) = sides
    return (int(ref_h), int(ref_w)), (int(tgt_h), int(tgt_w))


def _place(
    ref_shape: tuple[int, int],
    tgt_shape: tuple[int, int],
    gsd: tuple[float, float],
    angle: float,
    extent: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[Floats, Floats] | None:
    """Ground pixels of both images' pixels, with overlap enough; None where chance finds none."""
    size = np.array(ref_shape[::-1]) * gsd[0]
    whole = shapely.box(0, 0, *extent)
    for _ in range(60):
        corner = rng.uniform(0, 1, 2) * (np.asarray(extent) - size)
        at = corner + size * rng.uniform(0, 1, 2)
        ref = placed(gsd[0], 0.0, corner, (0, 0))
        tgt = placed(gsd[1], angle, at, np.array(tgt_shape[::-1]) / 2)
        outlines = [shapely.Polygon(apply(t, corners(s))) for t, s in ((ref, ref_shape), (tgt, tgt_shape))]
        shared = outlines[0].intersection(outlines[1]).area / min(outline.area for outline in outlines)
        if shared >= MIN_OVERLAP and whole.contains(outlines[1]):
            return ref, tgt
    return None


def _layers(ground: Ground, rng: np.random.Generator) -> tuple[tuple[tuple[str, int], tuple[str, int]], str]:
    first = int(rng.integers(len(ground.ref_layers)))
    others = [k for k in range(len(ground.ref_layers)) if k != first]
    if ground.two_dates:
        return (ground.ref_layers[first], ground.tgt_layers[first]), "other date"
    if others and rng.random() < 0.4:
        return (ground.ref_layers[first], ground.tgt_layers[int(rng.choice(others))]), "other band"
    return (ground.ref_layers[first], ground.tgt_layers[first]), "same band"


def _moved(ground: Ground) -> Floats:
    return placed(1.0, 0.0, ground.displacement_px, (0, 0))


def shared_points(to_ground: tuple[Floats, Floats], ref_shape: tuple[int, int], tgt_shape: tuple[int, int]) -> tuple:
    """Target and reference pixels of the shared ground: the corners of its outline and a lattice."""
    to_ref = np.linalg.inv(to_ground[0]) @ to_ground[1]
    shared = shapely.Polygon(apply(to_ref, corners(tgt_shape))).intersection(shapely.Polygon(corners(ref_shape)))
    left, top, right, bottom = shared.bounds
    lattice = np.stack(np.meshgrid(np.linspace(left, right, 13), np.linspace(top, bottom, 13)), axis=-1).reshape(-1, 2)
    inside = lattice[shapely.contains_xy(shared, lattice[:, 0], lattice[:, 1])]
    ref_px = np.concatenate([shapely.get_coordinates(shared)[:-1], inside])
    return apply(np.linalg.inv(to_ref), ref_px), ref_px


def _textured(image: Floats, shared_px: Floats) -> bool:
    """Whether a quarter of the shared cells varies by more than a fifth of the image's deviation: it is no mere water."""
    rows, cols = (n // _CELL_PX for n in image.shape)
    cells = image[: rows * _CELL_PX, : cols * _CELL_PX].reshape(rows, _CELL_PX, cols, _CELL_PX)
    x, y = np.meshgrid((np.arange(cols) + 0.5) * _CELL_PX, (np.arange(rows) + 0.5) * _CELL_PX)
    inside = shapely.contains_xy(shapely.MultiPoint(shared_px).convex_hull, x, y)
    return bool(np.mean(cells.std(axis=(1, 3))[inside] > 0.2 * image.std()) > 0.25)


def _declared(
    ground: Ground,
    to_ground: tuple[Floats, Floats],
    shapes: tuple[tuple[int, int], tuple[int, int]],
    gsd: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[Affine, Affine]:
    """Geotransforms: the reference's right; the target's north-up, of nominal pixel size, and in another place."""
    ref_size, tgt_size = (np.array(shape[::-1]) * size for shape, size in zip(shapes, gsd, strict=True))
    ref_corner = to_ground[0][:2, 2]
    ref_box = shapely.box(*ref_corner, *(ref_corner + ref_size))
    centre = apply(to_ground[1], np.array(shapes[1][::-1]) / 2)
    reach = MAX_OFFSET_PX * max(gsd)
    while True:
        turn = rng.uniform(-math.pi, math.pi)
        corner = centre + reach * rng.random() * np.array([math.cos(turn), math.sin(turn)]) - tgt_size / 2
        shared = shapely.box(*corner, *(corner + tgt_size)).intersection(ref_box).area
        if shared >= MIN_DECLARED_OVERLAP * min(np.prod(ref_size), np.prod(tgt_size)):
            break
        reach *= 0.97
    unit = layer(*ground.ref_layers[0])[2]
    return north_up(ref_corner, gsd[0], unit), north_up(corner, gsd[1], unit)


def north_up(corner_px: Floats, gsd: float, unit: float) -> Affine:
    """Geotransform of an image whose first corner lies at ``corner_px`` of ground whose pixels are ``unit`` wide."""
    x, y = CORNER_XY[0] + unit * corner_px[0], CORNER_XY[1] - unit * corner_px[1]
    return Affine(unit * gsd, 0.0, float(x), 0.0, -unit * gsd, float(y))


def identical(number: int) -> Trial:
    """The same ground on the same grid; noise, and in half of the trials tone, of their own."""
    rng = np.random.default_rng([2, number])
    while True:
        ground = pick(rng)
        source, extent = ground.ref_layers[0], layer(*ground.ref_layers[0])[0].shape[::-1]
        gsd = _finest(extent, rng)
        width, height = (min(int(rng.integers(300, 800)), int(side / gsd)) for side in extent)
        corner = rng.uniform(0, 1, 2) * (np.array(extent) - np.array([width, height]) * gsd)
        to_ground = placed(gsd, 0.0, corner, (0, 0))
        seen = see(source, to_ground, (height, width))
        if seen is not None and _textured(seen, corners(seen.shape)):
            break
    images = [tone(seen, rng), tone(seen, rng)] if rng.random() < 0.5 else [tone(seen, rng)] * 2
    transform = north_up(corner, gsd, layer(*source)[2])
    ref, tgt = (Picture(quantised(image, rng), transform) for image in images)
    px, _ = shared_points((to_ground, to_ground), seen.shape, seen.shape)
    labels = {"ground": ground.name}
    return Trial(ref, tgt, px, px, labels, solved_px=0.03, about={"layer": source, "shape": seen.shape, "gsd": gsd})


@lru_cache(maxsize=1)
def _places() -> dict[str, list[tuple[str, int]]]:
    """Layers by the place that they show."""
    found: dict[str, list[tuple[str, int]]] = {}
    for ground in grounds():
        apart = ground.place == "l8-pan-ms-cloudy" and ground.name.startswith("S2")  # another coast
        found.setdefault(ground.name if apart else ground.place, []).extend(ground.ref_layers)
    for place, patterns in {
        "micasense-orchard": ["*.tif"],
        "cfog-multimodal": ["*.tif", "*.png", "*/*.tif", "*/*.png"],
        "srif-subset": ["*/*.jpg"],
    }.items():
        files = sorted(path for pattern in patterns for path in (data_folder() / place).glob(pattern))
        if files:
            found[place] = [(str(path.relative_to(data_folder())), 1) for path in files]
    return found


def unrelated(number: int) -> Trial:
    """Two places, or two windows of one that share nothing."""
    rng = np.random.default_rng([3, number])
    names = sorted(_places())
    views: list[tuple[slice, slice] | None] = [None, None]
    while None in views:
        one, two = rng.choice(len(names), 2, replace=False)
        within = rng.random() < 0.3
        layers = [_places()[names[k]] for k in (one, two)]
        first, second = (choices[int(rng.integers(len(choices)))] for choices in layers)
        sources = (first, first if within else second)
        views = [_window(source, within, rng) for source in sources]
        if within and None not in views and _touch(*views):
            views = [None, None]
    georeferenced, pictures = bool(number % 2), []
    for source, view in zip(sources, views, strict=True):
        values, valid = (array[view] for array in layer(*source)[:2])
        image = tone(values.astype(float), rng)
        values = np.where(valid, quantised(image, rng), 0)
        gsd = float(np.exp(rng.uniform(-0.7, 0.7))) if georeferenced and rng.random() < 0.5 else 1.0
        corner = -np.array(values.shape[::-1]) * gsd * rng.uniform(0.4, 0.6, 2)
        pictures.append(Picture(values, north_up(corner, gsd, 10.0), 0.0) if georeferenced else Picture(values))
    none = np.zeros((0, 2))
    labels = {
        "what": "two windows of one image" if within else "two places",
        "placement": GEOREFERENCED if georeferenced else "both plain",
    }
    about = {"layers": sources, "windows": [str(view) for view in views]}
    return Trial(pictures[0], pictures[1], none, none, labels, about=about)


def _window(source: tuple[str, int], within: bool, rng: np.random.Generator) -> tuple[slice, slice] | None:
    values, valid, _ = layer(*source)
    most = [n // 2 if within else n for n in values.shape]
    if min(most) < 200:
        return None
    size = [min(int(rng.integers(256, 1025)), n) for n in most]
    row, col = (int(rng.integers(n - side + 1)) for n, side in zip(values.shape, size, strict=True))
    view = slice(row, row + size[0]), slice(col, col + size[1])
    return view if valid[view].mean() > 0.9 and values[view][valid[view]].std() > 0 else None


def _touch(one: tuple[slice, slice], two: tuple[slice, slice]) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, two, strict=True))
