"""What `models.py` fits: displacements of every kind, pairs of images that show them, and tie points that hold them.

A displacement is a function of ``uv``, which is ±1 at the sides of the target (u east, v north), and gives reference −
target in pixels, east and north. The ground is a made landscape on cells four times finer than the pixels, seen through a
Gaussian whose transfer at the Nyquist frequency of the pixels is `MTF`; a spline of fifth order samples it wherever a pixel
truly looks. Whatever else is in an image (other ground, ground that moved, cloud) is laid on at those places, softly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import fft, ndimage

from georeg.tie_points import Inputs, TiePoints

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sample_tiles"))

from landscape import Scenery, build
from optics import OVERSAMPLING
from tones import render

Floats = NDArray[np.float64]
Displacement = Callable[[Floats], Floats]
"""(N, 2) uv -> (N, 2) reference − target, px east and north."""
KINDS = ("translation", "similarity", "affine", "homography", "polynomial2", "polynomial3", "local")
"""The simplest first."""
HALF_PX, GSD = 500, 10.0
SIDE_PX = 2 * HALF_PX
CENTRE_XY = np.array([405_000.0, 5_495_000.0])
CRS = "EPSG:32633"
MARGIN_PX = 40
"""Of ground about the reference, for what the target sees."""
MTF, SNR_DB = 0.2, 30.0
BENDING_PX, BENDING_LENGTH_PX = 5.0, 250.0
"""Of polynomials and of the local kind, from peak to peak over the image; and the length over which the latter is correlated."""
BANDS = ("red", "nir")
MOVED_PX, CHANGED_PX, CLOUD_PX = 18, 40, 50
"""Half widths of patches, about: what moved fills a window or two, one vector each."""
_FINE = (SIDE_PX + 2 * MARGIN_PX) * OVERSAMPLING
_NODE_PX = 4
"""Spacing of the nodes of masks."""


# ---- displacements


def displacement(kind: str, rng: np.random.Generator, strength: float = 1.0) -> Displacement:
    """A random one: some pixels of shift, and what is of the kind, weakened by ``strength``. ``none`` is zero."""
    shift = rng.uniform(-8, 8, 2) * (kind != "none")
    if kind == "local":
        return _plus(shift, _bending(rng, strength))
    if kind == "homography":
        return _plus(shift, _perspective(rng, strength))
    return _plus(shift, _polynomial(_coefficients(kind, rng) * strength))


def _plus(shift: Floats, rest: Displacement) -> Displacement:
    return lambda uv: shift + rest(np.asarray(uv, float).reshape(-1, 2))


_EXPONENTS = [(n - j, j) for n in (1, 2, 3) for j in range(n + 1)]


def _coefficients(kind: str, rng: np.random.Generator) -> Floats:
    """(9, 2) px of the terms of `_EXPONENTS`: 0.05° and 200 ppm; 0.3 %; bends of `BENDING_PX`."""
    out = np.zeros((9, 2))
    if kind == "similarity":
        growth, turn = HALF_PX * np.array([200e-6, np.radians(0.05)]) * rng.choice([-1, 1], 2)
        out[0], out[1] = (growth, turn), (-turn, growth)
    if kind in ("affine", "polynomial2", "polynomial3"):
        out[:2] = HALF_PX * 0.003 * rng.uniform(0.4, 1, (2, 2)) * rng.choice([-1, 1], (2, 2))
    if kind in ("polynomial2", "polynomial3"):
        bends = slice(2, 5 if kind == "polynomial2" else 9)
        out[bends] = rng.uniform(1, 3, out[bends].shape) * rng.choice([-1, 1], out[bends].shape)
        out[bends] *= BENDING_PX / np.ptp(_terms(lattice(1.0, 41))[:, bends] @ out[bends], axis=0)
    return out


def _terms(uv: Floats) -> Floats:
    return np.stack([uv[:, 0] ** i * uv[:, 1] ** j for i, j in _EXPONENTS], axis=1)


def _polynomial(coefficients: Floats) -> Displacement:
    return lambda uv: _terms(uv) @ coefficients


def _perspective(rng: np.random.Generator, strength: float) -> Displacement:
    """Nearer on one side by up to 0.6 %, which moves that side by 3 px."""
    turn = rng.uniform(-np.pi, np.pi)
    slope = 0.006 * strength * np.array([np.cos(turn), np.sin(turn)])
    linear = 0.003 * strength * rng.uniform(-1, 1, (2, 2))
    return lambda uv: HALF_PX * ((uv + uv @ linear.T) / (1 + uv @ slope)[:, None] - uv)


def _bending(rng: np.random.Generator, strength: float, waves: int = 96) -> Displacement:
    """A smooth random field: waves whose spectrum is that of a Gaussian correlation."""
    vector = rng.normal(size=(2, waves, 2)) * HALF_PX / BENDING_LENGTH_PX
    phase = rng.uniform(0, 2 * np.pi, (2, waves))

    def raw(uv: Floats) -> Floats:
        return np.stack([np.cos(uv @ vector[k].T + phase[k]).sum(axis=1) for k in (0, 1)], axis=1)

    size = BENDING_PX * strength / np.ptp(raw(lattice(1.0, 41)), axis=0)
    return lambda uv: size * raw(uv)


def lattice(reach: float, n: int) -> Floats:
    """(n², 2) uv, evenly spaced in ± ``reach``."""
    line = np.linspace(-reach, reach, n)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def to_xy(uv: Floats) -> Floats:
    """Map coordinates."""
    return np.asarray(CENTRE_XY + GSD * HALF_PX * uv)


def error_px(model: Callable[[Floats], Floats], truth: Displacement, uv: Floats) -> Floats:
    """(N, 2) displacement of a fitted model − truth."""
    return np.asarray((model(to_xy(uv)) - to_xy(uv)) / GSD - truth(uv))


# ---- images


@dataclass(frozen=True)
class Condition:
    """What differs between the images but their displacement."""

    name: str
    tgt_band: str = "red"
    moved: float = 0.0
    """Share of the ground that, patch by patch, lies 2 to 20 px from where it was."""
    changed: float = 0.0
    """Share of the ground that is other ground, in patches."""
    cloud: float = 0.0
    """Share of each image under cloud, which drifts by 30 to 120 px from one to the other, with its shadow."""


CONDITIONS = {
    condition.name: condition
    for condition in (
        Condition("clean"),
        Condition("moved 30 %", moved=0.3),
        Condition("changed 30 %", changed=0.3),
        Condition("cloud 15 %", cloud=0.15),
        Condition("changed 5 %", changed=0.05),
        Condition("red/nir", tgt_band="nir"),
    )
}


def make_ground(seed: int, folder: Path) -> None:
    """Leave the splines of both bands of a landscape in a folder.

    Without cast shadows: beside what is dark in one band and bright in the other, a shadow moves what is seen.
    """
    land = build(Scenery(seed), side=_FINE, step_m=GSD / OVERSAMPLING)
    land.shadow.fill(0)
    for band in BANDS:
        spectrum = fft.rfft2(render(land, band=band).astype(float)) * _transfer() / _spline_spectrum()
        np.save(folder / f"{seed}_{band}.npy", fft.irfft2(spectrum, s=(_FINE, _FINE)).astype(np.float32))


def _frequencies() -> tuple[Floats, Floats]:
    """Cycles per cell by row and by column."""
    return fft.fftfreq(_FINE)[:, None], fft.rfftfreq(_FINE)[None]


def _transfer() -> Floats:
    fy, fx = _frequencies()
    return np.asarray(MTF ** ((fx**2 + fy**2) * (2 * OVERSAMPLING) ** 2))


def _spline_spectrum() -> Floats:
    """Dividing by that of the quintic B-spline turns samples into its coefficients."""
    row, col = ((66 + 52 * np.cos(2 * np.pi * f) + 2 * np.cos(4 * np.pi * f)) / 120 for f in _frequencies())
    return np.asarray(row * col)


@lru_cache(maxsize=4)
def spline(folder: Path, seed: int, band: str) -> NDArray[np.float32]:
    return np.asarray(np.load(folder / f"{seed}_{band}.npy", mmap_mode="r"))


def seen(coefficients: NDArray[np.float32], at_px: Floats) -> Floats:
    """(N,) the blurred ground at (N, 2) pixel coordinates of the reference; it repeats itself beyond its margin."""
    cell = (at_px + MARGIN_PX) * OVERSAMPLING - 0.5
    return np.asarray(
        ndimage.map_coordinates(
            coefficients, cell.T[::-1], order=5, mode="grid-wrap", prefilter=False, output=np.float64
        )
    )


def displaced_exactly(coefficients: NDArray[np.float32], shift_px: Floats) -> Floats:
    """(SIDE_PX²,) the ground at the pixels' centres displaced by (column, row), by a phase ramp, which needs no spline."""
    fy, fx = _frequencies()
    cells = (np.asarray(shift_px) + 0.5) * OVERSAMPLING - 0.5
    spectrum = fft.rfft2(coefficients.astype(float)) * _spline_spectrum()
    moved = fft.irfft2(spectrum * np.exp(2j * np.pi * (fx * cells[0] + fy * cells[1])), s=coefficients.shape)
    inner = slice(MARGIN_PX * OVERSAMPLING, -MARGIN_PX * OVERSAMPLING, OVERSAMPLING)
    return np.asarray(moved[inner, inner].ravel())


