"""How well models are fitted and chosen, and whether they know how well: `python benchmarks/models.py --help`.

A trial is made from its number alone, and its result is a record; the tables are made of records.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import rasterio
from accuracy import note, quiet, run_all, show
from models_pairs import (
    CONDITIONS,
    GSD,
    HALF_PX,
    KINDS,
    SIDE_PX,
    Displacement,
    Floats,
    Layout,
    displaced_exactly,
    displacement,
    error_px,
    lattice,
    make_ground,
    make_pair,
    seen,
    seen_exactly,
    spline,
    tie_points,
    to_xy,
)
from optics import data_folder
from robustness import wilson_upper

import georeg
from georeg import FitOptions, GeoregError, MatchOptions, TiePoints
from georeg.options import ModelKind

Record = dict[str, Any]
AVAILABLE = get_args(ModelKind)
GOAL_PX = {"translation": 0.01, "similarity": 0.01, "affine": 0.01, "local": 0.05}
"""Of the RMS over the overlap; others 0.03, and twice that in all but the first two conditions."""
GROUNDS = (11, 12, 13, 14)
SEEN_PX = 0.01
"""A model worse by less than this is as good."""
AREA = lattice(1.0, 41)
PLACES = lattice(2.0, 17)
"""Where uncertainty is looked at: up to half a side beyond the target."""
WHERE = {
    "inside": np.abs(PLACES).max(axis=1) <= 0.76,
    "rim": np.abs(PLACES).max(axis=1) == 1,
    "near": (np.abs(PLACES).max(axis=1) > 1) & (np.abs(PLACES).max(axis=1) <= 1.5),
    "far": np.abs(PLACES).max(axis=1) > 1.5,
    "hole": ((PLACES > 0.2) & (PLACES < 0.8)).all(axis=1),
}


# ---- what a fitted model is held against


def sig(value: float) -> str:
    return f"{value:.3g}"


def rms(vectors: Floats) -> float:
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=1))))


def fitted(points: TiePoints, kind: str, prove: bool = False) -> tuple[Any, str]:
    """The model, or None and the name of the error; ``prove``: it is held against its check points too."""
    if kind not in AVAILABLE:
        return None, "no such kind"
    try:
        found = georeg.fit(points, FitOptions(model=kind))
        return (georeg.assess(found).model if prove else found.model), ""
    except GeoregError as exc:
        return None, f"{type(exc).__name__}: {exc}"


def judged(model: Any, truth: Displacement, uv: Floats = AREA) -> Record:
    """Errors over the overlap, and squared standardised ones at `PLACES`, where the model can tell its uncertainty."""
    if model is None:
        return {}
    error = error_px(model, truth, uv)
    record = {"kind": model.kind, "rms_px": rms(error), "max_px": float(np.hypot(*error.T).max())}
    cov = getattr(model, "covariance_at", lambda _: None)(to_xy(PLACES))
    if cov is not None:
        cov_px, error = np.asarray(cov) / GSD**2, error_px(model, truth, PLACES)
        z2 = np.einsum("ni,nij,nj->n", error, np.linalg.inv(cov_px), error) / 2
        sigma_px = np.sqrt(np.trace(cov_px, axis1=1, axis2=2) / 2)
        record |= {"z2": z2.round(4).tolist(), "sigma_px": sigma_px.round(5).tolist()}
    return record


def overlap_uv(truth: Displacement) -> Floats:
    """Of `AREA`, where the target shows what the reference does."""
    return np.asarray(AREA[np.abs(AREA + truth(AREA) / HALF_PX).max(axis=1) <= 1])


def chosen_as(kind: str | None, true: str) -> str:
    true = "translation" if true == "none" else true
    if kind is None:
        return "refused"
    return "right" if kind == true else "richer" if KINDS.index(kind) > KINDS.index(true) else "poorer"


def mark_as_good(records: Sequence[Record], by: Sequence[str]) -> None:
    """Whether `auto` is right, or no worse than the true kind by `SEEN_PX` or by what chance alone does to that."""
    for group in grouped(records, by).values():
        own = [r["true"]["rms_px"] for r in group if r["true"]]
        chance = float(np.std(own)) if len(own) > 2 else 0.0
        for r in group:
            if r["auto"] and r["choice"] != "right":
                r["loss_px"] = r["auto"]["rms_px"] - (r["true"]["rms_px"] if r["true"] else 0.0)
            r["good"] = bool(r["auto"]) and (r["choice"] == "right" or r["loss_px"] <= max(SEEN_PX, chance))


# ---- figures of many records


def grouped(records: Iterable[Record], by: Sequence[str]) -> dict[tuple, list[Record]]:
    out: dict[tuple, list[Record]] = {}
    for record in records:
        out.setdefault(tuple(record[key] for key in by), []).append(record)
    return out


def of(values: Sequence[float], what: Callable[..., Any]) -> str:
    return sig(float(what(values))) if len(values) else "-"


def p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


def percent(flags: Sequence[bool]) -> str:
    return f"{100 * np.mean(flags):.0f}" if len(flags) else "-"


def at_least(flags: Sequence[bool]) -> str:
    """Lower end of the 95 % interval of the share, %."""
    return f"{100 * (1 - wilson_upper(len(flags) - sum(flags), len(flags))):.0f}" if len(flags) else "-"


def z_figures(found: Sequence[Record], where: Sequence[str] = ("inside", "rim", "near", "far")) -> list[str]:
    """RMS of standardised errors by place, the least and greatest of a single place, and how the typical sigma grows."""
    z2 = np.array([r["z2"] for r in found if "z2" in r])
    if not len(z2):
        return ["-"] * (len(where) + 2)
    by_place = np.sqrt(z2.mean(axis=0))
    sigma = np.median([r["sigma_px"] for r in found if "z2" in r], axis=0)
    grows = np.median(sigma[WHERE[where[-1]]]) / np.median(sigma[WHERE["inside"]])
    parts = [f"{np.sqrt(z2[:, WHERE[name]].mean()):.2f}" for name in where]
    return [*parts, f"{by_place.min():.2f}-{by_place.max():.2f}", f"{grows:.1f}"]


def tell_refusals(found: Sequence[Record]) -> None:
    """How often each was given: the words that hold no number and no file."""
    errors = [text for r in found for text in {r["error"], r.get("true_error", "")} if text]
    texts = Counter(" ".join([w for w in text.split() if w.strip("(,;:.").isalpha()][:14]) for text in errors)
    if texts:
        note("\n".join(["refusals:", *(f"{n:6d}  {text}" for text, n in texts.most_common(8))]))


# ---- truth: pairs of images


def run_truth(job: tuple[int, str, str], grounds: Path, n_grounds: int, seed: int) -> Record:
    number, kind, condition = job
    record: Record = {"class": kind, "condition": condition, "number": number, "auto": {}, "true": {}}
    with tempfile.TemporaryDirectory() as folder:
        ground = GROUNDS[number % n_grounds]
        pair = make_pair(kind, CONDITIONS[condition], seed + number, grounds, ground, Path(folder))
        start = time.process_time()
        try:
            points = georeg.match(pair.reference, pair.target, matching=MatchOptions(threads=1))
        except GeoregError as exc:
            error = f"{type(exc).__name__}: {exc}"
            return record | {"error": error, "choice": "refused", "goal_px": goal_px(kind, condition)}
        record["match_s"], start = time.process_time() - start, time.process_time()
        model, error = fitted(points, "auto", prove=True)
        record["fit_s"] = time.process_time() - start
        uv = overlap_uv(pair.truth)
        record |= {"auto": judged(model, pair.truth, uv), "error": error, "n_points": int(points.kept.sum())}
        model, record["true_error"] = fitted(points, kind, prove=True)
        record["true"] = judged(model, pair.truth, uv)
        record |= points_figures(points, pair.truth)
    record |= {"choice": chosen_as(record["auto"].get("kind"), kind), "goal_px": goal_px(kind, condition)}
    return record


def goal_px(kind: str, condition: str) -> float:
    return GOAL_PX.get(kind, 0.03) * (1 if condition in ("clean", "moved 30 %") else 2)


def points_figures(points: TiePoints, truth: Displacement) -> Record:
    """Of the kept tie points: share that is wrong by over half a pixel, and standardised errors of the others."""
    kept = points.subset(points.kept)
    error = (kept.displacement - GSD * truth((kept.tgt_xy - to_xy(np.zeros(2))) / (GSD * HALF_PX))) / GSD
    wrong = np.hypot(*error.T) > 0.5
    z2 = np.einsum("ni,nij,nj->n", error, np.linalg.inv(kept.cov / GSD**2), error) / 2
    about = {"wrong_points": float(wrong.mean()), "z_points": float(np.sqrt(np.median(z2[~wrong]) / np.log(2)))}
    return about | {"window_px": points.window_px, "step": points.step}


def section_truth(args: argparse.Namespace) -> list[Record]:
    """RMS over the overlap of pairs of images, by kind and condition."""
    trials, n_grounds = args.trials or (1 if args.quick else 8), 1 if args.quick else len(GROUNDS)
    conditions = list(CONDITIONS)[:2] if args.quick else list(CONDITIONS)
    with tempfile.TemporaryDirectory() as folder:
        grounds = Path(folder)
        list(run_all(partial(make_ground, folder=grounds), GROUNDS[:n_grounds], args.jobs, "grounds"))
        work = partial(run_truth, grounds=grounds, n_grounds=n_grounds, seed=args.seed)
        jobs = [(k, kind, condition) for kind, condition, k in product(args.kinds, conditions, range(trials))]
        records = list(run_all(work, jobs, args.jobs, "truth"))
    tell_truth(records)
    return records


def tell_truth(records: Sequence[Record]) -> None:
    mark_as_good(records, ("class", "condition"))
    head = ["class", "condition", "n", "refused", "auto: right %", "or as good %", "RMS px: median", "95 %", "max px"]
    head += ["goal px", "within %", "true kind: RMS px", "95 %", "within %", "wrong points %", "match s", "fit s"]
    body = []
    for (kind, condition), found in grouped(records, ("class", "condition")).items():
        goal, row = found[0]["goal_px"], [kind, condition, f"{len(found)}"]
        row.append(f"{sum(not r['auto'] for r in found)}")
        row += [percent([r["choice"] == "right" for r in found]), percent([r["good"] for r in found])]
        for name in ("auto", "true"):
            values = [r[name]["rms_px"] for r in found if r[name]]
            row += [of(values, np.median), of(values, p95)]
            if name == "auto":
                row += [of([r["auto"]["max_px"] for r in found if r["auto"]], np.max), f"{goal:g}"]
            row.append(percent([bool(r[name]) and r[name]["rms_px"] <= goal for r in found]))
        row.append(of([100 * r["wrong_points"] for r in found if "wrong_points" in r], np.mean))
        body.append(row + [of([r[key] for r in found if key in r], np.mean) for key in ("match_s", "fit_s")])
    show("truth: pairs of images", head, body)
    tell_refusals(records)
    tell_truth_choice(records)
    tell_truth_z(records)


def tell_truth_choice(records: Sequence[Record]) -> None:
    head = ["class", "n", "refused", *AVAILABLE[1:], "right or as good %", "at least %", "kept points", "their z"]
    body = []
    for (kind,), found in grouped(records, ("class",)).items():
        kinds = [r["auto"].get("kind") for r in found]
        row = [kind, f"{len(found)}", f"{kinds.count(None)}", *(f"{kinds.count(k)}" for k in AVAILABLE[1:])]
        row += [percent([r["good"] for r in found]), at_least([r["good"] for r in found])]
        row += [of([r["n_points"] for r in found if "n_points" in r], np.mean)]
        body.append([*row, of([r["z_points"] for r in found if "z_points" in r], np.median)])
    show("truth: kinds that auto chose, all conditions", head, body)


def tell_truth_z(records: Sequence[Record]) -> None:
    head = ["class", "model", "n", "z inside", "rim", "near", "far", "single places", "sigma far/in"]
    body = []
    for (kind,), found in grouped(records, ("class",)).items():
        for name in ("auto", "true"):
            good = [r[name] for r in found if r[name]]
            body.append([kind, "auto" if name == "auto" else "true kind", f"{len(good)}", *z_figures(good)])
    show(
        "truth: errors over stated uncertainty (1 would be perfect; near, far: a quarter and half a side beyond)",
        head,
        body,
    )


# ---- choice: tie points of every kind


def run_choice(job: tuple[int, str, int, float, float], seed: int) -> Record:
    number, kind, n, step, mismatches = job
    rng = np.random.default_rng([3, seed, number, KINDS.index(kind) + 1 if kind != "none" else 0, n])
    strength = 1.0 if number % 2 else float(np.exp(rng.uniform(np.log(0.01), 0)))
    truth = displacement(kind, rng, strength)
    points, _ = tie_points(truth, Layout(n=n, step=step, mismatches=mismatches), rng)
    start = time.process_time()
    model, error = fitted(points, "auto")
    record = {"class": kind, "n": n, "step": step, "mismatches": mismatches, "strength": strength, "number": number}
    record |= {"fit_s": time.process_time() - start, "error": error, "auto": judged(model, truth)}
    true = "translation" if kind == "none" else kind
    record["true"] = record["auto"] if model and model.kind == true else judged(fitted(points, true)[0], truth)
    return record | {"choice": chosen_as(record["auto"].get("kind"), kind), "faint": strength < 1}


def section_choice(args: argparse.Namespace) -> list[Record]:
    """What `auto` chooses, at the level of tie points."""
    trials = args.trials or (2 if args.quick else 6)
    sizes, steps = ((100, 500), (1.0,)) if args.quick else ((30, 100, 500, 2000), (1.0, 0.5, 0.25))
    shares = (0.3,) if args.quick else (0.0, 0.3, 0.6)
    kinds = [*args.kinds, "none"]
    jobs = list(product(range(trials), kinds, sizes, steps, shares))
    records = list(run_all(partial(run_choice, seed=args.seed), jobs, args.jobs, "choice"))
    mark_as_good(records, ("class", "n", "step", "mismatches", "faint"))
    for by in (("class", "faint"), ("n",), ("step",), ("mismatches",)):
        tell_choice(records, by)
    tell_refusals(records)
    tell_overfit(records)
    return records


def tell_choice(records: Sequence[Record], by: tuple[str, ...]) -> None:
    head = [*by, "trials", "refused %", "right %", "richer %", "poorer %", "right or as good %", "at least %"]
    head += ["RMS px: median", "95 %", "true kind: median", "95 %", "worst loss px", "fit s"]
    body = []
    for key, found in grouped(records, by).items():
        row = [*(str(part) for part in key), f"{len(found)}"]
        row += [percent([r["choice"] == name for r in found]) for name in ("refused", "right", "richer", "poorer")]
        answered = [r for r in found if r["auto"]]
        row += [percent([r["good"] for r in answered]), at_least([r["good"] for r in answered])]
        for name in ("auto", "true"):
            values = [r[name]["rms_px"] for r in answered if r[name]]
            row += [of(values, np.median), of(values, p95)]
        row += [
            of([r["loss_px"] for r in answered if "loss_px" in r], np.max),
            of([r["fit_s"] for r in found], np.mean),
        ]
        body.append(row)
    show(f"choice: tie points, by {' and '.join(by)} (shares that are as good are of what was answered)", head, body)


def tell_overfit(records: Sequence[Record]) -> None:
    still = [r for r in records if r["class"] in ("none", "translation") and r["auto"]]
    body = []
    for key, found in grouped(still, ("n", "step")).items():
        simple = [r["choice"] == "right" for r in found]
        kinds = sorted({r["auto"]["kind"] for r in found} - {"translation"})
        body.append([*(str(k) for k in key), f"{len(found)}", percent(simple), at_least(simple), ", ".join(kinds)])
    simple = [r["choice"] == "right" for r in still]
    body.append(["all", "", f"{len(still)}", percent(simple), at_least(simple), ""])
    show("choice: pure shifts that are called one", ["n", "step", "trials", "%", "at least %", "else"], body)


# ---- calibration: the covariance of a model


def run_calibration(job: tuple[int, str, float, float, bool], seed: int) -> Record:
    number, kind, step, mismatches, hole = job
    rng = np.random.default_rng([4, seed, number, KINDS.index(kind)])
    truth = displacement(kind, rng)
    points, _ = tie_points(truth, Layout(n=400, step=step, mismatches=mismatches, hole=hole), rng)
    model, error = fitted(points, kind)
    layout = f"step {step:g}, {mismatches:.0%} wrong" + (", hole" if hole else "")
    return {"class": kind, "layout": layout, "error": error, **judged(model, truth)}


def section_calibration(args: argparse.Namespace) -> list[Record]:
    """Errors over stated uncertainty, by place, of each kind where it is true."""
    trials = args.trials or (10 if args.quick else 40)
    layouts = [(1.0, 0.0, False), (1.0, 0.3, False), (0.5, 0.0, False), (0.25, 0.0, False), (1.0, 0.3, True)]
    kinds = [kind for kind in args.kinds if kind in AVAILABLE]
    jobs = [(k, kind, *layout) for kind, layout, k in product(kinds, layouts[: 2 if args.quick else 5], range(trials))]
    records = list(run_all(partial(run_calibration, seed=args.seed), jobs, args.jobs, "calibration"))
    where = ("inside", "rim", "hole", "near", "far")
    head = ["class", "layout", "n", "RMS px", *(f"z {name}" for name in where), "single places", "sigma far/in"]
    body = []
    for key, found in grouped(records, ("class", "layout")).items():
        good = [r for r in found if "rms_px" in r]
        body.append([*key, f"{len(good)}", of([r["rms_px"] for r in good], np.median), *z_figures(good, where)])
    show("calibration: errors over stated uncertainty, tie points", head, body)
    tell_refusals(records)
    return records


# ---- outliers: beside OpenCV


PEERS = {
    "RANSAC, 3 px": (cv2.RANSAC, 3.0),
    "RANSAC, 0.15 px": (cv2.RANSAC, 0.15),
    "MAGSAC++, 3 px": (cv2.USAC_MAGSAC, 3.0),
    "MAGSAC++, 0.15 px": (cv2.USAC_MAGSAC, 0.15),
}
"""Method and threshold: OpenCV's own, and three deviations of the tie points."""
SCENARIOS = {
    "uniform 0 %": Layout(),
    "uniform 30 %": Layout(mismatches=0.3),
    "uniform 60 %": Layout(mismatches=0.6),
    "uniform 75 %": Layout(mismatches=0.75),
    "drifting 10 %": Layout(drifting=0.1),
    "drifting 20 %": Layout(drifting=0.2),
    "drifting 30 %": Layout(drifting=0.3),
    "drifting 40 %": Layout(drifting=0.4),
    "drifting 20 %, uniform 30 %": Layout(drifting=0.2, mismatches=0.3),
}


