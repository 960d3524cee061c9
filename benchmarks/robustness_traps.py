"""Pairs that invite a wrong answer, each from its number alone.

In most of them something is printed at the same pixels of both images, or the ground repeats itself, while the ground lies
elsewhere: both have one geotransform, so the invited answer is that nothing has moved. Answers there are wrong by the
whole displacement, which is beyond `Trial.wrong_px`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from robustness_ground import Floats, Picture, Trial, layer, lumps, pick, placed, quantised, see
from robustness_pairs import north_up, shared_points
from scipy import ndimage

OVERSAMPLING = 4
"""Of made ground, per axis."""


@dataclass(frozen=True)
class Scene:
    """Two images of the ground, of deviation 1 about 0, and the displacement between them."""

    ref: Floats
    tgt: Floats
    displacement_px: Floats
    """(column, row): pixel coordinates in the reference less those in the target."""
    about: dict[str, object]
    invalid: NDArray[np.bool_] | None = None
    """Pixels without data, in both."""


def trap(number: int) -> Trial:
    """The trap of the number's remainder."""
    rng = np.random.default_rng([4, number])
    name = list(TRAPS)[number % len(TRAPS)]
    scene = TRAPS[name](rng)
    nodata = 0.0 if scene.invalid is not None and rng.random() < 0.5 else None
    shape = scene.ref.shape
    pictures = []
    for image in (scene.ref, scene.tgt):
        values = quantised(0.5 + image / 6, rng, snr_db=float(rng.uniform(20, 30)))
        if scene.invalid is not None:
            values[scene.invalid] = 0
        pictures.append(Picture(values, north_up(np.zeros(2), 1.0, 10.0), nodata))
    moved = placed(1.0, 0.0, scene.displacement_px, (0, 0))
    tgt_px, ref_px = shared_points((np.eye(3), moved), shape, shape)
    about = {"displacement_px": scene.displacement_px.tolist(), "nodata": nodata, **scene.about}
    return Trial(pictures[0], pictures[1], tgt_px, ref_px, {"trap": name}, about=about)


def _offset(rng: np.random.Generator, low: float = 5.0, high: float = 40.0) -> Floats:
    turn = rng.uniform(-math.pi, math.pi)
    return rng.uniform(low, high) * np.array([math.cos(turn), math.sin(turn)])


def _real(rng: np.random.Generator, offset_px: Floats | None = None) -> Scene:
    """Real ground, ``offset_px`` away in the reference."""
    offset_px = _offset(rng) if offset_px is None else offset_px
    while True:
        ground = pick(rng)
        source, extent = ground.ref_layers[0], np.array(layer(*ground.ref_layers[0])[0].shape[::-1])
        gsd = 2.0 if extent.min() > 1100 else 1.25
        room = extent - np.ceil(np.abs(offset_px)) * gsd
        width, height = (min(int(rng.integers(384, 640)), int(side / gsd)) for side in room)
        if min(width, height) < 256:
            continue
        corner = np.maximum(offset_px, 0) * gsd + rng.uniform(0, 1, 2) * (room - np.array([width, height]) * gsd)
        seen = [see(source, placed(gsd, 0.0, corner - at * gsd, (0, 0)), (height, width)) for at in (0, offset_px)]
        # what lies at p in the target, whose corner is further to the left, lies at p - offset in the reference
        if seen[0] is not None and seen[1] is not None and min(image.std() for image in seen) > 0:
            mean, deviation = seen[0].mean(), seen[0].std()
            ref, tgt = (np.clip((image - mean) / deviation, -3, 3) for image in seen)
            return Scene(ref, tgt, -offset_px, {"ground": ground.name, "gsd": gsd, "corner_px": corner.tolist()})


def _printed(mark: Callable[[tuple[int, ...], np.random.Generator], tuple[Floats, Floats]]) -> Callable:
    """A trap of real ground over which a mark (value, opacity) is printed at the same pixels."""

    def make(rng: np.random.Generator) -> Scene:
        scene = _real(rng)
        value, opacity = mark(scene.ref.shape, rng)
        ref, tgt = (image * (1 - opacity) + value * opacity for image in (scene.ref, scene.tgt))
        return Scene(ref, tgt, scene.displacement_px, scene.about)

    return make


