"""Speed, memory and scaling of whole jobs, beside what they cannot do without and beside others: one command, all tables.

`python benchmarks/whole.py --help`
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

from jobs import Bench, Table, bar, n_processors, needed
from rich.console import Console
from whole_floors import floors, stages
from whole_growth import batch, growth, startup, threads
from whole_peers import peers

SECTIONS: dict[str, Callable[[Bench], list[Table]]] = {
    "floors": floors,
    "stages": stages,
    "threads": threads,
    "peers": peers,
    "batch": batch,
    "growth": growth,
    "startup": startup,
}
VERSIONS = (
    "import sys, cv2, georeg, numpy, rasterio, georeg.resampling as r; "
    "print(f'georeg {georeg.__version__}, Python {sys.version.split()[0]}, NumPy {numpy.__version__}, OpenCV {cv2.__version__}, "
    "rasterio {rasterio.__version__} (GDAL {rasterio.__gdal_version__}), kernels ' "
    "+ ('compiled' if r._library else 'by NumPy'))"
)


def main() -> None:
    arguments = parsed()
    if not hasattr(os, "wait4"):
        raise SystemExit("whole.py needs a POSIX system, which tells what a process took")
    console = Console(width=150, highlight=False, soft_wrap=False)
    console.print(f"{needed([sys.executable, '-c', VERSIONS]).says.strip()}; {n_processors()} processors\n")
    folder = nullcontext(arguments.folder) if arguments.folder else tempfile.TemporaryDirectory(prefix="georeg-")
    with folder as place, bar() as progress:
        bench = replace(bench_of(arguments), folder=Path(place).absolute(), progress=progress)
        bench.folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.section:
            tables = SECTIONS[name](bench)
            for table in tables:
                table.show(console)
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                (arguments.out / f"{name}.json").write_text(json.dumps([asdict(table) for table in tables], indent=1))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--section", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="small scenes and few rounds: about two minutes")
    parser.add_argument("--rounds", type=int, default=3, help="in each of which everything has its turn")
    parser.add_argument("--side", type=int, metavar="PX", help="of the scenes of floors, stages, threads and peers")
    parser.add_argument(
        "--points", type=int, metavar="N", help="of each of the peers; by default 400, as AROSICS takes a minute"
    )
    parser.add_argument("--scenes", type=int, default=20, metavar="N", help="of batch")
    parser.add_argument("--arosics-python", type=Path, metavar="PATH", help="an interpreter that has AROSICS")
    parser.add_argument("--karios-python", type=Path, metavar="PATH", help="an interpreter that has KARIOS")
    parser.add_argument("--folder", type=Path, help="where scenes are made, and kept for the next time")
    parser.add_argument("--out", type=Path, help="folder for the tables as JSON")
    return parser.parse_args()


def bench_of(arguments: argparse.Namespace) -> Bench:
    given = {"AROSICS": arguments.arosics_python, "KARIOS": arguments.karios_python}
    return Bench(
        Path(),
        quick=arguments.quick,
        side_px=arguments.side,
        n_points=arguments.points,
        rounds=min(arguments.rounds, 1) if arguments.quick else arguments.rounds,
        n_scenes=min(arguments.scenes, 3) if arguments.quick else arguments.scenes,
        interpreters={name: path for name, path in given.items() if path},
    )


if __name__ == "__main__":
    main()
