"""Work may be done anywhere: by processes, by Dask, by workers that die. The result is the same bytes, or an error of ours."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from distributed import Client, LocalCluster
from pyproj import CRS
from scipy import ndimage
from serving import served

import georeg
from georeg import cluster, errors, execution, reader, tasks
from georeg.cli import main
from georeg.errors import ExecutionError, InputError
from georeg.execution import LEAST_IN_FLIGHT, run_ordered, workers
from georeg.interchange import points_to_dict
from georeg.lazily import Lazily
from georeg.models import Local
from georeg.options import ExecutionOptions
from georeg.placement import Placement
from georeg.raster import open_raster
from georeg.reader import Reader

pytestmark = pytest.mark.xdist_group("cluster")  # one cluster for all of them

SIDE_PX, GSD = 1100, 10.0
BENT = georeg.FitOptions(model="polynomial2")
FEW = georeg.MatchOptions(window_px=64, max_points=60)
RESAMPLED = georeg.WriteOptions(resample=True)
ALL_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Several blocks of ground, seen twice; the second is 120 m too far west and 70 m too far south."""
    ground = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(SIDE_PX + 20,) * 2), 1.5)
    ground = (2000 + 400 * ground / ground.std()).astype(np.uint16)
    folder, names = tmp_path_factory.mktemp("cluster"), []
    for name, (row, col) in {"reference": (0, 0), "target": (7, 12)}.items():
        names.append(str(folder / f"{name}.tif"))
        where = {"crs": "EPSG:32633", "transform": Affine(GSD, 0, 4e5, 0, -GSD, 5.8e6)}
        layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
        size = {"width": SIDE_PX, "height": SIDE_PX, "count": 1, "dtype": "uint16"}
        with rasterio.open(names[-1], "w", driver="GTiff", **size, **where, **layout) as dataset:
            dataset.write(ground[None, row : row + SIDE_PX, col : col + SIDE_PX])
    return names[0], names[1]


@dataclass(frozen=True)
class Made:
    """All that a run gives."""

    alignment: georeg.Alignment
    files: tuple[bytes, bytes]
    stages: list[tuple[str, int, int]]


def made(pair: tuple[str, str], folder: Path, executor: Executor | None, aligning: Any = (), writing: Any = ()) -> Made:
    """An alignment, resampled, with its uncertainty; ``aligning`` and ``writing`` are called before these stages."""
    stages: list[tuple[str, int, int]] = []
    for call in aligning:
        call()
    alignment = georeg.align(
        *pair, matching=FEW, fitting=BENT, executor=executor, progress=lambda *stage: stages.append(stage)
    )
    for call in writing:
        call()
    out, sigma = folder / "out.tif", folder / "sigma.tif"
    options = georeg.WriteOptions(resample=True, uncertainty=str(sigma))
    georeg.apply(alignment, out, options, executor=executor, progress=lambda *stage: stages.append(stage))
    return Made(alignment, (out.read_bytes(), sigma.read_bytes()), stages)