def by_opencv(points: TiePoints, method: int, threshold_px: float) -> Callable[[Floats], Floats] | None:
    """An affine model of the same tie points, in pixels about the centre."""
    centre = to_xy(np.zeros(2))
    tgt, ref = ((xy - centre) / GSD for xy in (points.tgt_xy, points.ref_xy))
    cv2.setRNGSeed(1)
    found, _ = cv2.estimateAffine2D(
        tgt, ref, method=method, ransacReprojThreshold=threshold_px, maxIters=10_000, confidence=0.999, refineIters=20
    )
    if found is None:
        return None
    return lambda xy: ((xy - centre) / GSD @ found[:, :2].T + found[:, 2]) * GSD + centre


def least_squares(points: TiePoints) -> Callable[[Floats], Floats]:
    """An affine model by the tie points' covariances: nothing can be better."""
    uv = (points.tgt_xy - to_xy(np.zeros(2))) / (GSD * HALF_PX)
    root = np.linalg.cholesky(np.linalg.inv(points.cov / GSD**2)).swapaxes(1, 2)
    design = np.concatenate([np.ones((len(uv), 1)), uv], axis=1)
    rows = (root[:, :, None, :] * design[:, None, :, None]).reshape(2 * len(uv), 6)
    found = np.linalg.lstsq(rows, (root @ points.displacement[..., None] / GSD).ravel(), rcond=None)[0].reshape(3, 2)
    return lambda xy: xy + GSD * (found[0] + (xy - to_xy(np.zeros(2))) / (GSD * HALF_PX) @ found[1:])


