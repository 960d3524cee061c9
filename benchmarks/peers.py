"""The estimators that others offer, and ours, behind one signature: a case in, a displacement for each window out.

Every peer gets the same windows and no prior. Where they differ is in what their users would have to add: pixels that
are not valid are filled with the window's mean, contrast is standardised for those that assume it constant, and those
that search get `REACH_PX` of room. A peer that reports failure has that window counted as not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from optics import Case
from scipy.interpolate import RectBivariateSpline
from skimage.registration import phase_cross_correlation

from georeg.matching.fields import Field, prepare
from georeg.matching.windows import locate, match_windows, trusted_covariance
from georeg.tie_points import Status

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
REACH_PX = 5
"""How far NCC, ECC and KLT may look beyond the window; displacements are up to about half of it."""
OUR_REACH_PX = 8
"""How far ours may look; more than the others, which makes it no easier."""
UPSAMPLING = 100


@dataclass(frozen=True)
class Estimate:
    """What a method says of each window."""

    shift_px: Floats
    """(N, 2) target position - reference position (column, row)."""
    cov_px: Floats | None
    """(N, 2, 2), px²; None where the method states none."""
    kept: NDArray[np.bool_]
    """(N,) whether the method stands by it."""


Method = Callable[[Case], Estimate]


def ours(case: Case) -> Estimate:
    """Start and least squares, with covariances, as `georeg.match` uses them."""
    found = match_windows(*prepared(case), case.centre_px, window_px=case.window_px, reach_px=OUR_REACH_PX)
    return Estimate(found.shift_px, trusted_covariance(found), found.status == Status.KEPT)


def ours_start(case: Case) -> Estimate:
    """Our first stage alone."""
    fields, half = prepared(case), case.window_px // 2
    peaks = [locate(*fields, at - half, at - half, case.window_px, OUR_REACH_PX) for at in case.centre_px]
    shift = [np.zeros(2) if peak is None else peak.shift_px for peak, _ in peaks]
    return Estimate(np.array(shift), None, np.array([status == Status.KEPT for _, status in peaks]))


def prepared(case: Case) -> tuple[Field, Field]:
    """Both images with all that windows are cut from, once for all windows."""
    return prepare(case.ref[None], case.ref_valid), prepare(case.tgt[None], case.tgt_valid)


@dataclass(frozen=True)
class _Pair:
    """One window of both images; the target's is larger by ``reach`` on each side."""

    ref: Image
    tgt: Image
    ref_valid: NDArray[np.bool_]
    tgt_valid: NDArray[np.bool_]


def _pairs(case: Case, reach: int = 0, ref_reach: int = 0) -> Iterator[_Pair]:
    for centre in case.centre_px:
        ref, ref_valid = _chip(case.ref, case.ref_valid, centre, case.window_px, ref_reach)
        tgt, tgt_valid = _chip(case.tgt, case.tgt_valid, centre, case.window_px, reach)
        yield _Pair(ref, tgt, ref_valid, tgt_valid)


def _chip(
    image: Image, valid: NDArray[np.bool_], centre: NDArray[np.intp], window_px: int, reach: int
) -> tuple[Image, NDArray[np.bool_]]:
    col, row = centre - window_px // 2 - reach
    side = window_px + 2 * reach
    chip, mask = (part[row : row + side, col : col + side] for part in (image, valid))
    if not mask.all():
        chip = np.where(mask, chip, chip[mask].mean() if mask.any() else 0).astype(np.float32)
    return chip, mask


def _collect(shifts: list[tuple[float, float] | None]) -> Estimate:
    """Of (column, row) shifts; None is a failure."""
    shift = np.array([(np.nan, np.nan) if s is None else s for s in shifts], float).reshape(-1, 2)
    kept = np.isfinite(shift).all(axis=1)
    return Estimate(np.where(kept[:, None], shift, 0.0), None, kept)


def _hann(window_px: int) -> Image:
    taper = np.hanning(window_px + 2)[1:-1]
    return np.outer(taper, taper).astype(np.float32)


def skimage_phase(case: Case) -> Estimate:
    """scikit-image as it comes: whitened spectra, no taper."""
    return _collect([_skimage(p.ref, p.tgt, "phase") for p in _pairs(case)])


def skimage_phase_hann(case: Case) -> Estimate:
    taper = _hann(case.window_px)
    return _collect([_skimage(_tapered(p.ref, taper), _tapered(p.tgt, taper), "phase") for p in _pairs(case)])


def skimage_cross_hann(case: Case) -> Estimate:
    """Plain cross-correlation."""
    taper = _hann(case.window_px)
    return _collect([_skimage(_tapered(p.ref, taper), _tapered(p.tgt, taper), None) for p in _pairs(case)])


def skimage_masked(case: Case) -> Estimate:
    """Whole pixels only, but it knows masks."""
    shifts = []
    for pair in _pairs(case):
        if not (pair.ref_valid.any() and pair.tgt_valid.any()):
            shifts.append(None)
            continue
        shift, _, _ = phase_cross_correlation(
            pair.ref, pair.tgt, reference_mask=pair.ref_valid, moving_mask=pair.tgt_valid
        )
        shifts.append((-shift[1], -shift[0]))
    return _collect(shifts)


def _tapered(chip: Image, taper: Image) -> Image:
    return (chip - chip.mean()) * taper


def _skimage(ref: Image, tgt: Image, normalization: str | None) -> tuple[float, float]:
    """It answers reference - target as (row, column)."""
    shift, _, _ = phase_cross_correlation(ref, tgt, upsample_factor=UPSAMPLING, normalization=normalization)
    return -float(shift[1]), -float(shift[0])


