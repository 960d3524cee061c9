"""One georeg command, and the CPU time of its stages: `python benchmarks/stages.py OUT.json align REFERENCE TARGET ...`

The functions of each stage are wrapped with the clock of the thread that they run in; what one wrapped function spends in
another is the other's. Compression runs on threads of GDAL's own: encoding is what else the process does while it writes.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

READ, COARSE, PREPARE, WARP, WRITE = "read, decode", "coarse", "match: prepare", "warp", "encode, write"
STAGES: dict[str, tuple[str, ...]] = {
    READ: ("georeg.reader:Reader.read",),
    COARSE: ("georeg.prior:find_prior",),
    PREPARE: ("georeg.blocks:match_block",),
    "match: start": (
        "georeg.matching.windows:match_windows",
        "georeg.matching.windows:locate",
        "georeg.matching.phase:correlate_windows",
        "georeg.matching.phase:control_significance",
    ),
    "match: refine": ("georeg.matching.refine:refine", "georeg.matching.channels:refine_structure"),
    "fit, prove": ("georeg.fit:fit", "georeg.align:assess"),
    WARP: ("georeg.warp:sample", "georeg.warp:Sampling.pixels"),
    WRITE: ("georeg.apply:apply",),
}
PHASES = {COARSE: STAGES[COARSE], WRITE: STAGES[WRITE]}
"""While one of these runs, in the main thread, everything but reading is its own, and warping while it writes."""
MODULES = ("georeg.align", "georeg.apply", "georeg.cli", "georeg.verbs")
"""With all that these import, so that every name that refers to a stage is there to be replaced."""


class Clocks:
    """CPU seconds by phase and stage, and of the whole process while it writes."""

    def __init__(self) -> None:
        self.spent_s: dict[tuple[str, str], float] = defaultdict(float)
        self.writing_s = 0.0
        self.phase = ""
        self._lock = threading.Lock()
        self._inner = threading.local()

    def timed(self, function: Callable[..., Any], stage: str, phase: str) -> Callable[..., Any]:
        """The function, whose time without that of other wrapped functions is counted."""

        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            outer, before = getattr(self._inner, "spent_s", 0.0), self.phase
            self._inner.spent_s = 0.0
            self.phase = phase or before
            start, all_start = time.thread_time(), time.process_time()
            try:
                return function(*args, **options)
            finally:
                whole = time.thread_time() - start
                with self._lock:
                    self.spent_s[self.phase, stage] += whole - self._inner.spent_s
                    if phase == WRITE:
                        self.writing_s += time.process_time() - all_start
                self._inner.spent_s = outer + whole
                if phase:
                    self.phase = before

        return wrapped

    def stages(self, started_s: float, total_s: float) -> dict[str, float]:
        """CPU seconds of each stage; they sum to the whole."""
        found = {"start, import": started_s, **dict.fromkeys(STAGES, 0.0)}
        for (phase, stage), spent_s in self.spent_s.items():
            name = WARP if phase == WRITE else PREPARE if stage == WARP else stage
            if phase == COARSE:
                name = COARSE
            if stage == READ:
                name = READ
            if phase != WRITE or stage in (READ, WARP):
                found[name] += spent_s
        inside = sum(self.spent_s[WRITE, stage] for stage in (READ, WARP))
        found[WRITE] = self.writing_s - inside
        return {**found, "rest": total_s - sum(found.values())}


def wrap(clocks: Clocks) -> list[str]:
    """Wrap the functions of all stages wherever they are referred to; names those that this version does not have."""
    missing = []
    for stage, places in STAGES.items():
        for place in places:
            try:
                replace(place, lambda function, s=stage, p=place: clocks.timed(function, s, phase_of(p)))
            except (ImportError, AttributeError):
                missing.append(place)
    return missing


def phase_of(place: str) -> str:
    return next((phase for phase, places in PHASES.items() if place in places), "")


def replace(place: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put another function in the place of one: of a method in its class, of others in every module that has it."""
    module, _, name = place.partition(":")
    owner, _, method = name.rpartition(".")
    if owner:
        kind = getattr(importlib.import_module(module), owner)
        setattr(kind, method, change(getattr(kind, method)))
        return
    old = getattr(importlib.import_module(module), name)
    new = change(old)
    for each in [each for key, each in sys.modules.items() if key.partition(".")[0] == "georeg"]:
        for key in [key for key, value in vars(each).items() if value is old]:
            setattr(each, key, new)


def main() -> None:
    out, arguments = Path(sys.argv[1]), sys.argv[2:]
    for name in MODULES:
        importlib.import_module(name)
    started_s, clocks = time.process_time(), Clocks()
    missing = wrap(clocks)
    code = importlib.import_module("georeg.cli").main(arguments)
    cpu_s = clocks.stages(started_s, time.process_time())
    out.write_text(json.dumps({"cpu_s": cpu_s, "missing": missing}, indent=1))
    sys.exit(code)


if __name__ == "__main__":
    main()
