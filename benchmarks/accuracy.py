"""How accurate the estimators are, on exact optics and on real pairs: `python benchmarks/accuracy.py --help`."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import optics
import peers
import rasterio
from numpy.typing import NDArray
from peers import OURS, Estimate
from rasterio.windows import Window
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy import fft, ndimage
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
MAX_BOUND_PX = 0.05
"""A window in which nothing could be better than this, per axis, has no texture and is left out for every method."""
OUTLIER_PX = 0.5
MARGIN_PX = 16
"""About the outermost windows, which is also what a scene needs to hold a window."""
CONDITIONS = {condition.name: condition for condition in optics.CONDITIONS + optics.MASKED}
CLEAN = optics.CONDITIONS[0].name


@dataclass(frozen=True)
class Job:
    """One simulated pair of images; it is made, and matched by every method, in one go."""

    key: tuple
    """What the results are grouped by."""
    scene: str
    condition: str
    """Its name, since a condition itself does not go from process to process."""
    window_px: int
    shift_px: tuple[float, float]
    seed: int
    optics: tuple[float, float] | None = None
    """Modulation transfer of both sensors and signal to noise, dB, in place of the condition's."""


@dataclass(frozen=True)
class Errors:
    """What one method made of the windows of one job."""

    key: tuple
    scene: str
    method: str
    shift_px: tuple[float, float]
    error_px: Floats
    """(N, 2) estimate - truth."""
    cov_px: Floats | None
    bound_px: Floats
    """(N,) variance of an axis, px²: half the trace of the Cramér-Rao bound."""
    kept: NDArray[np.bool_]
    dropped: int
    """Windows without texture, which are not among the N."""

    @property
    def outlier(self) -> NDArray[np.bool_]:
        return self.kept & (np.hypot(*self.error_px.T) > OUTLIER_PX)


def run_job(job: Job) -> list[Errors]:
    condition = CONDITIONS[job.condition]
    if job.optics is not None:
        condition = optics.with_sensors(condition, *job.optics)
    if len(optics.scene(job.scene, condition.ref_band)) < (job.window_px + 2 * MARGIN_PX) * optics.OVERSAMPLING:
        return []
    case = optics.make_case(job.scene, condition, job.window_px, job.shift_px, job.seed, MARGIN_PX)
    if case is None:
        return []
    half_trace = np.trace(case.bound_px, axis1=1, axis2=2) / 2
    use = half_trace <= MAX_BOUND_PX**2
    found = []
    for name, estimate in run_methods(case).items():
        cov = None if estimate.cov_px is None else estimate.cov_px[use]
        error = estimate.shift_px[use] - case.shift_px
        rest = (half_trace[use], estimate.kept[use], int((~use).sum()))
        found.append(Errors(job.key, job.scene, name, case.shift_px, error, cov, *rest))
    return found


def run_methods(case: optics.Case) -> dict[str, Estimate]:
    masked = not (case.ref_valid.all() and case.tgt_valid.all())
    methods = {**peers.METHODS, **(peers.MASK_AWARE if masked else {})}
    return {name: method(case) for name, method in methods.items()}


def run_all(work: Callable, jobs: Sequence, n_processes: int, title: str) -> Iterator:
    """Results in the order of the jobs, whatever the number of processes."""
    context = multiprocessing.get_context("spawn")
    with (
        Progress(console=Console(stderr=True), transient=True) as progress,
        ProcessPoolExecutor(n_processes, mp_context=context, initializer=quiet) as pool,
    ):
        yield from progress.track(pool.map(work, jobs), total=len(jobs), description=title)


def quiet() -> None:
    """One thread for each library in this process, which is a benchmark's own."""
    cv2.setNumThreads(1)
    threadpool_limits(1)
    warnings.filterwarnings(
        "ignore", "Could not determine RMS error", UserWarning
    )  # skimage's, of windows of one value


@dataclass(frozen=True)
class Settings:
    quick: bool
    n_processes: int
    out: Path | None
    scenes: tuple[str, ...]

    def errors(self, jobs: Iterable[Job], title: str) -> list[Errors]:
        return [errors for found in run_all(run_job, list(jobs), self.n_processes, title) for errors in found]