def cv2_phase_hann(case: Case) -> Estimate:
    taper = cv2.createHanningWindow((case.window_px, case.window_px), cv2.CV_32F)

    def find(pair: _Pair) -> tuple[float, float]:
        ref, tgt = (np.ascontiguousarray(chip - chip.mean()) for chip in (pair.ref, pair.tgt))
        return cv2.phaseCorrelate(ref, tgt, taper)[0]  # target - reference, (column, row)

    return _collect([find(pair) for pair in _pairs(case)])


def ecc(case: Case) -> Estimate:
    """Enhanced correlation coefficient of the intensities, translation only; it knows a mask of the target."""
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-7)

    def find(pair: _Pair) -> tuple[float, float] | None:
        warp = np.array([[1, 0, REACH_PX], [0, 1, REACH_PX]], np.float32)  # template position -> input position
        mask = None if pair.tgt_valid.all() else pair.tgt_valid.astype(np.uint8)
        ref, tgt = np.ascontiguousarray(pair.ref), np.ascontiguousarray(pair.tgt)
        try:
            _, warp = cv2.findTransformECC(ref, tgt, warp, cv2.MOTION_TRANSLATION, stop, mask, 5)
        except cv2.error:  # it did not converge
            return None
        return float(warp[0, 2]) - REACH_PX, float(warp[1, 2]) - REACH_PX

    return _collect([find(pair) for pair in _pairs(case, REACH_PX)])


def klt(case: Case) -> Estimate:
    """Lucas and Kanade's tracker, the window being its neighbourhood; it takes 8-bit images only."""
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-4)
    side = (case.window_px, case.window_px)
    centre = np.full((1, 1, 2), REACH_PX + (case.window_px - 1) / 2, np.float32)  # counted from pixels' centres

    def find(pair: _Pair) -> tuple[float, float] | None:
        ref, tgt = _eight_bit(pair.ref), _eight_bit(pair.tgt)
        point, status, _ = cv2.calcOpticalFlowPyrLK(ref, tgt, centre, None, winSize=side, maxLevel=0, criteria=stop)
        return tuple((point - centre).ravel().tolist()) if status[0, 0] else None

    return _collect([find(pair) for pair in _pairs(case, REACH_PX, REACH_PX)])


def _eight_bit(chip: Image) -> NDArray[np.uint8]:
    """Mean 128, four standard deviations to each side: 38 dB above its rounding."""
    scaled = 128 + (chip - chip.mean()) * (31.75 / max(float(chip.std()), 1e-9))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def ncc_parabola(case: Case) -> Estimate:
    """Normalised cross-correlation, a parabola through three values on each axis."""
    return _collect([_parabola(surface) for surface in _surfaces(case)])


def ncc_spline(case: Case) -> Estimate:
    """Normalised cross-correlation, the maximum of an interpolating spline: quintic, since a cubic one locks 3 times more."""
    return _collect([_spline_peak(surface) for surface in _surfaces(case)])


def _surfaces(case: Case) -> Iterator[Image]:
    """Of (2 REACH_PX + 1)² whole-pixel shifts, the middle one being none."""
    for pair in _pairs(case, REACH_PX):
        ref, tgt = np.ascontiguousarray(pair.ref), np.ascontiguousarray(pair.tgt)
        yield cv2.matchTemplate(tgt, ref, cv2.TM_CCOEFF_NORMED)


def _summit(surface: Image) -> tuple[int, int] | None:
    """Row and column of the highest value, None where that lies on the border."""
    row, col = np.unravel_index(int(surface.argmax()), surface.shape)
    inside = 0 < row < 2 * REACH_PX and 0 < col < 2 * REACH_PX
    return (int(row), int(col)) if inside else None


def _parabola(surface: Image) -> tuple[float, float] | None:
    top = _summit(surface)
    if top is None:
        return None
    row, col = top
    across, down = surface[row, col - 1 : col + 2], surface[row - 1 : row + 2, col]
    dx, dy = (float((v[0] - v[2]) / (2 * (v[0] + v[2] - 2 * v[1]) - 1e-12)) for v in (across, down))
    return col + dx - REACH_PX, row + dy - REACH_PX


def _spline_peak(surface: Image) -> tuple[float, float] | None:
    start = _parabola(surface)
    if start is None:
        return None
    axis = np.arange(-REACH_PX, REACH_PX + 1)
    spline = RectBivariateSpline(axis, axis, surface, kx=5, ky=5)  # of (row, column)
    here = np.array(start[::-1])
    for _ in range(8):
        slope = np.array([spline.ev(*here, dx=1), spline.ev(*here, dy=1)])
        cross = float(spline.ev(*here, dx=1, dy=1))
        curve = np.array([[spline.ev(*here, dx=2), cross], [cross, spline.ev(*here, dy=2)]])
        if np.linalg.det(curve) <= 0:
            return start
        step = np.clip(np.linalg.solve(curve, -slope), -0.5, 0.5)
        here = here + step
        if np.abs(step).max() < 1e-6:
            break
    return float(here[1]), float(here[0])


OURS = "ours"
PEERS: dict[str, Method] = {
    "NCC spline": ncc_spline,
    "NCC parabola": ncc_parabola,
    "skimage CC Hann": skimage_cross_hann,
    "skimage PCC Hann": skimage_phase_hann,
    "skimage PCC": skimage_phase,
    "cv2 PC Hann": cv2_phase_hann,
    "ECC": ecc,
    "KLT": klt,
}
METHODS: dict[str, Method] = {OURS: ours, **PEERS}
MASK_AWARE: dict[str, Method] = {"skimage masked": skimage_masked}
"""Run where there is a mask only."""