def seen_exactly(coefficients: NDArray[np.float32], at_px: Floats) -> Floats:
    """The same as `seen`, as the sum of its Fourier series; slow."""
    spectrum = fft.rfft2(coefficients.astype(float)) * _spline_spectrum()
    spectrum[:, 1:-1] *= 2
    cell = (at_px + MARGIN_PX) * OVERSAMPLING - 0.5
    turns = zip((1, 0), _frequencies(), strict=True)
    by_row, by_col = (np.exp(2j * np.pi * cell[:, k] * f.reshape(-1, 1)) for k, f in turns)
    return np.asarray(((spectrum @ by_col) * by_row).sum(axis=0).real / _FINE**2)


class Mask:
    """Soft patches over a share of the ground."""

    def __init__(self, share: float, size_px: float, rng: np.random.Generator, like: Mask | None = None) -> None:
        n = (SIDE_PX + 8 * MARGIN_PX) // _NODE_PX
        self.lumps = ndimage.gaussian_filter(rng.normal(size=(n, n)), size_px / _NODE_PX, mode="wrap")
        self.lumps /= self.lumps.std()
        if like is not None:
            self.lumps = 0.8 * like.lumps + 0.6 * self.lumps
        self.patches = self.lumps > np.quantile(self.lumps, 1 - share)
        self._soft = ndimage.spline_filter(ndimage.gaussian_filter(self.patches.astype(float), 1.0, mode="wrap"))

    def __call__(self, at_px: Floats) -> Floats:
        """(N,) 0 to 1 at pixel coordinates of the reference."""
        node = self._node(at_px)
        return np.clip(ndimage.map_coordinates(self._soft, node, mode="grid-wrap", prefilter=False), 0, 1)

    def offsets_px(self, at_px: Floats, rng: np.random.Generator) -> Floats:
        """(N, 2) one vector of 2 to 20 px for each patch and what is next to it."""
        label, n = ndimage.label(self.patches)
        nearest = ndimage.distance_transform_edt(~self.patches, return_distances=False, return_indices=True)
        turn, far = rng.uniform(-np.pi, np.pi, n), rng.uniform(2, 20, n)
        vectors = np.stack([far * np.cos(turn), far * np.sin(turn)], axis=1)
        row, col = (np.rint(index).astype(int) % len(label) for index in self._node(at_px))
        return np.asarray(vectors[label[tuple(nearest)][row, col] - 1])

    def _node(self, at_px: Floats) -> Floats:
        return np.asarray((at_px.T[::-1] + 4 * MARGIN_PX) / _NODE_PX)