# ---- a. same band: as a multiple of the Cramér-Rao bound


def bound_jobs(settings: Settings) -> Iterator[Job]:
    grid = [(w, m, s) for w in (64, 128, 256) for m in (0.1, 0.2, 0.35) for s in (20.0, 30.0, 40.0)]
    if settings.quick:
        grid = [(64, 0.2, 30.0), (128, 0.2, 30.0), (256, 0.2, 20.0)]
    for window_px, mtf, snr_db in grid:
        n = 1 if settings.quick else {64: 1, 128: 2, 256: 4}[window_px]
        scenes = settings.scenes[::2] if settings.quick else settings.scenes
        for k, (scene, shifts) in enumerate(shared_out(scenes, n)):
            for j, shift in enumerate(shifts):
                yield Job((window_px, mtf, snr_db), scene, CLEAN, window_px, shift, 100 * k + j, (mtf, snr_db))


def section_bound(settings: Settings) -> dict:
    found = group(settings.errors(bound_jobs(settings), "bound"), lambda e: (e.key, e.method))
    keys = list(dict.fromkeys(key for key, _ in found))
    rows = {key: {m: against_bound(found[key, m]) for m in peers.METHODS} for key in keys}
    head = ["window", "MTF", "SNR dB", "bound px"]
    for column, what in (
        (0, "RMSE / Cramér-Rao bound, median over scenes"),
        (1, "RMSE per axis, px, all that is kept"),
    ):
        body = [
            [f"{w}", f"{m}", f"{s:.0f}", f"{row[OURS][2]:.4f}"] + [sig(row[name][column]) for name in peers.METHODS]
            for (w, m, s), row in rows.items()
        ]
        show(f"bound: {what}", head + list(peers.METHODS), body)
    note(f"{dropped(found)} windows without texture left out")
    return {
        f"{w} px MTF {m} SNR {s:.0f}": {
            name: dict(zip(("ratio", "rmse_px", "bound_px"), values, strict=True)) for name, values in row.items()
        }
        for (w, m, s), row in rows.items()
    }


def shared_out(scenes: Sequence[str], n: int) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """``n`` displacements for each scene; all of them together have their fractions evenly spread."""
    shifts = list(optics.fractions(n * len(scenes), seed=7))
    for k, scene in enumerate(scenes):
        yield scene, shifts[k :: len(scenes)]


def against_bound(found: list[Errors]) -> tuple[float, float, float]:
    """Median over scenes of RMSE / bound, RMSE of all, bound of all, px per axis."""
    ratios = []
    for part in group(found, lambda e: e.scene).values():
        error, bound = kept_errors(part), np.concatenate([e.bound_px[e.kept] for e in part])
        if len(error):
            ratios.append(rms(error) / np.sqrt(bound.mean()))
    bound = np.concatenate([e.bound_px for e in found])
    return float(np.median(ratios or [np.nan])), rms(kept_errors(found)), float(np.sqrt(bound.mean()))


# ---- b. locking to whole pixels

FRACTIONS = 10


