"""Whether a run that is killed, or whose disk fills, at any moment leaves the old file or the new one, and nothing else."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import georeg
from georeg.files import write_bytes

try:
    import resource
except ImportError as exc:
    raise SystemExit("this benchmark needs the limits and signals of a POSIX system") from exc

SAMPLES = Path(__file__).resolve().parents[1] / "sample_tiles"
SIDE_PX = 3000
OLD = b"the old file"
WAYS = {
    "header": (),
    "resampled": ("--resample",),
    "uncertainty": ("--uncertainty", "sigma.tif"),
    "both": ("--resample", "--uncertainty", "sigma.tif"),
}
"""Options of `georeg apply`."""
ENDS = ("killed", "disk full")


@dataclass(frozen=True)
class Whole:
    """What a run does that nothing ends."""

    files: dict[str, bytes]
    """Content of each output, by its name."""
    seconds: float


def prepare(folder: Path) -> Path:
    """A result of the sample pair, of rasters that the sample tiles are repeated in."""
    names = ("shift_reference.tif", "shift_target.tif")
    alignment = georeg.align(*(SAMPLES / name for name in names))
    text = alignment.to_json()
    for name in names:
        with rasterio.open(SAMPLES / name) as dataset:
            profile, tile = dataset.profile, dataset.read()
        repeats = [1, *(-(-SIDE_PX // n) for n in tile.shape[1:])]
        pixels = np.tile(tile, repeats)[:, :SIDE_PX, :SIDE_PX]
        profile.update(width=SIDE_PX, height=SIDE_PX)
        with rasterio.open(folder / name, "w", **profile) as dataset:
            dataset.write(pixels)
        text = text.replace(json.dumps(str(SAMPLES / name)), json.dumps(str(folder / name)))
    path = folder / "result.json"
    path.write_text(text)
    return path


def started(result: Path, folder: Path, way: str, limit: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "georeg.cli", "apply", "--quiet", str(result), "-o", "out.tif", "--overwrite"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, *WAYS[way]], cwd=folder, preexec_fn=limit, **quiet)


def undisturbed(result: Path, folder: Path, way: str) -> Whole:
    start = time.perf_counter()
    if started(result, folder, way).wait() != 0:
        raise SystemExit(f"georeg apply {' '.join(WAYS[way])} fails by itself")
    seconds = time.perf_counter() - start
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in files:
        (folder / name).unlink()
    return Whole(files, seconds)


def disturbed(result: Path, folder: Path, way: str, end: str, whole: Whole, rng: np.random.Generator) -> None:
    """One run over old files that is ended at a random moment, or at a random size of a file."""
    if end == "killed":
        process = started(result, folder, way)
        time.sleep(rng.uniform(0, whole.seconds))
        process.kill()
    else:
        size = int(rng.uniform(0, 1.05 * max(map(len, whole.files.values()))))
        process = started(result, folder, way, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    process.wait()


def outcome(folder: Path, whole: Whole) -> str:
    found = {}
    for name, new in whole.files.items():
        path = folder / name
        found[name] = {OLD: "old", new: "new"}.get(path.read_bytes() if path.exists() else None, "broken")
    if "broken" in found.values():
        return "broken"
    return found["out.tif"]  # the uncertainty gets its name right after


def temporaries(folder: Path) -> int:
    return sum(".georeg-" in name for name in os.listdir(folder))


def trials(runs: int, seed: int, progress: Callable[[int], None]) -> tuple[Counter[tuple[str, ...]], dict[str, float]]:
    """Counts by (way, end, what), and seconds of an undisturbed run by way."""
    counts: Counter[tuple[str, ...]] = Counter()
    with tempfile.TemporaryDirectory() as made:
        result, folder = prepare(Path(made)), Path(made) / "outputs"
        folder.mkdir()
        wholes = {way: undisturbed(result, folder, way) for way in WAYS}
        for run in range(runs):
            rng = np.random.default_rng((seed, run))
            way, end = list(WAYS)[run % len(WAYS)], "disk full" if rng.random() < 0.25 else "killed"
            for name in wholes[way].files:
                (folder / name).write_bytes(OLD)
            disturbed(result, folder, way, end, wholes[way], rng)
            counts[way, end, "runs"] += 1
            counts[way, end, outcome(folder, wholes[way])] += 1
            counts[way, end, "left"] += temporaries(folder) > 0
            write_bytes(b"", str(folder / "next"))
            counts[way, end, "left after the next"] += temporaries(folder)
            for path in folder.iterdir():
                path.unlink()
            progress(run + 1)
    return counts, {way: whole.seconds for way, whole in wholes.items()}


def report(counts: Counter[tuple[str, ...]], seconds: dict[str, float]) -> None:
    columns = ("runs", "old", "new", "broken", "left", "left after the next")
    table = Table(box=None, pad_edge=False, header_style="")
    for k, name in enumerate(("way", "s", "ended", *columns)):
        table.add_column(name, justify="left" if name in ("way", "ended") else "right", no_wrap=k > 0)
    for way in WAYS:
        for end in ENDS:
            table.add_row(way, f"{seconds[way]:.1f}", end, *(str(counts[way, end, what]) for what in columns))
    totals = [sum(n for (_, _, of), n in counts.items() if of == what) for what in columns]
    table.add_row("all", "", "", *map(str, totals))
    Console(width=120, highlight=False).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and sizes (default 0)")
    args = parser.parse_args()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("interrupted", total=args.runs)
        counts, seconds = trials(args.runs, args.seed, lambda done: bar.update(task, completed=done))
    report(counts, seconds)
    return int(any(n for (_, _, what), n in counts.items() if what in ("broken", "left after the next")))


if __name__ == "__main__":
    sys.exit(main())
