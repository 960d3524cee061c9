"""Commands measured as processes of their own, in turns, on scenes with a known displacement, and the tables of them.

What imports this must stay small: the peak of memory of a child is never less than what its parent holds as it starts it.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

HERE = Path(__file__).parent
Command = Sequence[object]


@dataclass(frozen=True)
class Run:
    """What a command took, with the processes that it started and waited for."""

    wall_s: float
    cpu_s: float
    """User and system."""
    peak_mb: float
    """Of the largest process, not their sum."""
    says: str
    """Its standard output."""
    complaint: str = ""
    """Its last line on standard error, where it failed."""

    def json(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.says)
        return values


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the least and the most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        middle = number(self.median)
        return middle if self.low == self.high else f"{middle} ({number(self.low)}-{number(self.high)})"


@dataclass(frozen=True)
class Table:
    """Rows of numbers, `Spread`s and words."""

    title: str
    heads: tuple[str, ...]
    rows: list[list[Any]]
    notes: tuple[str, ...] = ()

    def show(self, console: Console) -> None:
        console.print(self.title, style="bold")
        table = RichTable(box=None, pad_edge=False, header_style="")
        for k, head in enumerate(self.heads):
            table.add_column(head, justify="left" if k == 0 else "right")
        for row in self.rows:
            table.add_row(*map(told, row))
        if self.rows:
            console.print(table)
        for note in self.notes:
            console.print(note)
        console.print()


def told(value: Any) -> str:
    """A cell."""
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Three digits that count, and no exponent.

    >>> number(0.01234), number(1234.6), number(12.0)
    ('0.0123', '1235', '12.0')
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


@dataclass(frozen=True)
class Scene:
    """A reference, targets that are displaced by the same amount, and by how much."""

    reference: str
    targets: tuple[str, ...]
    displacement: tuple[float, float]
    """Reference - target (east, north), map units."""
    gsd: float
    side_px: int
    ground: str

    @property
    def pair(self) -> tuple[str, str]:
        return self.reference, self.targets[0]

    def beside(self, name: str) -> Path:
        """A path in the folder of the scene."""
        return Path(self.reference).parent / name

    def error_px(self, displacement: Sequence[float]) -> float:
        """How far a displacement found (east, north), map units, is from the truth."""
        return math.dist(displacement, self.displacement) / self.gsd


@dataclass(frozen=True)
class Bench:
    """How to measure: sizes, rounds, where scenes are kept, and who is told of progress."""

    folder: Path
    quick: bool = False
    side_px: int | None = None
    n_points: int | None = None
    """Tie points of each peer; None: as many as suit the size."""
    rounds: int = 2
    n_scenes: int = 20
    interpreters: Mapping[str, Path] = field(default_factory=dict)
    """Of peers that are not installed beside georeg, by their name."""
    progress: Progress | None = None

    def size(self, full: Any, quick: Any) -> Any:
        return quick if self.quick else full

    def scene(self, side_px: int, *, targets: int = 1, bands: int = 1, exact: bool = False) -> Scene:
        """Made once by `scene.py`, and taken again where it is there."""
        folder = self.folder / f"{side_px}px-{targets}-{bands}-{'exact' if exact else 'dates'}"
        told_of = folder / "scene.json"
        if not told_of.exists():
            options = ["--side", side_px, "--targets", targets, "--bands", bands, *(["--exact"] if exact else [])]
            made = needed([sys.executable, HERE / "scene.py", folder, *options])
            told_of.write_text(made.says)
        values = json.loads(told_of.read_text())
        return Scene(**{**values, "targets": tuple(values["targets"]), "displacement": tuple(values["displacement"])})

    def main_scene(self) -> Scene:
        """As large as a Sentinel-2 tile, of two dates; a quick one is small and exact."""
        return self.scene(self.side_px or self.size(10980, 800), exact=self.quick)

    @contextmanager
    def steps(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar on standard error; what it yields is called after each step."""
        if self.progress is None:
            yield lambda: None
            return
        task = self.progress.add_task(title, total=total)
        yield lambda: self.progress.advance(task)  # type: ignore[union-attr]
        self.progress.remove_task(task)

    def in_turns(
        self, title: str, jobs: Mapping[str, Callable[[], Run]], rounds: int | None = None
    ) -> dict[str, list[Run]]:
        """Each job once a round, in an order that is drawn anew; the runs of a place in these lists are of one round."""
        rounds, rng = rounds or self.rounds, random.Random(0)
        runs: dict[str, list[Run]] = {name: [] for name in jobs}
        with self.steps(title, rounds * len(jobs)) as step:
            for _ in range(rounds):
                for name in rng.sample(list(jobs), len(jobs)):
                    runs[name].append(jobs[name]())
                    step()
        return runs


def bar() -> Progress:
    """On standard error, and gone when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def run(command: Command, *, cpus: int | None = None) -> Run:
    """A command, on the first ``cpus`` processors that are allowed, by default on all of them."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, processors(cpus):
        start = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=err)
        _, status, took = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        lines = [line for line in err.read().splitlines() if line.strip()]
        complaint = "" if process.returncode == 0 else (lines or [f"ended with {process.returncode}"])[-1]
        # Linux counts kilobytes, macOS bytes
        peak_mb = took.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
        return Run(wall_s, took.ru_utime + took.ru_stime, peak_mb, out.read(), complaint)


@contextmanager
def processors(n: int | None) -> Iterator[None]:
    """What is started meanwhile runs on so many processors only."""
    if n is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:n])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def n_processors() -> int:
    """How many processors runs can be held to, 1 where the system cannot hold them to any."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def needed(command: Command) -> Run:
    """A command without which there is nothing to measure."""
    done = run(command)
    if done.complaint:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.complaint}")
    return done


def georeg(*arguments: object) -> Command:
    return [sys.executable, "-m", "georeg.cli", *arguments]


def align(scene: Scene, out: Path, *options: object) -> Command:
    """The whole job: match, fit, prove, resample and write."""
    return georeg("align", *scene.pair, "-o", out, "--resample", "--overwrite", "--quiet", "--json", *options)


def knows(*words: str) -> bool:
    """Whether the help of georeg, or of its first argument that is a verb, has the last word: what is to come may be absent."""
    return f"{words[-1]} " in run(georeg(*words[:-1], "--help")).says.replace("\n", " ")


PRESETS: dict[str, tuple[str, ...]] = {"default": (), "fast": ("--preset", "fast")}


def presets() -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Those that there are, and what is to be said of the others."""
    if knows("align", "--preset"):
        return PRESETS, ()
    return {"default": ()}, ("georeg align has no --preset here: its fast one is left out",)


def failure(runs: Sequence[Run]) -> str:
    """What the first run that failed said, or nothing."""
    return next((done.complaint for done in runs if done.complaint), "")


def usual(runs: Sequence[Run]) -> tuple[Spread, Spread, float]:
    """CPU s, wall s and the highest peak, MB."""
    return (
        Spread.of([done.cpu_s for done in runs]),
        Spread.of([done.wall_s for done in runs]),
        max(done.peak_mb for done in runs),
    )


def found_error_px(scene: Scene, runs: Sequence[Run]) -> float:
    """The worst error of the displacements that runs with --json print."""
    return max(scene.error_px(done.json()["displacement"]) for done in runs)
