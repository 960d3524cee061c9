"""Stacks held against truth: `python benchmarks/stack.py --help`.

Ten dates of one ground are made with exact optics: it changes by a tenth of its variance from one to the next, two dates show
nothing of what the first one shows, and in one pair tie points are moved as if another thing had been matched.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from accuracy import show as show_table
from affine import Affine as Transform
from optics import data_folder

import georeg
from georeg.adjustment import adjust
from georeg.models.polynomial import Affine
from georeg.network import Frame, Network, Ties, condense
from georeg.options import FitOptions, InputOptions, LimitOptions, MatchOptions, StackOptions
from georeg.stack import adjusted, measured_pairs
from georeg.stack_choice import KINDS
from georeg.stack_inputs import entries_of

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import dates

N, SIDE, SNOW, BAD, WRONG_PX = 10, 320, (4, 8), (2, 5), np.array([1.5, -1.0])
SECTIONS = ("truth", "null", "adjustment", "real", "size")


def error_px(model: Any, wrong_xy: np.ndarray, side: int = SIDE) -> float:
    """Root mean square over the ground."""
    x, y = dates.ORIGIN
    reach = side * dates.GSD
    at = np.array([[x + a * reach, y - b * reach] for a in (0.1, 0.5, 0.9) for b in (0.1, 0.5, 0.9)])
    return float(np.sqrt(((model.displacement(at) - wrong_xy) ** 2).sum(axis=1).mean())) / dates.GSD


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Records as a table."""
    body = [[f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    show_table(title, list(rows[0]), body)


def moved(scene: Any) -> tuple[float, float]:
    """Mean displacement (east, north) of a scene that is corrected, map units."""
    found: tuple[float, float] = scene.alignment.displacement()
    return found


def rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(list(values)))))


def truth(trials: int) -> None:
    """Scene by scene onto the first, and jointly; then with one pair that is wrong."""
    rows = []
    for seed in range(trials):
        with tempfile.TemporaryDirectory() as folder:
            wrong = dates.displacements(N, seed)
            paths = dates.written(
                Path(folder), dates.grounds(N, 2 * SIDE + 40, seed, snow=SNOW), wrong, SIDE, seed=seed
            )
            rows.append(_trial(seed, paths, wrong))
    show("ten dates: RMS px of the corrections over the ground", rows)


def _trial(seed: int, paths: list[str], wrong: np.ndarray) -> dict[str, Any]:
    options = StackOptions(reference=paths[0])
    entries, crs = entries_of(paths, None, InputOptions(), options)
    pairs = measured_pairs(entries, crs, InputOptions(), MatchOptions(), FitOptions(), options)

    def solved(given: list[Any]) -> georeg.Stack:
        return adjusted(entries, given, crs, KINDS, LimitOptions(), InputOptions())

    alone = {p.link[1]: error_px(p.fitted.model, wrong[p.link[1]]) for p in pairs if p.link[0] == 0 and p.fitted}
    stack, planted = solved(pairs), solved([_moved(p) if p.link == BAD and p.fitted else p for p in pairs])
    joint = {k: error_px(s.model, wrong[k]) for k, s in enumerate(stack.scenes) if k and s.model is not None}
    with_bad = {k: error_px(s.model, wrong[k]) for k, s in enumerate(planted.scenes) if k and s.model is not None}
    both = sorted(alone.keys() & joint.keys())
    z = [joint[k] / stack.scenes[k].sigma_px / np.sqrt(2) for k in joint]
    found = [(p.reference, p.target) for p in planted.contradicting()]
    return {
        "trial": seed,
        "alone": f"{len(alone)} of 9",
        "alone px": rms(alone[k] for k in both),
        "joint px": rms(joint[k] for k in both),
        "joint / alone": rms(joint[k] for k in both) / rms(alone[k] for k in both),
        "joint": f"{len(joint)} of 9",
        "all px": rms(joint.values()),
        "worst px": max(joint.values()),
        "z": rms(z),
        "loops px": stack.loops.median_px,
        "bad pair": "found" if BAD in found else "missed",
        "accused too": len(found) - (BAD in found),
        "px with it": rms(with_bad.values()),
    }


def _moved(pair: Any) -> Any:
    points = pair.fitted.points
    points = replace(points, ref_xy=points.ref_xy + WRONG_PX * dates.GSD)
    return replace(pair, fitted=replace(pair.fitted, points=points))


def null(trials: int) -> None:
    """Dates that are aligned already."""
    rows = []
    for seed in range(trials):
        with tempfile.TemporaryDirectory() as folder:
            paths = dates.written(
                Path(folder), dates.grounds(6, 2 * SIDE + 40, seed), np.zeros((6, 2)), SIDE, seed=seed
            )
            for reference in (paths[0], None):
                stack = georeg.align_stack(paths, stack=StackOptions(reference=reference))
                errors = [error_px(scene.model, np.zeros(2)) for scene in stack.scenes if scene.model is not None]
                rows.append({"trial": seed, "datum": stack.datum, "scenes": len(errors), "largest px": max(errors)})
    show("six dates that are aligned already: how far a date is moved, goal 0.02 px", rows)


