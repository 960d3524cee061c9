"""Exact optics: images of real and made scenes whose displacement is known to the last digit.

A scene is an image on a grid `OVERSAMPLING` times finer than the pixels. A sensor multiplies its spectrum by a transfer
function and a phase ramp, which is the displacement, and then every `OVERSAMPLING`-th sample is kept: blur, shift and
aliasing are those of a real sensor, and nothing is interpolated.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import fft, ndimage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "sample_tiles"))

from landscape import Landscape, Scenery, build  # noqa: E402
from tones import BANDS, render  # noqa: E402

Floats = NDArray[np.float64]
OVERSAMPLING = 4
SCENE_PX = 1920
"""Side of a scene, in its fine cells."""

_BAND = {"red": 1, "green": 2, "blue": 3, "nir": 4}
_HURA = "hura-vhr/hura_lo_z18.tif"
_NAIP = "naip-series-nd/m_4709963_se_14_1_20{}.tif"
_CROPS = {
    "fields": (_HURA, 600, 900),
    "village": (_HURA, 2900, 5200),
    "town": (_HURA, 1200, 7200),
    "june": ("s2-brandenburg/ref_S2A_20160608T153121_T33UUU_sub.jp2", 1200, 400),
    "may": ("s2-brandenburg/tgt_S2A_20160529T153631_T33UUU_sub.jp2", 1100, 100),
    "prairie2009": (_NAIP.format("090818"), 0, 0),
    "prairie2016": (_NAIP.format("160816"), 0, 200),
}


def data_folder() -> Path:
    """Where the real imagery is."""
    return Path(os.environ.get("GEOREG_DATA", ROOT.parent / "shared" / "data"))


@cache
def scene_names(band: str = "red") -> list[str]:
    """Scenes that can be made here and have that band: real ones where there is real imagery, and two made landscapes."""
    found = []
    for name, (path, _, _) in _CROPS.items():
        if (data_folder() / path).exists():
            with rasterio.open(data_folder() / path) as raster:
                found += [name] if _BAND[band] <= raster.count else []
    return found + (["landscape3", "landscape8"] if band in BANDS else [])


@cache
def scene(name: str, band: str = "red") -> Floats:
    """(side, side), at most `SCENE_PX`, standard deviation 1."""
    if name in _CROPS:
        path, row, col = _CROPS[name]
        with rasterio.open(data_folder() / path) as raster:
            side = min(SCENE_PX, (raster.height - row) // 4 * 4, (raster.width - col) // 4 * 4)
            image = raster.read(_BAND[band], window=Window(col, row, side, side)).astype(float)
    else:
        image = render(_landscape(int(name.removeprefix("landscape"))), band=band).astype(float)
    image = (image - image.mean()) / image.std()
    return np.asarray(np.clip(image, -4, 4))


@cache
def _landscape(seed: int) -> Landscape:
    """Without cast shadows: beside a hedge that is dark in one band and bright in another, a shadow moves what is seen."""
    land = build(Scenery(seed, block_m=700.0), side=SCENE_PX, step_m=4.0)
    return replace(land, shadow=np.zeros_like(land.shadow))


@dataclass(frozen=True)
class Sensor:
    """How a scene is seen."""

    mtf: float = 0.2
    """Modulation transfer at the Nyquist frequency of the pixels."""
    mtf_y: float | None = None
    """The same down the rows, where it differs."""


def observe(scene_image: Floats, sensor: Sensor, shift_px: tuple[float, float] = (0.0, 0.0)) -> Floats:
    """The image (side, side) of a scene whose features lie ``shift_px`` (column, row) further than in the scene itself."""
    return _decimate(_seen(scene_image, sensor, shift_px))


def gradient(scene_image: Floats, sensor: Sensor) -> Floats:
    """(2, side, side): exact derivatives by column and row, per pixel, of `observe`."""
    spectrum = fft.rfft2(scene_image) * _transfer(scene_image.shape, sensor)
    fy, fx = _frequencies(scene_image.shape)
    parts = [fft.irfft2(spectrum * 2j * np.pi * f, s=scene_image.shape) for f in (fx, fy)]
    return np.stack([_decimate(part) for part in parts])


def _seen(scene_image: Floats, sensor: Sensor, shift_px: tuple[float, float]) -> Floats:
    fy, fx = _frequencies(scene_image.shape)
    ramp = np.exp(-2j * np.pi * shift_px[0] * fx) * np.exp(-2j * np.pi * shift_px[1] * fy)
    spectrum = fft.rfft2(scene_image) * _transfer(scene_image.shape, sensor) * ramp
    return np.asarray(fft.irfft2(spectrum, s=scene_image.shape))


def _frequencies(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Cycles per pixel by row and by column."""
    return fft.fftfreq(shape[0])[:, None] * OVERSAMPLING, fft.rfftfreq(shape[1])[None] * OVERSAMPLING


