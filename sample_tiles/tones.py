"""How a landscape looks on a given date, in one band, with or without clouds."""

from __future__ import annotations

import numpy as np
from landscape import BROADLEAF, CLEARING, CONIFER, FIELD, Doubles, Floats, Landscape, fractal
from numpy.typing import NDArray

BANDS = ("red", "green", "nir")

# Of each cover: reflectance * 10000 in red, green, near infrared; strength of the grain as a share of it.
_SPECTRA = np.array(
    [
        [0, 0, 0, 0.04],  # field
        [1500, 1200, 2300, 0.05],  # track
        [380, 560, 3000, 0.20],  # hedge
        [260, 370, 2050, 0.20],  # conifer
        [300, 500, 3300, 0.17],  # broadleaf
        [800, 880, 2700, 0.12],  # clearing
        [330, 430, 190, 0.03],  # water
        [560, 690, 2500, 0.12],  # reed
        [720, 840, 2900, 0.24],  # garden
        [1750, 1200, 2150, 0.08],  # tile
        [3300, 3250, 3500, 0.05],  # hall
        [950, 940, 1100, 0.08],  # slate
        [1150, 1080, 1500, 0.06],  # street
        [1080, 1030, 1250, 0.03],  # road
    ]
)
# Crops: reflectance * 10000 in the three bands, and how often each is met.
_CROPS = np.array(
    [
        [1900, 1420, 2600, 0.15],  # dry bare soil
        [1250, 980, 1750, 0.11],  # moist bare soil
        [1600, 1270, 2900, 0.19],  # stubble, ripe cereals
        [370, 640, 4300, 0.19],  # cereals, green
        [470, 720, 3700, 0.12],  # maize, beet
        [680, 880, 3300, 0.18],  # meadow
        [1000, 1150, 3300, 0.06],  # rape, thin cover
    ]
)


def render(land: Landscape, *, band: str, change: float = 0.0) -> Floats:
    """Reflectance * 10000 of one band on one date.

    `change` is 0 on the first date; later a share `change` of the parcels is sown anew, each field has
    another evenness and tone, and the relief casts less shade.
    """
    at = BANDS.index(band)
    rng = np.random.default_rng([land.seed, 10])
    crop, tone, wear = _sow(rng, land.parcels)
    if change:
        later = np.random.default_rng([land.seed, 11])
        new_crop, new_tone, wear = _sow(later, land.parcels)
        crop = np.where(later.random(land.parcels) < change, new_crop, crop)
        tone = 1 + 0.6 * (tone - 1) + 0.6 * (new_tone - 1)
    open_field = land.cover == FIELD
    stand = 1 + 0.6 * (tone - 1)
    image = _SPECTRA[:, at].astype(np.float32)[land.cover]
    wooded = np.isin(land.cover, (CONIFER, BROADLEAF, CLEARING))
    image *= np.where(wooded, stand.astype(np.float32)[land.parcel], 1)
    field = (_CROPS[crop, at] * tone).astype(np.float32)[land.parcel]
    rows = np.sin(2 * np.pi * land.furrow_phase) * (0.05 * wear).astype(np.float32)[land.parcel]
    patchy = land.soil * (0.02 + 0.07 * wear[::-1]).astype(np.float32)[land.parcel]
    image = np.where(open_field, field * (1 + rows + patchy), image)
    image *= 1 + _SPECTRA[:, 3].astype(np.float32)[land.cover] * land.grain
    image *= (1 + land.shading * (0.8 if change else 1.0)) * (1 - land.shadow)
    return np.asarray(np.clip(image, 40, 9000), np.float32)


def cloud(rng: np.random.Generator, side: int, *, step_m: float, centre: tuple[float, float], share: float) -> Floats:
    """Opacity (0 to 1) of cumulus over a share of the grid; `centre` (row, column) in shares of the side."""
    lumps = fractal(rng, side, step_m=step_m, slope=1.9, band_m=(14, 900))
    row, col = ((np.arange(side) + 0.5) / side - at for at in centre)
    height = 0.5 * lumps - 9 * np.hypot(row[:, None], col[None, :])
    above = height - np.quantile(height[::4, ::4], 1 - share)
    return np.asarray(np.clip(0.15 + 1.6 * above, 0, 1), np.float32)


def _sow(rng: np.random.Generator, parcels: int) -> tuple[NDArray[np.intp], Doubles, Doubles]:
    """Crop, tone factor and unevenness of each parcel."""
    crop = rng.choice(len(_CROPS), parcels, p=_CROPS[:, 3])
    return crop, 1 + 0.11 * rng.standard_normal(parcels).clip(-2.2, 2.2), rng.random(parcels)