@pytest.fixture(scope="module")
def by_threads(pair: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(pair, tmp_path_factory.mktemp("threads"), None)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of four worker processes."""
    folder = str(tmp_path_factory.mktemp("dask"))
    local = LocalCluster(
        n_workers=4, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", local_directory=folder
    )
    with local, Client(local) as client:
        yield client


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


def same(one: Made, other: Made) -> bool:
    assert one.alignment.to_json() == other.alignment.to_json()
    assert one.files == other.files
    return True


def test_the_pair_is_placed_where_it_belongs(by_threads: Made) -> None:
    """And that takes several tasks of each kind: else nothing of what follows would say much."""
    assert by_threads.alignment.displacement() == pytest.approx((120, -70), abs=0.2)
    assert {stage for stage, _, _ in by_threads.stages} >= {"match", "write", "uncertainty"}
    assert all(total > 8 for stage, _, total in by_threads.stages if stage in ("write", "uncertainty"))


def test_a_cluster_changes_no_byte(
    client: Client, pair: tuple[str, str], by_threads: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does where the run was started: the workers find files that are named from there. Progress is told as ever."""
    monkeypatch.chdir(Path(pair[0]).parent)
    done = made(("reference.tif", "target.tif"), tmp_path, client.get_executor())
    assert same(done, by_threads)
    assert done.stages == by_threads.stages


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="workers are stopped as POSIX does")
def test_workers_killed_at_their_tasks_change_no_byte(
    client: Client, pair: tuple[str, str], by_threads: Made, tmp_path: Path
) -> None:
    """One is stopped before each stage, so that it cannot finish what it is given, and killed when it has been given tasks."""
    lost: list[int] = []
    killers: list[threading.Thread] = []

    def kill_later() -> None:
        address, pid = next(iter(client.run(os.getpid).items()))
        os.kill(pid, signal.SIGSTOP)
        killers.append(threading.Thread(target=kill, args=(address, pid)))
        killers[-1].start()

    def kill(address: str, pid: int) -> None:
        deadline = time.monotonic() + 10
        while not (given := client.processing()[address]) and time.monotonic() < deadline:
            time.sleep(0.02)
        lost.append(len(given))
        os.kill(pid, signal.SIGKILL)

    assert same(made(pair, tmp_path, client.get_executor(), [kill_later], [kill_later]), by_threads)
    for killer in killers:
        killer.join()
    assert len(lost) == 2
    assert min(lost) > 0


def test_processes_change_no_byte(
    processes: ProcessPoolExecutor, pair: tuple[str, str], by_threads: Made, tmp_path: Path
) -> None:
    assert same(made(pair, tmp_path, processes), by_threads)
    assert processes.submit(abs, -1).result() == 1, "it is not ours to shut down"