def _pattern(level: float) -> Callable:
    """Fixed-pattern noise of ``level`` ground deviations: of pixels, blurred, or of columns."""

    def make(rng: np.random.Generator) -> Scene:
        scene = _real(rng)
        kind = str(rng.choice(["pixels", "blurred", "columns"]))
        noise = rng.normal(size=scene.ref.shape)
        if kind == "blurred":
            noise = ndimage.gaussian_filter(noise, 1.0)
        if kind == "columns":
            noise = noise + 2 * rng.normal(size=(1, noise.shape[1]))
        noise *= level / noise.std()
        about = {**scene.about, "pattern": kind}
        return Scene(scene.ref + noise, scene.tgt + noise, scene.displacement_px, about)

    return make


def _watermark(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Floats, Floats]:
    drawn, size = np.zeros(shape, np.uint8), float(rng.uniform(0.5, 1.6))
    for row in range(20, shape[0], int(rng.integers(60, 140))):
        for col in range(-60 + row % 90, shape[1], int(size * 220)):
            cv2.putText(drawn, "SAMPLE ONLY", (col, row), cv2.FONT_HERSHEY_SIMPLEX, size, 255, 2, cv2.LINE_AA)
    return np.full(shape, 3.0), drawn / 255.0 * rng.uniform(0.3, 1.0)


def _grid_lines(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Floats, Floats]:
    step, width = int(rng.integers(40, 128)), int(rng.integers(1, 4))
    row, col = np.indices(shape)
    return np.full(shape, float(rng.choice([-3.0, 3.0]))), ((row % step < width) | (col % step < width)).astype(float)


def _clouds(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Floats, Floats]:
    cover = (lumps((shape[0], shape[1]), min(shape) / 10, rng) > 1 - rng.uniform(0.2, 0.5)).astype(float)
    return 2.5 + 0.8 * lumps((shape[0], shape[1]), 6, rng), ndimage.gaussian_filter(cover, 2)


def _collar(rng: np.random.Generator) -> Scene:
    """The same jagged outline of no data, turned, about both; in half of the trials the files do not say that it is none."""
    scene = _real(rng)
    row, col = np.indices(scene.ref.shape)
    turn, step = rng.uniform(-0.3, 0.3), int(rng.integers(4, 24))
    along, across = col * math.cos(turn) + row * math.sin(turn), row * math.cos(turn) - col * math.sin(turn)
    invalid = np.zeros(scene.ref.shape, bool)
    for one, other in ((along, across), (across, along)):
        teeth = rng.uniform(0, 20, int(np.ptp(other) / step) + 2)[((other - other.min()) / step).astype(int)]
        low, high = np.quantile(one, [0.12, 0.88])
        invalid |= (one < low + teeth) | (one > high - teeth)
    return Scene(scene.ref, scene.tgt, scene.displacement_px, scene.about, invalid)


def _made(draw: Callable[[Floats, Floats], Floats], shape: tuple[int, int], offset_px: Floats) -> list[Floats]:
    """Both images of made ground, a function of its coordinates, whose features lie ``offset_px`` on in the reference."""
    fine = [(np.arange(n * OVERSAMPLING) + 0.5) / OVERSAMPLING for n in shape]
    row, col = np.meshgrid(*fine, indexing="ij")
    out = []
    for x, y in ((col - offset_px[0], row - offset_px[1]), (col, row)):
        cells = draw(x, y).reshape(shape[0], OVERSAMPLING, shape[1], OVERSAMPLING)
        out.append(ndimage.gaussian_filter(cells.mean(axis=(1, 3)), 0.5))
    mean, deviation = out[1].mean(), max(out[1].std(), 1e-9)
    return [(image - mean) / deviation for image in out]


def _wave(phase: Floats, width: float) -> Floats:
    """1 over a share ``width`` of each period, 0 elsewhere, with soft edges."""
    return np.asarray(1 / (1 + np.exp(-12 * (np.cos(2 * np.pi * phase) - math.cos(math.pi * width)))))