def locking_jobs(settings: Settings) -> Iterator[Job]:
    """Both axes go through every tenth of a pixel, with whole parts from -2 to 1 in turn."""
    scenes = settings.scenes[3:6] if settings.quick else settings.scenes
    for mtf in (0.1,) if settings.quick else (0.1, 0.2, 0.35):
        for k, scene in enumerate(scenes):
            for j in range(FRACTIONS):
                col, row = j / FRACTIONS + (j + k) % 4 - 2, (7 * j + 3) % FRACTIONS / FRACTIONS + (j + k // 2) % 4 - 2
                yield Job((mtf,), scene, CLEAN, 64, (col, row), 100 * k + j, (mtf, 50.0))


@dataclass(frozen=True)
class Locking:
    """Mean error = ``curve`` at the displacement's fraction + ``pull`` × displacement."""

    curve_px: Floats
    """(FRACTIONS,)"""
    error_px: Floats
    """(FRACTIONS,) standard errors."""
    pull: float

    def half_range(self) -> tuple[float, float, float]:
        """Half the curve's range, its standard error, and what chance alone would give."""
        noise = np.random.default_rng(0).normal(size=(2000, FRACTIONS)) * self.error_px
        both = np.ptp(self.curve_px + noise, axis=1) / 2
        return float(np.ptp(self.curve_px) / 2), float(both.std()), float(np.mean(np.ptp(noise, axis=1) / 2))


def locking(found: list[Errors]) -> Locking:
    """Least squares over the means of jobs, each axis one observation."""
    displacement, mean, count = [], [], []
    for e in found:
        good = e.kept & ~e.outlier
        if good.any():
            displacement += e.shift_px
            mean += e.error_px[good].mean(axis=0).tolist()
            count += [good.sum()] * 2
    x, y = np.array(displacement), np.array(mean)
    which = np.rint(x * FRACTIONS).astype(int) % FRACTIONS
    design = np.column_stack([which[:, None] == np.arange(FRACTIONS), x]).astype(float)
    root = np.sqrt(np.array(count))  # scenes hold from 4 to 36 windows
    design, y = design * root[:, None], y * root
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    rest = y - design @ solution
    variance = rest @ rest / max(len(y) - FRACTIONS - 1, 1)
    cov = np.linalg.pinv(design.T @ design) * variance
    return Locking(solution[:-1], np.sqrt(np.diag(cov)[:-1]), float(solution[-1]))


def section_locking(settings: Settings) -> dict:
    found = group(settings.errors(locking_jobs(settings), "locking"), lambda e: (e.key[0], e.method))
    curves = {key: locking(part) for key, part in found.items()}
    out: dict = defaultdict(dict)
    for mtf in dict.fromkeys(mtf for mtf, _ in curves):
        body = []
        for name in peers.METHODS:
            half, error, chance = curves[mtf, name].half_range()
            n = sum(int((e.kept & ~e.outlier).sum()) for e in found[mtf, name])
            pull = curves[mtf, name].pull
            body.append([name, f"{half:.4f}", f"{error:.4f}", f"{chance:.4f}", f"{pull:+.4f}", f"{n}"])
            out[f"MTF {mtf}"][name] = {
                "half_range_px": half, "standard_error_px": error, "chance_px": chance, "pull": pull, "n": n,
                "curve_px": curves[mtf, name].curve_px.tolist(), "curve_error_px": curves[mtf, name].error_px.tolist(),
            }  # fmt: skip
        head = ["method", "half range px", "its s.e.", "by chance", "pull per px", "n"]
        show(f"locking: mean error against the fraction of the displacement, 64 px, MTF {mtf}, 50 dB", head, body)
    note("`pull` is the part in proportion to the whole displacement, which is fitted and taken off the curve")
    if settings.out:
        draw_locking(curves, settings.out / "locking.png")
    return dict(out)


def draw_locking(curves: dict[tuple[float, str], Locking], path: Path) -> None:
    """A panel for each transfer function; each row has its own scale, since the methods differ a hundredfold."""
    try:
        import matplotlib as mpl
    except ImportError:
        note("no picture of the curves: matplotlib is not installed")
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    transfers = list(dict.fromkeys(mtf for mtf, _ in curves))
    fig, axes = plt.subplots(2, len(transfers), figsize=(5 + 4 * len(transfers), 8), squeeze=False, sharex=True)
    fraction = np.arange(FRACTIONS + 1) / FRACTIONS
    for column, mtf in enumerate(transfers):
        for k, name in enumerate(peers.METHODS):
            curve = curves[mtf, name]
            value, error = (np.append(part, part[0]) for part in (curve.curve_px, curve.error_px))
            style = {"color": "black", "lw": 2.5, "zorder": 5} if name == OURS else {"color": f"C{k - 1}", "lw": 1.2}
            for row in (0, 1):
                axes[row, column].errorbar(
                    fraction, value - curve.curve_px.mean(), error, label=name, capsize=2, **style
                )
        axes[0, column].set_title(f"MTF {mtf} at Nyquist")
        axes[1, column].set(ylim=(-0.02, 0.02), xlabel="fraction of the displacement (px)")
    for ax, label in zip(axes[:, 0], ("mean error (px)", "mean error (px), enlarged"), strict=True):
        ax.set_ylabel(label)
    for ax in axes.flat:
        ax.grid(alpha=0.3)
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    fig.suptitle("Pull towards whole pixels: 64 px windows, 50 dB; bars are one standard error")
    fig.tight_layout()
    fig.savefig(path, dpi=110)
    plt.close(fig)
    note(f"curves drawn in {path}")


# ---- c., d., e. conditions, masks, and what we say of our own uncertainty


def condition_jobs(conditions: Sequence[optics.Condition], settings: Settings) -> Iterator[Job]:
    for condition in conditions:
        scenes = [s for s in optics.scene_names(condition.ref_band) if s in optics.scene_names(condition.tgt_band)]
        n = 1 if settings.quick else 2
        for k, (scene, shifts) in enumerate(shared_out(scenes[2::4] if settings.quick else scenes, n)):
            for j, shift in enumerate(shifts):
                yield Job((condition.name,), scene, condition.name, 64, shift, 100 * k + j)


@cache
def condition_errors(settings: Settings, masked: bool) -> dict[tuple[str, str], list[Errors]]:
    conditions, title = (optics.MASKED, "masked") if masked else (optics.CONDITIONS, "conditions")
    return group(settings.errors(condition_jobs(conditions, settings), title), lambda e: (e.key[0], e.method))


def section_conditions(settings: Settings) -> dict:
    return condition_tables(condition_errors(settings, False), "conditions", list(peers.METHODS))


def section_masked(settings: Settings) -> dict:
    return condition_tables(condition_errors(settings, True), "masked", [*peers.METHODS, *peers.MASK_AWARE])


def condition_tables(found: dict[tuple[str, str], list[Errors]], title: str, methods: list[str]) -> dict:
    names = list(dict.fromkeys(name for name, _ in found))
    table = {name: {m: condition_figures(found[name, m]) for m in methods} for name in names}
    for figure, what, scale, form in (
        ("rmse_px", "RMSE per axis of inliers, px", 1, ".4f"),
        ("outliers", f"outliers (> {OUTLIER_PX} px) among the kept, %", 100, ".2f"),
        ("kept", "kept, %", 100, ".1f"),
    ):
        values = {name: [row[m][figure] * scale for m in methods] for name, row in table.items()}
        body = [[name, *(format(v, form) for v in row)] for name, row in values.items()]
        if figure == "rmse_px":
            body.append(["median condition", *(format(v, form) for v in worst_last(np.array(list(values.values()))))])
        else:
            body.append(["all", *(format(overall(found, names, m, figure) * scale, form) for m in methods)])
        show(f"{title}: {what}", ["condition", *methods], body)
    windows = sum(len(e.kept) for name in names for e in found[name, OURS])
    note(f"{windows} windows of 64 px; {dropped(found)} more without texture left out")
    return table


def worst_last(values: Floats) -> Floats:
    """Median over conditions; one in which a method has no inlier at all counts as the worst."""
    return np.asarray(np.median(np.where(np.isnan(values), np.inf, values), axis=0))


def condition_figures(found: list[Errors]) -> dict[str, float]:
    kept, outlier = (np.concatenate([getattr(e, what) for e in found]) for what in ("kept", "outlier"))
    error = np.concatenate([e.error_px for e in found])
    return {
        "rmse_px": rms(error[kept & ~outlier]),
        "outliers": float(outlier.sum() / max(kept.sum(), 1)),
        "kept": float(kept.mean()),
        "n": len(kept),
    }


def overall(found: dict[tuple[str, str], list[Errors]], names: list[str], method: str, figure: str) -> float:
    return condition_figures([e for name in names for e in found[name, method]])[figure]


def section_uncertainty(settings: Settings) -> dict:
    found = {**condition_errors(settings, False), **condition_errors(settings, True)}
    names = list(dict.fromkeys(name for name, _ in found))
    table = {name: uncertainty(found[name, OURS]) for name in names}
    table["all"] = uncertainty([e for name in names for e in found[name, OURS]])
    body = [
        [
            name,
            *(f"{row[k]:.2f}" for k in ("std_x", "std_y", "robust")),
            f"{row['in_95']:.1f}",
            f"{row['beyond_3']:.2f}",
        ]
        + [f"{row['n']}"]
        for name, row in table.items()
    ]
    head = ["condition", "std z1", "std z2", "robust std", "in 95 % ellipse, %", "|z| > 3, %", "n"]
    show(f"uncertainty: errors of `{OURS}`, outliers included, whitened by the covariance that it states", head, body)
    return table


def uncertainty(found: list[Errors]) -> dict[str, float]:
    """Of kept windows: 1, 1, 1, 95 %, 0.27 % (of single axes) would be perfect."""
    parts = [(e.error_px[e.kept], e.cov_px[e.kept]) for e in found if e.cov_px is not None]
    error, cov = (np.concatenate(part) for part in zip(*parts, strict=True))
    z = np.linalg.solve(np.linalg.cholesky(cov), error[..., None])[..., 0]
    return {
        "std_x": rms(z[:, 0]), "std_y": rms(z[:, 1]), "robust": 1.4826 * float(np.median(np.abs(z))),
        "in_95": 100 * float(np.mean((z**2).sum(axis=1) < 5.991)), "beyond_3": 100 * float(np.mean(np.abs(z) > 3)),
        "n": len(z),
    }  # fmt: skip


# ---- f. real pairs

DITHER_PX = ((0.0, 0.0), (1.5, -1.75), (-1.25, 1.5), (-1.75, -1.25))
"""Every fourth window is matched with the target displaced by each of these, which is then taken off: a method that is
pulled towards whole pixels, or that always answers none, would else have the least scatter of all."""


NEAR_PX = 0.25
MIN_USABLE = 0.75
MIN_WINDOWS = 20


@dataclass(frozen=True)
class RealPair:
    name: str
    ref: str
    tgt: str
    bands: tuple[int, int] = (1, 1)
    truth: str = ""
    """Of the file of truth that says what to add to the target's map coordinates."""
    quality: str = ""
    """Landsat-8 quality band, whose clouds are not valid."""


def real_pairs() -> list[RealPair]:
    folder = "l8-pan-ms-cloudy/"
    pairs = [
        RealPair(
            "S2 two dates",
            "s2-brandenburg/ref_S2A_20160608T153121_T33UUU_sub.jp2",
            "s2-brandenburg/tgt_S2A_20160529T153631_T33UUU_sub.jp2",
            truth="s2-brandenburg",
        ),
        RealPair("L8 B4/B5 no cloud", folder + "l8_B4.tif", folder + "l8_B5.tif", quality=folder + "l8_BQA.tif"),
    ]
    for one, two in (("B05", "B8A"), ("B05", "B11"), ("B8A", "B11")):
        pairs.append(RealPair(f"S2 {one}/{two}", f"{folder}s2_{one}.tif", f"{folder}s2_{two}.tif"))
    hura = "hura-vhr/hura_{}_z18.tif"
    pairs.append(RealPair("Hura lo/chura2", hura.format("lo"), hura.format("chura2"), truth="hura_lo_vs_hura2"))
    dates = sorted((optics.data_folder() / "naip-series-nd").glob("*.tif"))
    for path in dates[1:]:
        date = path.stem.rsplit("_", 1)[1]
        for band in (1, 4):
            files = (f"naip-series-nd/{dates[0].name}", f"naip-series-nd/{path.name}")
            pairs.append(RealPair(f"NAIP {date[:4]} band {band}", *files, (band, band), truth=f"naip_{date}"))
    return [p for p in pairs if all((optics.data_folder() / f).exists() for f in (p.ref, p.tgt))]


def read_cases(pair: RealPair, window_px: int, most: int) -> list[optics.Case]:
    """Both rasters on the reference's pixels, but for a whole number of target pixels; a case for each dither."""
    folder = optics.data_folder()
    with rasterio.open(folder / pair.ref) as ref, rasterio.open(folder / pair.tgt) as tgt:
        add_x, add_y = correction(pair)
        here, there, gsd = ref.transform, tgt.transform, ref.transform.a
        # where the reference's first pixel is found in the target
        col, row = round((here.c - add_x - there.c) / gsd), round((there.f - here.f + add_y) / gsd)
        left, top = max(0, -col), max(0, -row)
        width, height = min(ref.width, tgt.width - col) - left, min(ref.height, tgt.height - row) - top
        views = Window(left, top, width, height), Window(left + col, top + row, width, height)
        sides = [_read(*side) for side in zip((ref, tgt), pair.bands, views, strict=True)]
        valid = sides[0][1] & sides[1][1] & _clear(pair, views[0])
    ref = _standard(sides[0][0], valid)
    centre_px = _centres(valid & _textured(ref) & _textured(_standard(sides[1][0], valid)), window_px, most)
    cases = []
    for k, dither_px in enumerate(DITHER_PX):
        tgt, centres = _standard(_displaced(sides[1][0], dither_px), valid), centre_px[k :: len(DITHER_PX)]
        unknown = np.full((len(centres), 2, 2), np.nan)
        cases.append(optics.Case(ref, tgt, valid, valid, centres, window_px, dither_px, unknown))
    return cases


def _displaced(image: NDArray[np.float32], shift_px: tuple[float, float], pad_px: int = 96) -> NDArray[np.float32]:
    """By a phase ramp, which leaves every frequency its amplitude."""
    if shift_px == (0.0, 0.0):
        return image
    padded = np.pad(image, pad_px, mode="reflect")
    fy, fx = fft.fftfreq(padded.shape[0])[:, None], fft.rfftfreq(padded.shape[1])[None]
    ramp = np.exp(-2j * np.pi * shift_px[0] * fx) * np.exp(-2j * np.pi * shift_px[1] * fy)
    moved = fft.irfft2(fft.rfft2(padded) * ramp, s=padded.shape)
    return np.asarray(moved[pad_px:-pad_px, pad_px:-pad_px], np.float32)


def correction(pair: RealPair) -> tuple[float, float]:
    path = optics.data_folder() / "truth" / f"{pair.truth}.json"
    return tuple(json.loads(path.read_text())["correction_median"]) if pair.truth else (0.0, 0.0)


def _read(raster, band: int, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    return raster.read(band, window=window).astype(np.float32), raster.read_masks(band, window=window) > 0


def _clear(pair: RealPair, window: Window) -> NDArray[np.bool_]:
    if not pair.quality:
        return np.ones((window.height, window.width), bool)
    with rasterio.open(optics.data_folder() / pair.quality) as raster:
        quality = raster.read(1, window=window)
    cloud, cirrus = quality >> 14, (quality >> 12) & 3  # confidence 2 and 3: probable and certain
    return np.asarray(~ndimage.binary_dilation((cloud >= 2) | (cirrus >= 2), iterations=3))


def _standard(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    seen = image[valid]
    return np.where(valid, (image - seen.mean()) / seen.std(), 0).astype(np.float32)


def _textured(image: NDArray[np.float32], side_px: int = 9) -> NDArray[np.bool_]:
    """Where a neighbourhood is not of one value, as open water and saturated fields are in 8 bits."""
    mean, square = (ndimage.uniform_filter(part, side_px) for part in (image, image**2))
    return np.asarray(square - mean**2 > 1e-4)


def _centres(usable: NDArray[np.bool_], window_px: int, most: int) -> NDArray[np.intp]:
    """Windows every half window, at most ``most`` evenly thinned out, `MIN_USABLE` of each usable."""
    first = window_px // 2 + 16
    lines = [np.arange(first, side - first + 1, window_px // 2) for side in usable.shape[::-1]]
    centres = np.stack(np.meshgrid(*lines), axis=-1).reshape(-1, 2)
    total = np.pad(usable.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    (x0, y0), (x1, y1) = (centres - window_px // 2).T, (centres + window_px // 2).T
    count = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    centres = centres[count >= MIN_USABLE * window_px**2]
    return centres[np.unique(np.linspace(0, len(centres) - 1, min(most, len(centres))).astype(int))]


def run_real(job: tuple[RealPair, int], most: int) -> dict[str, dict[str, float]]:
    pair, window_px = job
    cases = read_cases(pair, window_px, most)
    parts = [run_methods(case) for case in cases]
    centre_px = np.concatenate([case.centre_px for case in cases])
    trusted = np.concatenate([part[OURS].kept for part in parts])
    figures = {}
    for name in parts[0]:
        estimate = _joined([part[name] for part in parts])
        figures[name] = scatter(centre_px, estimate.shift_px, estimate.kept)
        figures[name]["where_ours_px"] = scatter(centre_px, estimate.shift_px, estimate.kept & trusted)["scatter_px"]
        figures[name]["within"] = figures[name]["near"] * float(estimate.kept.mean())
        figures[name]["kept"] = float(estimate.kept.mean())
        figures[name]["n"] = len(estimate.kept)
    return figures


def _joined(estimates: list[Estimate]) -> Estimate:
    """Without their dithers."""
    shift = [e.shift_px - dither for e, dither in zip(estimates, DITHER_PX, strict=True)]
    return Estimate(np.concatenate(shift), None, np.concatenate([e.kept for e in estimates]))


def scatter(centre_px: NDArray[np.intp], shift_px: Floats, use: NDArray[np.bool_]) -> dict[str, float]:
    """About a robust affine: 1.4826 MAD of all windows in use, RMSE of inliers, both per axis, and the inliers' share."""
    if use.sum() < 8:
        return dict.fromkeys(("scatter_px", "inlier_rmse_px", "inliers", "near"), float("nan"))
    rest = shift_px[use] - robust_affine(centre_px[use], shift_px[use])
    mad = spread(rest)
    inlier = np.hypot(*rest.T) <= 3.5 * mad
    near = float(np.mean(np.hypot(*rest.T) <= NEAR_PX))
    return {"scatter_px": mad, "inlier_rmse_px": rms(rest[inlier]), "inliers": float(inlier.mean()), "near": near}


def robust_affine(xy: NDArray[np.intp], shift_px: Floats) -> Floats:
    """Fitted (N, 2): absolute deviations first, then least squares on what lies within 3.5 scaled MAD, repeated."""
    design = np.column_stack([np.ones(len(xy)), (xy - xy.mean(axis=0)) / max(float(np.ptp(xy)), 1.0)])
    weight = np.ones(len(xy))
    fitted = np.zeros_like(shift_px)
    for k in range(40):
        root = np.sqrt(weight)[:, None]
        fitted = design @ np.linalg.lstsq(design * root, shift_px * root, rcond=None)[0]
        radius, mad = np.hypot(*(shift_px - fitted).T), spread(shift_px - fitted)
        weight = 1 / np.maximum(radius, 0.1 * mad + 1e-9) if k < 20 else (radius <= 3.5 * mad + 1e-9).astype(float)
    return np.asarray(fitted)


def spread(rest: Floats) -> float:
    """1.4826 MAD per axis, the axes' mean square."""
    return 1.4826 * rms(np.median(np.abs(rest - np.median(rest, axis=0)), axis=0))


def section_real(settings: Settings) -> dict:
    pairs = real_pairs()
    if not pairs:
        note("real: no imagery; set GEOREG_DATA")
        return {}
    jobs = [(pair, window_px) for pair in pairs[:: 4 if settings.quick else 1] for window_px in (64, 128)]
    work = partial(run_real, most=60 if settings.quick else 400)
    found = dict(zip(jobs, run_all(work, jobs, settings.n_processes, "real"), strict=True))
    few = [f"{pair.name} {window_px} px" for (pair, window_px), row in found.items() if row[OURS]["n"] < MIN_WINDOWS]
    found = {job: row for job, row in found.items() if row[OURS]["n"] >= MIN_WINDOWS}
    methods = list(peers.METHODS)
    for figure, what, scale, form in (
        (
            "scatter_px",
            "scatter (1.4826 MAD per axis) about a robust affine, px; each method's own kept windows",
            1,
            ".4f",
        ),
        ("where_ours_px", f"the same, on the windows that `{OURS}` keeps", 1, ".4f"),
        ("inlier_rmse_px", "RMSE per axis of inliers, px", 1, ".4f"),
        ("inliers", "inliers (within 3.5 scatters), %", 100, ".0f"),
        ("within", f"kept and within {NEAR_PX} px of the affine, % of all windows", 100, ".0f"),
        ("kept", "kept, %", 100, ".0f"),
    ):
        body = []
        for (pair, window_px), row in found.items():
            values = [row[m][figure] * scale for m in methods]
            best = [methods[int(np.argmin(np.nan_to_num(values, nan=np.inf)))]] if form == ".4f" else []
            body.append([pair.name, f"{window_px}", f"{row[OURS]['n']}", *(format(v, form) for v in values), *best])
        if form == ".4f":
            # ten years of fields and ponds, on frames that are bent by a pixel, say little of an estimator's precision
            for label, aerial in (("all but NAIP", False), ("NAIP", True)):
                rows = [row for (pair, _), row in found.items() if pair.name.startswith("NAIP") == aerial]
                ratios = [
                    np.nanmedian([row[m][figure] / row[OURS][figure] for row in rows] or [np.nan]) for m in methods
                ]
                body.append([f"median / {OURS}, {label}", "", "", *(f"{v:.2f}" for v in ratios), ""])
        show(f"real: {what}", ["pair", "px", "n", *methods] + (["best"] if form == ".4f" else []), body)
    if few:
        note(f"left out, with fewer than {MIN_WINDOWS} windows: " + ", ".join(few))
    best = [min(methods, key=lambda m: np.nan_to_num(row[m]["scatter_px"], nan=np.inf)) for row in found.values()]
    note("least scatter: " + ", ".join(f"{m} {best.count(m)}" for m in sorted(set(best), key=best.count, reverse=True)))
    return {f"{pair.name} {window_px} px": row for (pair, window_px), row in found.items()}


# ---- shared


def group(items: Iterable[Errors], key: Callable[[Errors], tuple | str]) -> dict:
    out: dict = defaultdict(list)
    for item in items:
        out[key(item)].append(item)
    return dict(out)


def kept_errors(found: list[Errors]) -> Floats:
    return np.concatenate([e.error_px[e.kept] for e in found])


def rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")


def sig(value: float) -> str:
    """Three digits, or what is behind the point to four."""
    return f"{value:.4f}" if value < 0.1 else f"{value:.3g}"


def dropped(found: dict[tuple, list[Errors]]) -> int:
    return sum(e.dropped for part in found.values() for e in part if e.method == OURS)


def show(title: str, head: list[str], body: list[list[str]]) -> None:
    print(title)
    table = Table(box=None, pad_edge=False, header_style="")
    for k, name in enumerate(head):
        table.add_column(name, justify="left" if k == 0 else "right", no_wrap=k == 0, min_width=6)
    for row in body:
        table.add_row(*row)
    Console(width=max(140, 13 + 13 * len(head)), highlight=False).print(table, "")


def note(text: str) -> None:
    print(text, end="\n\n", flush=True)


SECTIONS = {
    "bound": section_bound,
    "locking": section_locking,
    "conditions": section_conditions,
    "masked": section_masked,
    "uncertainty": section_uncertainty,
    "real": section_real,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--section", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer settings, scenes and windows")
    parser.add_argument("--out", type=Path, help="folder for the numbers as JSON and the curves as PNG")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes; the numbers do not depend on it"
    )
    args = parser.parse_args()
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    settings = Settings(args.quick, args.jobs, args.out, tuple(optics.scene_names()))
    for name in args.section:
        start = time.perf_counter()
        figures = SECTIONS[name](settings)
        note(f"({name}: {time.perf_counter() - start:.0f} s)")
        if args.out:
            (args.out / f"{name}.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