def run_outliers(job: tuple[int, str], seed: int) -> Record:
    number, scenario = job
    rng = np.random.default_rng([5, seed, number])
    truth = displacement("affine", rng)
    points, right = tie_points(truth, SCENARIOS[scenario], rng)
    record: Record = {"scenario": scenario, "number": number, "n": len(points), "rms_px": {}, "cpu_s": {}}
    methods: dict[str, Callable[[], Any]] = {
        "georeg": lambda: fitted(points, "affine")[0],
        **{name: partial(by_opencv, points, *how) for name, how in PEERS.items()},
        "least squares, told which": lambda: least_squares(points.subset(right)),
    }
    for name, method in methods.items():
        start = time.process_time()
        model = method()
        record["cpu_s"][name] = time.process_time() - start
        record["rms_px"][name] = None if model is None else rms(error_px(model, truth, AREA))
    return record


def section_outliers(args: argparse.Namespace) -> list[Record]:
    """An affine model of 400 tie points with mismatches, beside OpenCV's."""
    trials = args.trials or (8 if args.quick else 100)
    jobs = list(product(range(trials), SCENARIOS))
    records = list(run_all(partial(run_outliers, seed=args.seed), jobs, args.jobs, "outliers"))
    body = []
    for (scenario,), found in grouped(records, ("scenario",)).items():
        for name in found[0]["rms_px"]:
            values = [r["rms_px"][name] for r in found if r["rms_px"][name] is not None]
            row = [scenario, name, f"{len(found)}", f"{len(found) - len(values)}", f"{sum(v > 0.5 for v in values)}"]
            row += [of(values, np.median), of(values, p95), of(values, np.max)]
            body.append([*row, sig(1e3 * np.mean([r["cpu_s"][name] for r in found]))])
    head = ["scenario", "method", "n", "refused", "over 0.5 px", "RMS px: median", "95 %", "worst", "ms"]
    show("outliers: an affine model of 400 tie points of 0.03 px", head, body)
    return records