def _periodic(kind: str, context: bool) -> Callable:
    """Ground that repeats itself, displaced by one period; with ``context``, in patches of real ground."""

    def make(rng: np.random.Generator) -> Scene:
        turn, period_px = rng.uniform(0, math.pi), rng.uniform(12, 64)
        other_px = period_px * rng.uniform(1.0, 1.8)
        axis = np.array([math.cos(turn), math.sin(turn)])
        width, offset_px = rng.uniform(0.25, 0.6), axis * period_px * rng.choice([-1, 1])

        def draw(x: Floats, y: Floats) -> Floats:
            along, across = (x * axis[0] + y * axis[1]) / period_px, (y * axis[0] - x * axis[1]) / other_px
            if kind == "rows":
                return _wave(along, width)
            if kind == "plantation":
                return _wave(along, width) * _wave(across, width)
            return np.maximum(_wave(along, 0.2), _wave(across, 0.2))

        about: dict[str, object] = {"turn_deg": math.degrees(turn), "period_px": period_px, "other_px": other_px}
        if not context:
            shape = (int(rng.integers(384, 640)), int(rng.integers(384, 640)))
            return Scene(*_made(draw, shape, offset_px), offset_px, about)
        scene = _real(rng, -offset_px)
        shape = (scene.ref.shape[0], scene.ref.shape[1])
        patches = lumps((shape[0] + 160, shape[1] + 160), 60, rng) < rng.uniform(0.4, 0.8)
        made = _made(draw, shape, offset_px)
        images = []
        for image, pattern, at in zip((scene.ref, scene.tgt), made, (offset_px, np.zeros(2)), strict=True):
            inside = ndimage.shift(patches.astype(float), at[::-1], order=1)[80:-80, 80:-80]
            images.append(image * (1 - inside) + pattern * inside)
        return Scene(images[0], images[1], offset_px, {**scene.about, **about})

    return make


def _edge(rng: np.random.Generator) -> Scene:
    """One straight edge, along which nothing says where it is."""
    turn, offset_px = rng.uniform(0, math.pi), _offset(rng, 8.0)
    shape = (int(rng.integers(384, 640)), int(rng.integers(384, 640)))
    axis, middle = np.array([math.cos(turn), math.sin(turn)]), np.array(shape[::-1]) / 2

    def draw(x: Floats, y: Floats) -> Floats:
        return np.asarray(((x - middle[0]) * axis[0] + (y - middle[1]) * axis[1] > 0).astype(float))

    return Scene(*_made(draw, shape, offset_px), offset_px, {"turn_deg": math.degrees(turn)})


def _nothing(kind: str) -> Callable:
    """No ground at all: one value, noise of each image's own, or a slope."""

    def make(rng: np.random.Generator) -> Scene:
        shape = (int(rng.integers(384, 640)), int(rng.integers(384, 640)))
        row, col = np.indices(shape) / 300.0
        noise, slope = {"one value": (0.0, 0.0), "noise": (1.0, 0.0), "slope": (0.3, 1.0)}[kind]
        images = [slope * (col + 0.5 * row) + noise * rng.normal(size=shape) for _ in range(2)]
        return Scene(images[0], images[1], _offset(rng, 8.0), {})

    return make


TRAPS: dict[str, Callable[[np.random.Generator], Scene]] = {
    "fixed pattern 0.25": _pattern(0.25),
    "fixed pattern 0.5": _pattern(0.5),
    "fixed pattern 1.0": _pattern(1.0),
    "watermark": _printed(_watermark),
    "grid lines": _printed(_grid_lines),
    "identical clouds": _printed(_clouds),
    "jagged collar": _collar,
    "vine rows in context": _periodic("rows", True),
    "plantation in context": _periodic("plantation", True),
    "streets in context": _periodic("streets", True),
    "vine rows alone *": _periodic("rows", False),
    "plantation alone *": _periodic("plantation", False),
    "streets alone *": _periodic("streets", False),
    "straight edge *": _edge,
    "one value *": _nothing("one value"),
    "noise *": _nothing("noise"),
    "slope *": _nothing("slope"),
}
"""An answer to those with a star could be right by chance alone: refusal is right."""