@dataclass(frozen=True)
class Pair:
    """Two files and the displacement between them."""

    reference: Path
    target: Path
    truth: Displacement


def make_pair(kind: str, condition: Condition, number: int, grounds: Path, ground: int, folder: Path) -> Pair:
    """Of a number: the displacement is the same in every condition."""
    truth = displacement(kind, np.random.default_rng([1, KINDS.index(kind), number]))
    rng = np.random.default_rng([2, KINDS.index(kind), list(CONDITIONS).index(condition.name), number])
    centre_px = np.stack(np.meshgrid(*[np.arange(SIDE_PX) + 0.5] * 2), axis=-1).reshape(-1, 2)
    moved_px = truth((centre_px / HALF_PX - 1) * [1, -1]) * [1, -1]
    if np.abs(moved_px).max() > MARGIN_PX - 4:
        raise ValueError("the target sees beyond the ground")
    clouds = _clouds(condition.cloud, rng) if condition.cloud else None
    paths = []
    for name, band, at_px in (("ref", "red", centre_px), ("tgt", condition.tgt_band, centre_px + moved_px)):
        coefficients = spline(grounds, ground, band)
        image = seen(coefficients, at_px)
        noise = image.std() * 10 ** (-SNR_DB / 20)
        if name == "tgt":
            image = _replaced(image, coefficients, at_px, condition, rng)
        if clouds is not None:
            image = _clouded(image, *clouds[name], at_px)
        paths.append(_write(image + noise * rng.normal(size=len(image)), folder / f"{kind}_{number}_{name}.tif"))
    return Pair(paths[0], paths[1], truth)


