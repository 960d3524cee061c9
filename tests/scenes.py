"""Textures displaced by known amounts with exact optics, for several tests."""

from __future__ import annotations

import numpy as np
from scipy import fft

OVERSAMPLING = 4


def scene(seed: int = 0, side: int = 384, mtf: float = 0.15, slope: float = 1.3) -> np.ndarray:
    """Spectrum of a random texture seen through a Gaussian sensor, on a grid finer than its pixels; larger slope is redder."""
    n = side * OVERSAMPLING
    f = np.hypot(fft.fftfreq(n)[:, None], fft.rfftfreq(n)) * OVERSAMPLING
    rng = np.random.default_rng(seed)
    amplitude = np.exp(f**2 / 0.25 * np.log(mtf)) / np.maximum(f, 4 / side) ** slope
    return (rng.normal(size=f.shape) + 1j * rng.normal(size=f.shape)) * amplitude


def image(
    spectrum: np.ndarray, shift_px: tuple[float, float] = (0, 0), noise: float = 0.02, seed: int = 1
) -> np.ndarray:
    """(1, side, side): the scene moved by (column, row) pixels, exactly, then decimated, then its own noise."""
    n = spectrum.shape[0]
    fy, fx = fft.fftfreq(n)[:, None] * OVERSAMPLING, fft.rfftfreq(n) * OVERSAMPLING
    moved = spectrum * np.exp(-2j * np.pi * (fx * shift_px[0] + fy * shift_px[1]))
    pixels = fft.irfft2(moved, s=(n, n))[::OVERSAMPLING, ::OVERSAMPLING]
    pixels = pixels / pixels.std()
    return (pixels + noise * np.random.default_rng(seed).normal(size=pixels.shape))[None].astype(np.float32)