# ---- naip: two dates of a real series


NAIP = "naip-series-nd/m_4709963_se_14_1_20{}.tif"


def section_naip(args: argparse.Namespace) -> list[Record]:
    """2009 and 2010, whose measured displacements are stored."""
    paths = [data_folder() / NAIP.format(date) for date in ("090818", "100629")]
    stored = data_folder() / "truth" / "naip_20100629.csv"
    if not stored.exists():
        note(f"naip: no imagery in {data_folder()}; set GEOREG_DATA")
        return []
    with rasterio.open(paths[0]) as raster:
        gsd = float(raster.transform.a)
    table = np.genfromtxt(stored, delimiter=",", names=True)
    ref_xy = np.stack([table["x_ref"], table["y_ref"]], axis=1)
    add_px = np.stack([table["corr_e"], table["corr_n"]], axis=1) / gsd
    points = georeg.match(*paths)
    records = [naip_record(points, kind, ref_xy, add_px, table["ncc"], gsd) for kind in ("auto", *AVAILABLE[1:])]
    records += [of_the_table(degree, ref_xy, add_px, table["ncc"]) for degree in (0, 1, 2)]
    tell_naip(records, points)
    return records


def naip_record(points: TiePoints, kind: str, ref_xy: Floats, add_px: Floats, ncc: Floats, gsd: float) -> Record:
    try:
        found = georeg.assess(georeg.fit(points, FitOptions(model=kind)))
    except GeoregError as exc:
        return {"model": kind, "error": str(exc)}
    tgt_xy = ref_xy - add_px * gsd
    moved_px = (found.model(tgt_xy) - tgt_xy) / gsd
    after = found.after
    record = {"model": f"auto: {found.model.kind}" if kind == "auto" else kind, "n_check": after.n}
    record |= {"excluded": after.n_excluded, "check_px": after.rmse / after.gsd, "ce90_px": after.ce90 / after.gsd}
    record["candidates"] = {c.kind: c.cv_rmse_px for c in found.fitted.candidates}
    return record | against_table(add_px - moved_px, ncc)