def _replaced(
    image: Floats, coefficients: NDArray[np.float32], at_px: Floats, condition: Condition, rng: np.random.Generator
) -> Floats:
    """With patches of other ground, or of ground that moved, as the condition has it."""
    if condition.changed:
        share = Mask(condition.changed, CHANGED_PX, rng)(at_px)
        mirrored_px = at_px[:, ::-1] + rng.uniform(0, SIDE_PX, 2)  # which no shift or rotation brings back
        image = image * (1 - share) + share * seen(coefficients, mirrored_px)
    if condition.moved:
        mask = Mask(condition.moved, MOVED_PX, rng)
        share = mask(at_px)
        image = image * (1 - share) + share * seen(coefficients, at_px + mask.offsets_px(at_px, rng))
    return image


_Cloud = tuple[Mask, Mask, Floats]
"""Opacity, brightness, and the offset of both, px."""


def _clouds(share: float, rng: np.random.Generator) -> dict[str, _Cloud]:
    """Of both dates: the later ones have drifted and changed their shape."""
    first, texture = Mask(share, CLOUD_PX, rng), Mask(0.5, 8, rng)
    turn, far = rng.uniform(-np.pi, np.pi), rng.uniform(30, 120)
    drift_px = far * np.array([np.cos(turn), np.sin(turn)])
    return {"ref": (first, texture, np.zeros(2)), "tgt": (Mask(share, CLOUD_PX, rng, like=first), texture, drift_px)}


def _clouded(image: Floats, opacity: Mask, texture: Mask, drift_px: Floats, at_px: Floats) -> Floats:
    above, below = opacity(at_px - drift_px), opacity(at_px - drift_px - [45, 60])
    lit = image * (1 - 0.6 * below)
    return np.asarray(lit * (1 - above) + above * (4500 + 1500 * texture(at_px - drift_px)))


def _write(values: Floats, path: Path) -> Path:
    corner = CENTRE_XY + GSD * HALF_PX * np.array([-1, 1])
    profile = {"driver": "GTiff", "width": SIDE_PX, "height": SIDE_PX, "count": 1, "dtype": "uint16", "crs": CRS}
    with rasterio.open(path, "w", transform=Affine(GSD, 0, corner[0], 0, -GSD, corner[1]), **profile) as raster:
        raster.write(np.clip(np.rint(values), 1, 65535).astype(np.uint16).reshape(SIDE_PX, SIDE_PX), 1)
    return path


# ---- tie points