def test_threads_of_somebody_else_change_no_byte(pair: tuple[str, str], by_threads: Made, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        assert same(made(pair, tmp_path, threads), by_threads)
        assert threads.submit(abs, -1).result() == 1


def test_the_other_ways_to_write_take_an_executor(
    processes: ProcessPoolExecutor, pair: tuple[str, str], by_threads: Made, tmp_path: Path
) -> None:
    by_threads.alignment.write(tmp_path / "one.tif", RESAMPLED, executor=processes)
    georeg.apply_all(by_threads.alignment, tmp_path / "many", [pair[1]], RESAMPLED, executor=processes)
    one, many = (tmp_path / "one.tif").read_bytes(), (tmp_path / "many" / "target.tif").read_bytes()
    assert one == many == by_threads.files[0]


def test_the_command_line_starts_its_own_workers(pair: tuple[str, str], by_threads: Made, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    options = ["--window-px", "64", "--max-points", "60", "--model", "polynomial2", "--resample", "--dask-local", "2"]
    command = [sys.executable, "-m", "georeg.cli", "align", *pair, "-o", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == by_threads.files[0]
    assert re.fullmatch(r"(georeg: \w+ \d+/\d+\n)+", done.stderr), done.stderr


def test_the_command_line_finds_a_scheduler(
    client: Client, pair: tuple[str, str], by_threads: Made, tmp_path: Path
) -> None:
    points = tmp_path / "points.json"
    options = ["--window-px", "64", "--max-points", "60", "--quiet", "--dask-scheduler", client.scheduler.address]
    assert main(["match", *pair, "-o", str(points), *options]) == 0
    assert json.loads(points.read_text()) == json.loads(json.dumps(points_to_dict(by_threads.alignment.points)))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--dask-scheduler", "tcp://127.0.0.1:1"], r"no Dask scheduler answers at tcp://127.0.0.1:1 \(.+\); start it"),
        (["--dask-scheduler", "here"], "here is not the address of a Dask scheduler; give --dask-scheduler tcp://"),
        (["--dask-scheduler", "tcp://127.0.0.1:1", "--dask-local", "2"], "exclude each other; give one"),
        (["--dask-local", "0"], "--dask-local is 0; give at least 1"),
    ],
)
def test_what_is_no_cluster_is_said(
    given: list[str],
    sentence: str,
    pair: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE_S", 0.3)
    assert main(["match", *pair, "-o", str(tmp_path / "points.json"), *given]) == 1
    assert re.fullmatch(rf"georeg: [^\n]*{sentence}[^\n]*\n", capsys.readouterr().err)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "distributed", Lazily("a_module_that_nobody_has"))
    with (
        pytest.raises(InputError, match=r'run pip install "georeg\[dask\]"'),
        cluster.cluster(ExecutionOptions(dask_local=2)),
    ):
        pass
    with cluster.cluster(ExecutionOptions()) as executor:
        assert executor is None


def test_threads_are_not_asked_for_where_others_work(pair: tuple[str, str]) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(InputError, match="--threads is 2, but the work is done"):
        georeg.match(*pair, matching=georeg.MatchOptions(threads=2), executor=threads)


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_errors_come_back_from_another_process(kind: type[Exception]) -> None:
    back = pickle.loads(pickle.dumps(kind("a sentence")))
    assert type(back) is kind
    assert str(back) == "a sentence"
    assert getattr(back, "exit_code", None) == getattr(kind, "exit_code", None)


def test_a_worker_s_error_is_the_same_as_ours(
    client: Client, pair: tuple[str, str], by_threads: Made, tmp_path: Path
) -> None:
    """A file whose end is missing is told of alike, leaves no output, and the next run finds the workers as they were."""
    cut = tmp_path / "cut.tif"
    content = Path(pair[1]).read_bytes()
    cut.write_bytes(content)
    alignment = by_threads.alignment
    cut.write_bytes(content[: len(content) // 2])
    told = set()
    for executor in (None, client.get_executor()):
        with pytest.raises(InputError, match="the file may be truncated") as raised:
            georeg.apply(alignment, tmp_path / "out.tif", RESAMPLED, target=cut, executor=executor)
        told.add(re.sub(r"\d+", "N", str(raised.value)))
        assert os.listdir(tmp_path) == ["cut.tif"]
    assert len(told) == 1
    assert client.get_executor().submit(abs, -1).result() == 1


def test_a_broken_pool_is_an_error_of_ours() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(
            ExecutionError, match=r"the workers gave up \(BrokenProcessPool: [^\n]+; the output was not written: look"
        ),
        workers(executor=pool) as lent,
    ):
        list(run_ordered(os._exit, [1, 2], lent))


def test_what_kills_every_worker_is_an_error_of_ours(client: Client) -> None:
    """Dask tries a task on four workers, then gives up."""
    with (
        pytest.raises(
            ExecutionError, match=r"the workers gave up \(KilledWorker: [^\n]+; the output was not written: look"
        ),
        workers(executor=client.get_executor()) as lent,
    ):
        list(run_ordered(os._exit, [1], lent))
    client.wait_for_workers(2, timeout=120)  # a nanny may give up on one of them where the machine is busy


def test_workers_without_georeg_are_told_of(client: Client, pair: tuple[str, str]) -> None:
    """And nobody waits for them for ever."""
    client.run(exec, 'import sys; sys.modules["georeg.tasks"] = None')
    try:
        with pytest.raises(ExecutionError, match=r"a worker cannot import georeg \([^\n]+\); install georeg \d"):
            georeg.match(*pair, executor=client.get_executor())
    finally:
        client.run(exec, 'import sys; del sys.modules["georeg.tasks"]')


class Slow(Executor):
    """Does a task when its result is asked for, and counts those that wait."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.most = 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        self.most = max(self.most, sum(not f.done() for f in self.futures))
        if len(self.futures) >= LEAST_IN_FLIGHT:
            first = next(f for f in self.futures if not f.done())
            try:
                first.set_result(function(*args))
            except ZeroDivisionError as exc:
                first.set_exception(exc)
        return future


def test_few_tasks_wait_and_an_error_cancels_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "available_threads", lambda: 2)
    slow, asked = Slow(), []

    def endless() -> Iterator[float]:
        for k in range(1000):
            asked.append(k)
            yield 0.0 if k == 40 else 1.0

    with pytest.raises(ZeroDivisionError), workers(executor=slow) as lent:
        list(run_ordered(partial(divmod, 1.0), endless(), lent))
    assert slow.most <= LEAST_IN_FLIGHT
    assert len(asked) < 60
    assert sum(future.cancelled() for future in slow.futures) == LEAST_IN_FLIGHT - 1


def test_a_file_is_opened_once_for_all_tasks_and_closed_after(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again for the next run, as it may have changed."""
    opened: list[str] = []

    def count(path: str, **options: Any) -> Any:
        opened.append(path)
        return rasterio.open(path, sharing=False, **options)

    while tasks._WATCH:
        tasks._WATCH.pop().cancel()
    monkeypatch.setattr(tasks, "IDLE_S", 0.2)
    monkeypatch.setattr(reader, "dataset_of", count)
    for n_runs in (1, 2):
        parcels = tasks.Parcels()
        with Reader(open_raster(pair[0])) as ours:
            for row in (0, 600, 1200):
                task = parcels.packed((ours, row))
                assert len(task) < 5000
                done = tasks.run_task(georeg.__version__, parcels.run, parcels.packed_once(_first_pixel), task)
                assert done.value == ours.read((row, 0), (1, 1), [1])[0].item()
        assert opened.count(pair[0]) == 2 * n_runs, "once by the tasks, once by this test"
        assert parcels.run in tasks._RUNS
    deadline = time.monotonic() + 10
    while tasks._RUNS and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not tasks._RUNS


def _first_pixel(task: tuple[Reader, int]) -> float:
    raster, row = task
    return float(raster.read((row, 0), (1, 1), [1])[0].item())


def test_the_libraries_of_a_worker_take_one_thread_for_a_task() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        parcels = tasks.Parcels()
        done = tasks.run_task(georeg.__version__, parcels.run, parcels.packed(_n_threads), parcels.packed(0))
        assert done.value == 1
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def _n_threads(_task: int) -> int:
    return cv2.getNumThreads()


def test_a_worker_that_sees_another_file_or_is_of_another_version_is_refused(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    path, parcels = tmp_path / "a.tif", tasks.Parcels()
    path.write_bytes(Path(pair[0]).read_bytes())
    with Reader(open_raster(path)) as ours:
        sent = parcels.packed_once(_first_pixel), parcels.packed((ours, 0))
    with pytest.raises(ExecutionError, match=r"a worker has georeg .+, and this is 0\.0\.0; install the same version"):
        tasks.run_task("0.0.0", parcels.run, *sent)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ExecutionError, match=r"a\.tif has \d+ bytes, and a worker finds \d+ bytes there; all workers"):
        tasks.run_task(georeg.__version__, parcels.run, *sent)
    path.unlink()
    with pytest.raises(ExecutionError, match=r"a\.tif has \d+ bytes, and a worker does not see it; all workers"):
        tasks.run_task(georeg.__version__, parcels.run, *sent)


def test_a_model_travels_without_what_it_computed(pair: tuple[str, str]) -> None:
    """What a smooth field of many points knows of its certainty fills megabytes; it arrives as it was."""
    xy = np.random.default_rng(0).uniform(0, 1e5, (800, 2))
    model = Local.fit(xy, xy + 10 * np.sin(xy / 2e4), np.full(800, 100.0))
    assert len(pickle.dumps(model)) > 2**20
    place, parcels = Placement(open_raster(pair[0]), CRS.from_epsg(32633), model), tasks.Parcels()
    task = parcels.packed(place)
    assert len(task) < 2**18
    done = tasks.run_task(georeg.__version__, parcels.run, parcels.packed(_itself), task)
    assert done.value == place


def _itself(task: Any) -> Any:
    return task


def test_what_workers_read_over_the_network_is_counted(
    processes: ProcessPoolExecutor, pair: tuple[str, str], by_threads: Made, tmp_path: Path
) -> None:
    """Of the whole target at least what a resampling of all of it takes."""
    with served(Path(pair[1]).parent) as server, georeg.metered() as traffic:
        target = server.url("target.tif")
        georeg.apply(by_threads.alignment, tmp_path / "out.tif", RESAMPLED, target=target, executor=processes)
    whole = os.path.getsize(pair[1])
    assert traffic.total_bytes == whole
    assert whole / 2 < traffic.n_bytes < 4 * whole
