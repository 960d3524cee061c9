"""Textures displaced by known amounts with exact optics, for several tests."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage
from scipy.spatial import cKDTree

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


Placing = np.ndarray
"""(3, 3): ground coordinates of pixel coordinates (column, row), both from the outer corner of the first pixel."""


def fields(seed: int = 0, side: int = 1400, cell: float = 45.0, texture: float = 0.35) -> np.ndarray:
    """(side, side) ground of deviation 1: fields with straight borders, as many as cells of ``cell`` on a side would be."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, side, ((round(side / cell)) ** 2, 2))
    value = rng.normal(size=len(corners))[borders(corners, side)]
    mottle = ndimage.gaussian_filter(rng.normal(size=value.shape), 2.0)
    ground = value / value.std() + texture * mottle / mottle.std()
    return (ground - ground.mean()) / ground.std()


def borders(corners: np.ndarray, side: int) -> np.ndarray:
    """(side, side) which of the ``corners`` (N, 2) is the nearest."""
    col, row = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    return cKDTree(corners).query(np.stack([col, row], axis=-1))[1]


def placed(gsd: float, angle_deg: float, centre: tuple[float, float], shape: tuple[int, int]) -> Placing:
    """An image of pixels ``gsd`` ground pixels wide, turned clockwise as it is drawn, whose middle lies at ``centre``."""
    turn = np.radians(angle_deg)
    linear = gsd * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    placing = np.eye(3)
    placing[:2, :2], placing[:2, 2] = linear, centre - linear @ (np.array(shape[::-1]) / 2)
    return placing


def move(placing: Placing, px: np.ndarray) -> np.ndarray:
    """(N, 2) ground coordinates of pixel coordinates."""
    return px @ placing[:2, :2].T + placing[:2, 2]


def see(ground: np.ndarray, placing: Placing, shape: tuple[int, int]) -> np.ndarray:
    """The ground through a Gaussian of transfer 0.2 at the Nyquist frequency of the pixels, by a spline of fifth order."""
    gsd = float(np.sqrt(np.linalg.det(placing[:2, :2])))
    blurred = ndimage.gaussian_filter(ground, gsd * np.sqrt(-2 * np.log(0.2)) / np.pi)
    col, row = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    at = move(placing, np.stack([col.ravel(), row.ravel()], axis=1)) - 0.5
    assert at.min() >= 0, "the image reaches over the ground"
    assert at.max() <= min(ground.shape) - 1, "the image reaches over the ground"
    return ndimage.map_coordinates(blurred, at.T[::-1], order=5, mode="mirror").reshape(shape)


def grey(image: np.ndarray, noise: float = 0.03, seed: int = 0) -> np.ndarray:
    """Digital numbers of an image of about deviation 1, with noise of their own."""
    noisy = image + noise * np.random.default_rng([9, seed]).normal(size=image.shape)
    return np.clip(np.rint(128 + 36 * noisy), 1, 255).astype(np.uint8)