@dataclass(frozen=True)
class Layout:
    """How tie points lie, and how wrong they are."""

    n: int = 400
    step: float = 1.0
    """Distance of the windows as a share of their side: below 1 they overlap, and err together."""
    mismatches: float = 0.0
    """Share that lies anywhere in the search area."""
    drifting: float = 0.0
    """Share that lies in patches which all moved by one vector, as clouds do."""
    hole: bool = False
    """None where u and v are above 0, as in a lake."""
    sigma_px: float = 0.03
    """Typical deviation per axis; they differ from one to the next, and by direction."""
    excess_px: float = 0.01
    """Deviation per axis that their covariances do not know of."""
    search_px: float = 32.0


def tie_points(truth: Displacement, layout: Layout, rng: np.random.Generator) -> tuple[TiePoints, NDArray[np.bool_]]:
    """Tie points on a jittered lattice, and which of them (N,) are right but for noise."""
    side = round(np.sqrt(layout.n * (4 / 3 if layout.hole else 1)))
    uv = lattice(1 - 1 / side, side) + rng.uniform(-0.1, 0.1, (side**2, 2)) / side
    uv = uv[~((uv > 0).all(axis=1) & layout.hole)]
    window_uv = 2 / side / layout.step
    root = _roots(len(uv), layout.sigma_px, rng)
    noise = (root @ _overlapping(uv, window_uv, rng)[..., None])[..., 0] + layout.excess_px * rng.normal(size=uv.shape)
    moved, right = truth(uv) + noise, np.ones(len(uv), bool)
    if layout.drifting:
        right = np.abs(lumps := _lumps(uv, rng)) <= np.quantile(np.abs(lumps), 1 - layout.drifting)
        turn, far = rng.uniform(-np.pi, np.pi), rng.uniform(2, 20)
        moved[~right] += far * np.array([np.cos(turn), np.sin(turn)])
    wrong = rng.permutation(len(uv))[: round(layout.mismatches * len(uv))]
    moved[wrong], right[wrong] = rng.uniform(-layout.search_px, layout.search_px, (len(wrong), 2)), False
    points = TiePoints(
        ref_xy=to_xy(uv) + GSD * moved, tgt_xy=to_xy(uv), cov=GSD**2 * root @ root.swapaxes(1, 2), score=np.ones(len(uv)),
        status=np.zeros(len(uv), np.uint8), inputs=Inputs("ref.tif", "tgt.tif"), crs=CRS, gsd=GSD,
        window_px=max(1, round(window_uv * HALF_PX)), search_px=layout.search_px, chance=0.001, step=layout.step,
    )  # fmt: skip
    return points, right


def _roots(n: int, sigma_px: float, rng: np.random.Generator) -> Floats:
    """(n, 2, 2) roots R of covariances R Rᵀ: sizes differ by a factor of 1.6, axes by 1.5, typically."""
    size, ratio = sigma_px * np.exp(0.5 * rng.normal(size=n)), np.exp(0.2 * rng.normal(size=n))
    turn = rng.uniform(-np.pi, np.pi, n)
    axes = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], axis=1).reshape(n, 2, 2)
    scales = np.stack([size * ratio, size / ratio], axis=1)
    return np.asarray(
        (axes * scales[:, None, :]) @ axes.swapaxes(1, 2)
    )  # symmetric: it must not turn what windows share


def _overlapping(uv: Floats, window_uv: float, rng: np.random.Generator, cells: int = 12) -> Floats:
    """(N, 2) standard normal: means of white noise over the windows, which share what lies in several."""
    cell = window_uv / cells
    corner = np.rint((uv + 1) / cell).astype(int)
    n = int(corner.max()) + cells + 1
    total = np.zeros((2, n + 1, n + 1))
    total[:, 1:, 1:] = rng.normal(size=(2, n, n)).cumsum(axis=1).cumsum(axis=2)
    x, y = corner.T
    sums = total[:, y + cells, x + cells] - total[:, y, x + cells] - total[:, y + cells, x] + total[:, y, x]
    return np.asarray(sums.T / cells)


def _lumps(uv: Floats, rng: np.random.Generator, waves: int = 48) -> Floats:
    """(N,) a smooth random field, whose lumps are a fifth of a side wide."""
    return np.asarray(np.cos(uv @ (rng.normal(size=(waves, 2)).T * 4) + rng.uniform(0, 2 * np.pi, waves)).sum(axis=1))