def against_table(rest_px: Floats, ncc: Floats) -> Record:
    """Of what a model leaves of the table's displacements, after their median and without gross ones."""
    far = np.hypot(*rest_px.T)
    fair = far <= 3 * 1.4826 * np.median(far)
    sure = fair & (ncc >= 0.7)
    names = {"median_px": np.median(far), "rms_px": rms(rest_px[fair]), "sure_px": rms(rest_px[sure])}
    bias = np.hypot(*np.median(rest_px, axis=0))
    return {name: float(value) for name, value in names.items()} | {"n": int(fair.sum()), "bias_px": float(bias)}


def of_the_table(degree: int, ref_xy: Floats, add_px: Floats, ncc: Floats) -> Record:
    """A polynomial fitted to the table itself, gross errors left out in turns."""
    uv = (ref_xy - ref_xy.mean(axis=0)) / ref_xy.std()
    design = np.stack([uv[:, 0] ** (k - j) * uv[:, 1] ** j for k in range(degree + 1) for j in range(k + 1)], axis=1)
    fair = np.ones(len(uv), bool)
    for _ in range(10):
        rest_px = add_px - design @ np.linalg.lstsq(design[fair], add_px[fair], rcond=None)[0]
        far = np.hypot(*rest_px.T)
        fair = far <= 3 * 1.4826 * np.median(far)
    name = ("shift", "affine", "polynomial2")[degree]
    return {"model": f"the table's own {name}", **against_table(rest_px, ncc)}