def adjustment() -> None:
    """50 dates x 500 pairs x 200 tie points, adjusted."""
    rng, n = np.random.default_rng(3), 50
    every = list(combinations(range(n), 2))
    picked = {every[k] for k in rng.choice(len(every), 480, replace=False)}
    pairs = sorted({(0, j) for j in range(1, n)} | picked)[:500]
    frame = Frame(Affine, (500_000.0, 5_000_000.0), 40_000.0)
    of = rng.normal(size=(n, frame.n_terms)) * 20
    ties = []
    for i, j in pairs:
        xy = rng.uniform(-60_000, 60_000, (200, 2)) + np.array(frame.origin_xy)
        ref_xy = (
            xy + frame.rows(xy) @ (of[j] - of[i] + rng.normal(size=frame.n_terms) * 0.5) + rng.normal(size=xy.shape)
        )
        ties.append(Ties(i, j, ref_xy, xy, np.tile(np.eye(2), (200, 1, 1))))
    network = Network(frame, (None, *[Affine] * (n - 1)), np.zeros((n, 6)), np.zeros((n, 6, 6)))
    began = time.process_time()
    evidence = condense(frame, ties)
    condensed = time.process_time() - began
    adjust(network, evidence, 10.0)
    row = {"pairs": len(pairs), "tie points": 200 * len(pairs), "condense CPU s": condensed}
    show("adjustment, goal 5 s", [row | {"all CPU s": time.process_time() - began}])


def real() -> None:
    """Ten aerial dates onto the first, against measured truth; then the tenth added to nine."""
    folder = data_folder() / "naip-series-nd"
    paths = sorted(glob.glob(str(folder / "*.tif")))
    with tempfile.TemporaryDirectory() as kept:
        pairs = os.path.join(kept, "pairs.jsonl")
        whole = georeg.align_stack(paths, stack=StackOptions(reference=paths[0], pairs=pairs))
        nine = georeg.align_stack(paths[:-1], stack=StackOptions(reference=paths[0], pairs=pairs))
        earlier = Path(kept, "stack.json")
        earlier.write_text(nine.to_json())
        added = georeg.align_stack(paths[-1:], stack=StackOptions(append=str(earlier), pairs=pairs))
    rows = []
    for scene in whole.corrected:
        told = json.loads((folder.parent / "truth" / f"naip_{scene.name[-12:-4]}.json").read_text())
        at = np.array(told["correction_median"])
        known = 1.25 * np.array(told["correction_std"]) / np.sqrt(told["n"])
        off = (np.array(moved(scene)) - at) / whole.gsd
        rows.append(
            {
                "date": scene.name[-12:-4],
                "model": scene.model.kind,
                "known to px": scene.sigma_px,
                "truth n": told["n"],
                "off E px": off[0],
                "off N px": off[1],
                "truth known to px": float(np.hypot(*known)) / whole.gsd,
                "off / known": float(np.hypot(*(off * whole.gsd / known)) / np.sqrt(2)),
            }
        )
    show("naip-series-nd, ten dates onto 2009, against the median of measured check points", rows)
    print(whole.summary())
    last, alone = added.scenes[-1], next(scene for scene in whole.scenes if scene.path == paths[-1])
    apart = np.subtract(moved(last), moved(alone)) / whole.gsd
    print(f"tenth added to nine: {np.hypot(*apart):.3g} px from the whole run, known to {last.sigma_px:.3g} px")


def size(side: int, n: int) -> None:
    """Many large dates measured and adjusted, no pixel written: the peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _large(Path(folder), side, n)
        began = time.process_time()
        stack = georeg.align_stack(paths, matching=MatchOptions(max_points=200), stack=StackOptions(links=2))
        row = {
            "dates": n,
            "side px": side,
            "pairs": len(stack.pairs),
            "used": sum(pair.state == "used" for pair in stack.pairs),
            "CPU s": time.process_time() - began,
            "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    show("planned, no pixel moved; goal 2000 MB", [row])


def _large(folder: Path, side: int, n: int) -> list[str]:
    """Two images of one texture, and many dates that refer to their pixels and lie elsewhere by their georeferencing."""
    rng = np.random.default_rng(0)
    images = [str(folder / f"image{k}.tif") for k in (0, 1)]
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint16", "crs": dates.CRS}
    tiled = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    transform = Transform(dates.GSD, 0, dates.ORIGIN[0], 0, -dates.GSD, dates.ORIGIN[1])
    with (
        rasterio.open(images[0], "w", transform=transform, **profile, **tiled) as one,
        rasterio.open(images[1], "w", transform=transform, **profile, **tiled) as other,
    ):
        for top in range(0, side, 512):
            for left in range(0, side, 512):
                shape = (min(512, side - top), min(512, side - left))
                coarse = rng.normal(size=(shape[0] // 3 + 2, shape[1] // 3 + 2))
                texture = np.kron(coarse, np.ones((3, 3)))[: shape[0], : shape[1]] * 400 + 3000
                window = rasterio.windows.Window(left, top, shape[1], shape[0])
                for file in (one, other):
                    noisy = texture + rng.normal(size=shape) * 60
                    file.write(noisy.astype(np.uint16), 1, window=window)
    paths = []
    for k in range(n):
        path = folder / f"date_{2015 + k // 12}{k % 12 + 1:02d}15.vrt"
        east, north = rng.uniform(-50, 50, 2)
        path.write_text(
            f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>{dates.CRS}</SRS>'
            f"<GeoTransform>{dates.ORIGIN[0] + east}, 10, 0, {dates.ORIGIN[1] + north}, 0, -10</GeoTransform>"
            f'<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename relativeToVRT="1">'
            f"{Path(images[k % 2]).name}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
        )
        paths.append(str(path))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--section", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--side", type=int, default=10980, help="of the dates of section size, px (default 10980)")
    parser.add_argument("--dates", type=int, default=50, help="of section size (default 50)")
    arguments = parser.parse_args()
    work = {
        "truth": lambda: truth(arguments.trials),
        "null": lambda: null(arguments.trials),
        "adjustment": adjustment,
        "real": real,
        "size": lambda: size(arguments.side, arguments.dates),
    }
    for section in arguments.section:
        work[section]()


if __name__ == "__main__":
    main()