def _transfer(shape: tuple[int, ...], sensor: Sensor) -> Floats:
    fy, fx = _frequencies(shape)
    mtf_y = sensor.mtf if sensor.mtf_y is None else sensor.mtf_y
    return np.asarray(sensor.mtf ** (4 * fx**2) * mtf_y ** (4 * fy**2))


def _decimate(fine: Floats) -> Floats:
    return np.asarray(fine[::OVERSAMPLING, ::OVERSAMPLING])


def noisy(image: Floats, snr_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """With white noise ``snr_db`` below the image's own deviation."""
    return (image + rng.normal(size=image.shape) * image.std() * 10 ** (-snr_db / 20)).astype(np.float32)


def bound(gradients: Floats, noise: tuple[float, float]) -> Floats:
    """Cramér-Rao bound (2, 2) of the covariance of a window's shift, px² (Robinson & Milanfar 2004).

    Parameters
    ----------
    gradients
        (2, height, width) of the noiseless window.
    noise
        Standard deviations of both images' noise.
    """
    flat = gradients.reshape(2, -1)
    return np.asarray(np.linalg.inv(flat @ flat.T) * (noise[0] ** 2 + noise[1] ** 2))


@dataclass(frozen=True)
class Case:
    """Two images of one scene, windows to match, and the truth."""

    ref: NDArray[np.float32]
    """(side, side)"""
    tgt: NDArray[np.float32]
    ref_valid: NDArray[np.bool_]
    tgt_valid: NDArray[np.bool_]
    centre_px: NDArray[np.intp]
    """(N, 2) window centres (column, row), on corners between pixels."""
    window_px: int
    shift_px: tuple[float, float]
    """Truth: target position - reference position (column, row)."""
    bound_px: Floats
    """(N, 2, 2) Cramér-Rao bounds for the same band without change, px²."""


@dataclass(frozen=True)
class Condition:
    """What is between the two images but their displacement."""

    name: str
    snr_db: float = 30.0
    ref_sensor: Sensor = Sensor()
    tgt_sensor: Sensor = Sensor()
    ref_band: str = "red"
    tgt_band: str = "red"
    """Scenes without one of the bands are left out."""
    hidden: float = 0.0
    """Share of each window under an opaque cloud, or other ground, in the target."""
    cloud: bool = True
    """Whether that is cloud; else it is other ground."""
    tone: Callable[[Floats], Floats] | None = None
    """Of the target's pixel values, before its noise."""
    mask: str = ""
    """`stripes`: a fifth of the columns in bands, elsewhere in the two; `same stripes`; `half`: half of each window."""


def gamma(power: float) -> Callable[[Floats], Floats]:
    def tone(image: Floats) -> Floats:
        low, high = np.percentile(image, [0.1, 99.9])
        return np.clip((image - low) / (high - low), 0.01, None) ** power

    return tone


def shading(image: Floats) -> Floats:
    row, col = np.indices(image.shape) / 40.0
    return image * (1 + 0.4 * np.sin(col + 0.3 * row)) + 0.8 * np.sin(0.7 * row - 0.4 * col)


def inversion(image: Floats) -> Floats:
    return -image


def local_inversion(image: Floats) -> Floats:
    """A third of the ground, in patches, has its contrast inverted about its local mean."""
    rng = np.random.default_rng(5)
    lumps = ndimage.gaussian_filter(rng.normal(size=image.shape), 6, mode="wrap")
    mean = ndimage.gaussian_filter(image, 4)
    return np.where(lumps > np.quantile(lumps, 0.67), 2 * mean - image, image)


CONDITIONS = (
    Condition("clean 30 dB"),
    Condition("noisy 20 dB", snr_db=20),
    Condition("gamma 0.5", tone=gamma(0.5)),
    Condition("gamma 2", tone=gamma(2.0)),
    Condition("shading", tone=shading),
    Condition("inversion", tone=inversion),
    Condition("local inversion", tone=local_inversion),
    Condition("unequal MTF", ref_sensor=Sensor(0.35), tgt_sensor=Sensor(0.1)),
    Condition("anisotropic blur", tgt_sensor=Sensor(0.3, 0.05)),
    Condition("cloud 10 %", hidden=0.1),
    Condition("cloud 30 %", hidden=0.3),
    Condition("cloud 50 %", hidden=0.5),
    Condition("changed 30 %", hidden=0.3, cloud=False),
    Condition("bands red/green", tgt_band="green"),
    Condition("bands red/blue", tgt_band="blue"),
    Condition("bands red/nir", tgt_band="nir"),
)
MASKED = (
    Condition("stripes", mask="stripes"),
    Condition("same stripes", mask="same stripes"),
    Condition("half masked", mask="half"),
)


def make_case(
    name: str, condition: Condition, window_px: int, shift_px: tuple[float, float], seed: int, margin_px: int = 16
) -> Case | None:
    """Two images of a scene under a condition; None where the scene lacks a band."""
    if not {name} <= set(scene_names(condition.ref_band)) & set(scene_names(condition.tgt_band)):
        return None
    rng = np.random.default_rng(seed)
    sources = [scene(name, band) for band in (condition.ref_band, condition.tgt_band)]
    seen = observe(sources[0], condition.ref_sensor)
    centre_px = _centres(len(seen), window_px, margin_px)
    fine = sources[1]
    if condition.hidden:
        fine = _hide(fine, centre_px, window_px, condition, rng)
    target = observe(fine, condition.tgt_sensor, shift_px)
    if condition.tone is not None:
        target = condition.tone(target)
    noise = tuple(
        image.std() * 10 ** (-condition.snr_db / 20) for image in (seen, observe(sources[1], condition.tgt_sensor))
    )
    slopes = gradient(sources[0], condition.ref_sensor)
    bounds = np.array([bound(_window(slopes, centre, window_px), noise) for centre in centre_px]).reshape(-1, 2, 2)
    ref_valid, tgt_valid = _masks(seen.shape, centre_px, window_px, condition.mask, rng)
    ref, tgt = noisy(seen, condition.snr_db, rng), noisy(target, condition.snr_db, rng)
    return Case(
        np.where(ref_valid, ref, 0),
        np.where(tgt_valid, tgt, 0),
        ref_valid,
        tgt_valid,
        centre_px,
        window_px,
        shift_px,
        bounds,
    )


def _centres(side: int, window_px: int, margin_px: int) -> NDArray[np.intp]:
    """Windows that share no pixel, with room for a search about them."""
    first = window_px // 2 + margin_px
    line = np.arange(first, side - first + 1, window_px + 8)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def _window(image: Floats, centre: NDArray[np.intp], window_px: int, scale: int = 1) -> Floats:
    col, row = (centre - window_px // 2) * scale
    return image[..., row : row + window_px * scale, col : col + window_px * scale]


def _hide(
    fine: Floats, centre_px: NDArray[np.intp], window_px: int, condition: Condition, rng: np.random.Generator
) -> Floats:
    """Cover the same share of every window with cloud, or with ground from elsewhere."""
    out = fine.copy()
    lumps = ndimage.gaussian_filter(rng.normal(size=fine.shape), window_px * OVERSAMPLING / 10, mode="wrap")
    if condition.cloud:
        puffs = ndimage.gaussian_filter(rng.normal(size=fine.shape), 6, mode="wrap")
        other = 3.0 + 0.5 * puffs / puffs.std()
    else:
        other = np.roll(fine, (fine.shape[0] // 2 + 40, fine.shape[1] // 3), axis=(0, 1))
    for centre in centre_px:
        view = _window(out, centre, window_px, OVERSAMPLING)
        field = _window(lumps, centre, window_px, OVERSAMPLING)
        opacity = (field > np.quantile(field, 1 - condition.hidden)).astype(float)
        if condition.cloud:
            opacity = ndimage.gaussian_filter(opacity, 4)
        view[:] = view * (1 - opacity) + opacity * _window(other, centre, window_px, OVERSAMPLING)
    return out


def _masks(
    shape: tuple[int, ...], centre_px: NDArray[np.intp], window_px: int, mask: str, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    ref_valid, tgt_valid = np.ones(shape, bool), np.ones(shape, bool)
    row, col = np.indices(shape)
    if mask.endswith("stripes"):
        ref_valid = (col + row // 4) % 15 >= 3
        tgt_valid = ref_valid.copy() if mask.startswith("same") else (col + row // 4 + 8) % 15 >= 3
    if mask == "half":
        lumps = ndimage.gaussian_filter(rng.normal(size=shape), window_px / 6, mode="wrap")
        for centre in centre_px:
            field = _window(lumps, centre, window_px)
            _window(tgt_valid, centre, window_px)[:] = field > np.quantile(field, 0.48)
    return ref_valid, tgt_valid


def fractions(n: int, seed: int) -> Iterator[tuple[float, float]]:
    """Displacements (column, row), whole parts within two pixels and fractions spread evenly."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        whole = rng.integers(-2, 3, size=2)
        yield float(whole[0] + (k + 0.5) / n - 0.5), float(whole[1] + ((0.618 * k) % 1) - 0.5)


def with_sensors(condition: Condition, mtf: float, snr_db: float) -> Condition:
    """The same with another sensor in both images."""
    return replace(condition, snr_db=snr_db, ref_sensor=Sensor(mtf), tgt_sensor=Sensor(mtf))