def tell_naip(records: Sequence[Record], points: TiePoints) -> None:
    head = ["model", "check points", "excluded", "RMSE px", "CE90 px", "table: n", "bias px", "median px", "RMS px"]
    keys = ("n_check", "excluded", "check_px", "ce90_px", "n", "bias_px", "median_px", "rms_px", "sure_px")
    body = [[r["model"], *(f"{r[key]:.3g}" if key in r else "-" for key in keys)] for r in records if "error" not in r]
    show("naip: 2009-2010, on check points and on the stored table", [*head, "NCC >= 0.7"], body)
    note("\n".join(f"  {r['model']}: {r['error']}" for r in records if "error" in r) or f"{points.counts()}")
    for r in records:
        if r.get("candidates") and r["model"].startswith("auto"):
            note("withheld RMSE px: " + ", ".join(f"{k} {v:.4f}" for k, v in r["candidates"].items() if v is not None))


# ---- renderer: that the images are what they are said to be


def section_renderer(args: argparse.Namespace) -> list[Record]:
    """The spline against a phase ramp for a shift, and against the Fourier series where the ground bends."""
    with tempfile.TemporaryDirectory() as folder:
        make_ground(GROUNDS[0], Path(folder))
        coefficients = spline(Path(folder), GROUNDS[0], "red")
    centre_px = np.stack(np.meshgrid(*[np.arange(SIDE_PX) + 0.5] * 2), axis=-1).reshape(-1, 2)
    still = seen(coefficients, centre_px)
    shift_px = np.array([3.37, -5.58])
    by_spline, exact = seen(coefficients, centre_px + shift_px), displaced_exactly(coefficients, shift_px)
    records = [against("a shift, phase ramp", by_spline, exact, still)]
    rng = np.random.default_rng(args.seed)
    some = rng.choice(len(centre_px), 300, replace=False)
    for kind in ("affine", "polynomial3", "local"):
        at_px = centre_px[some] + displacement(kind, rng)((centre_px[some] / HALF_PX - 1) * [1, -1]) * [1, -1]
        exact = seen_exactly(coefficients, at_px)
        records.append(against(f"{kind}, Fourier series", seen(coefficients, at_px), exact, still))
    head = ["displaced by", "pixels", "RMS difference / deviation", "greatest", "as a displacement, px"]
    body = [[r["name"], f"{r['n']}", sig(r["rms"]), sig(r["max"]), sig(r["px"])] for r in records]
    show("renderer: the spline that samples the ground", head, body)
    return records


