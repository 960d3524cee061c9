"""CPU time of a tie point, ours and the peers', measured in turns in one process: `python benchmarks/speed.py --help`."""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import optics
import peers
from numpy.typing import NDArray
from peers import OURS
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
WINDOWS_PX = (32, 64, 128, 256)
STAGES: dict[str, Callable[[optics.Case], object]] = {
    "images prepared": peers.prepared,
    "start": peers.ours_start,
    "refined": peers.ours,
}
"""Ours in its parts, each with all that comes before it."""


def lattice(window_px: int, side_n: int) -> optics.Case:
    """``side_n``² windows, which may share pixels, on one pair of images."""
    case = optics.make_case(optics.scene_names()[0], optics.CONDITIONS[0], 64, (0.3, -0.4), seed=1)
    if case is None:
        raise SystemExit("the first scene has no red band")
    first = window_px // 2 + 16
    line = np.linspace(first, len(case.ref) - first, side_n).astype(int)
    centre_px = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return replace(case, centre_px=centre_px, window_px=window_px, bound_px=np.full((len(centre_px), 2, 2), np.nan))


def rounds(work: dict[str, Callable[[optics.Case], object]], case: optics.Case, n: int) -> dict[str, Floats]:
    """CPU ms a window of each, ``n`` rounds in which each has its turn, in an order that is drawn anew."""
    rng = np.random.default_rng(0)
    names = list(work)
    for name in names:  # whatever is built at first use
        work[name](replace(case, centre_px=case.centre_px[:2], bound_px=case.bound_px[:2]))
    spent: dict[str, list[float]] = defaultdict(list)
    for _ in range(n):
        for k in rng.permutation(len(names)):
            start = time.process_time()
            work[names[k]](case)
            spent[names[k]].append(1e3 * (time.process_time() - start) / len(case.centre_px))
    return {name: np.array(spent[name]) for name in names}


def spread(values: Floats) -> str:
    low, middle, high = np.percentile(values, [10, 50, 90])
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def report(found: dict[int, dict[str, Floats]], stages: dict[int, dict[str, Floats]]) -> None:
    sizes, names = list(found), list(next(iter(found.values())))
    body = [[name, *(f"{np.median(found[w][name]):.3f}" for w in sizes), growth(found, name)] for name in names]
    show("CPU ms per window, median of rounds", sizes, body, "growth")
    body = [[name, *(spread(found[w][name] / found[w][OURS]) for w in sizes)] for name in names if name != OURS]
    show(f"times the CPU of `{OURS}` in the same round: median (10-90 %)", sizes, body)
    body = [[name, *(spread(stages[w][name]) for w in sizes), growth(stages, name)] for name in STAGES]
    show(f"`{OURS}` in stages, CPU ms per window: median (10-90 %)", sizes, body, "growth")
    print("growth: p in time ~ window side ** p, from the two largest windows; 2 is in proportion to pixels")


def growth(found: dict[int, dict[str, Floats]], name: str) -> str:
    if len(found) < 2:
        return "-"
    small, large = list(found)[-2:]
    return f"{np.log(np.median(found[large][name]) / np.median(found[small][name])) / np.log(large / small):.2f}"


def show(title: str, sizes: list[int], body: list[list[str]], *more: str) -> None:
    print(title)
    table = Table(box=None, pad_edge=False, header_style="")
    for k, name in enumerate(["method", *(f"{w} px" for w in sizes), *more]):
        table.add_column(name, justify="left" if k == 0 else "right", no_wrap=True)
    for row in body:
        table.add_row(*row)
    Console(width=140, highlight=False).print(table, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=int, nargs="+", default=list(WINDOWS_PX), help="sides in pixels, rising")
    parser.add_argument("--quick", action="store_true", help="fewer windows and rounds")
    parser.add_argument("--out", type=Path, help="folder for the numbers as JSON")
    args = parser.parse_args()
    side_n, n = (5, 3) if args.quick else (9, 9)
    found, stages = {}, {}
    cv2.setNumThreads(1)
    with threadpool_limits(1), Progress(console=Console(stderr=True), transient=True) as progress:
        for window_px in progress.track(args.window, description="speed"):
            case = lattice(window_px, side_n)
            found[window_px] = rounds(peers.METHODS, case, n)
            stages[window_px] = rounds(STAGES, case, n)
    report(found, stages)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        numbers = {
            f"{w} px": {name: ms.tolist() for name, ms in {**found[w], **stages[w]}.items()} for w in args.window
        }
        (args.out / "speed.json").write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