def against(name: str, found: Floats, exact: Floats, still: Floats) -> Record:
    side = round(np.sqrt(len(still)))
    slope = np.sqrt(np.mean(np.square(np.gradient(still.reshape(side, side)))))
    off = found - exact
    parts = {"rms": off.std() / still.std(), "max": np.abs(off).max() / still.std(), "px": off.std() / slope}
    return {"name": name, "n": len(found)} | {key: float(value) for key, value in parts.items()}


# ---- the run


SECTIONS = {
    "renderer": section_renderer,
    "truth": section_truth,
    "choice": section_choice,
    "calibration": section_calibration,
    "outliers": section_outliers,
    "naip": section_naip,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--section", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="default: all")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="true kinds; default: all")
    parser.add_argument("--quick", action="store_true", help="few trials, and fewer settings")
    parser.add_argument("--trials", type=int, help="of each setting")
    parser.add_argument("--seed", type=int, default=0, help="of all trials")
    parser.add_argument("--output", type=Path, help="file for the records as JSON")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; only times depend on it")
    args = parser.parse_args()
    quiet()
    records = {}
    for name in args.section:
        start = time.perf_counter()
        records[name] = SECTIONS[name](args)
        note(f"({name}: {time.perf_counter() - start:.0f} s)")
        if args.output:
            args.output.write_text(json.dumps(records))


if __name__ == "__main__":
    main()
