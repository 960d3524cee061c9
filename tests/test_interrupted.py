"""A run may end at any moment, by whatever hand: what it was to write is then there whole, or as it was before, and what
it leaves behind goes with the next run, but never while it lives.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import georeg
from georeg import execution
from georeg.cli import main
from georeg.errors import OutputError
from georeg.files import SIDECARS, replacing, write_bytes

Pair = tuple[str, str]
Capture = pytest.CaptureFixture[str]
posix = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
TILES = 4
"""Sample tiles on a side of the raster that is written."""
BUSY = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10**9)"
"""Minutes in C, deaf to signals, without the lock of the interpreter."""


@pytest.fixture(scope="module")
def result(shift_pair: Pair, shift_alignment: georeg.Alignment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of the sample pair, but of a target with as many pixels more, so that a run lasts."""
    folder = tmp_path_factory.mktemp("result")
    for name, source in zip(("reference.tif", "target.tif"), shift_pair, strict=True):
        with rasterio.open(source) as dataset:
            profile, pixels = dataset.profile, np.tile(dataset.read(), (1, TILES, TILES))
        profile.update(width=pixels.shape[2], height=pixels.shape[1])
        profile.update(compress=None, predictor=1) if name == "target.tif" else None
        with rasterio.open(folder / name, "w", **profile) as dataset:
            dataset.write(pixels)
    text = shift_alignment.to_json()
    for name, source in zip(("reference.tif", "target.tif"), shift_pair, strict=True):
        text = text.replace(source, str(folder / name))
    (folder / "result.json").write_text(text)
    return folder / "result.json"


def command(*arguments: Any, before: str = "") -> list[str]:
    """The command line, in a process that first runs some code of ours."""
    start = f"import sys; sys.argv[0] = 'georeg'; {before}\nfrom georeg.cli import main; sys.exit(main())"
    return [sys.executable, "-c", start, *map(str, arguments)]


def run(*arguments: Any, before: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, before=before), capture_output=True, text=True, timeout=120, check=False, **options
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sentences(text: str) -> list[str]:
    """What is on standard error, without what libtiff says there past every handler."""
    return [line for line in text.splitlines() if not line.startswith(("_tiff", "TIFF"))]


# --- killed ---------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("way", [(), ("--resample",)], ids=["geotransform", "resampled"])
def test_killed_at_any_moment_the_old_file_or_the_new_is_there(
    way: tuple[str, ...], result: Path, tmp_path: Path
) -> None:
    out, old = tmp_path / "out.tif", b"the old file"
    arguments = ("apply", "--quiet", result, "-o", out, "--overwrite", *way)
    start = time.monotonic()
    assert run(*arguments).returncode == 0
    whole_s = time.monotonic() - start
    new, met = out.read_bytes(), 0
    for part in np.linspace(0.35, 1.05, 8):
        out.write_bytes(old)
        with subprocess.Popen(command(*arguments), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            time.sleep(part * whole_s)
            process.kill()
        assert out.read_bytes() in (old, new)
        met += names(tmp_path) != ["out.tif"]
    if met == 0:  # the machine was too fast or too slow for all: once for certain
        run(*arguments, before="import os, georeg.files; georeg.files._sync = lambda path: os.kill(os.getpid(), 9)")
        assert names(tmp_path) != ["out.tif"]
    write_bytes(b"of another run", str(tmp_path / "other"))
    assert names(tmp_path) == ["other", "out.tif"]


@posix
@pytest.mark.parametrize("renamed", range(6))
def test_killed_between_names_the_next_run_puts_right_what_stands_beside_a_file(renamed: int, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    old = {"": b"old", ".aux.xml": b"of old", ".ovr": b"of old too"}
    new = {"": b"new", ".ovr": b"of new", ".msk": b"of new too"}
    for suffix, content in old.items():
        Path(f"{out}{suffix}").write_bytes(content)
    code = f"""
import itertools, os, sys
from georeg.files import replacing
steps, replace = itertools.count(), os.replace
def kill(source, place):
    if next(steps) == {renamed}: os.kill(os.getpid(), 9)
    replace(source, place)
os.replace = kill
with replacing(sys.argv[1]) as temporary:
    for suffix, content in {new!r}.items(): open(temporary + suffix, "wb").write(content)
"""
    died = subprocess.run([sys.executable, "-c", code, str(out)], check=False).returncode
    assert died == (-signal.SIGKILL if renamed < 5 else 0)  # two step aside, one is renamed, two follow
    beside = {suffix: Path(f"{out}{suffix}") for suffix in ("", *SIDECARS)}
    now = {suffix: path.read_bytes() for suffix, path in beside.items() if path.exists()}
    assert now.items() <= (old.items() if now[""] == b"old" else new.items())  # some may lack, none is another's
    write_bytes(b"of another run", str(tmp_path / "other"))
    now = {suffix: path.read_bytes() for suffix, path in beside.items() if path.exists()}
    assert now == (old if now[""] == b"old" else new)
    assert len(names(tmp_path)) == 1 + len(now)


@posix
def test_killed_between_the_names_of_a_set_it_is_put_right(tmp_path: Path) -> None:
    code = """
import os, sys
from georeg.files import replacing_set
folder, kill_at = sys.argv[1], int(sys.argv[2])
steps, replace = iter(range(99)), os.replace
def kill(source, place):
    if next(steps) == kill_at: os.kill(os.getpid(), 9)
    replace(source, place)
os.replace = kill
with replacing_set(os.path.join(folder, "out.shp"), (), overwrite=True) as temporary:
    for suffix in (".shp", ".dbf", ".shx"): open(temporary[:-4] + suffix, "w").write("new")
"""
    outcomes = set()
    for kill_at in range(6):
        for suffix in (".shp", ".dbf", ".shx"):
            (tmp_path / f"out{suffix}").write_text("old")
        subprocess.run([sys.executable, "-c", code, str(tmp_path), str(kill_at)], check=False)
        write_bytes(b"", str(tmp_path / "other"))
        assert names(tmp_path) == ["other", "out.dbf", "out.shp", "out.shx"]
        found = {(tmp_path / f"out{suffix}").read_text() for suffix in (".shp", ".dbf", ".shx")}
        assert len(found) == 1
        outcomes |= found
    assert outcomes == {"old", "new"}


def test_a_file_that_cannot_be_replaced_keeps_what_stands_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace = tmp_path / "out.tif", os.replace
    out.write_text("old")
    Path(f"{out}.ovr").write_text("of old")

    def refuse(source: str, place: str) -> None:
        if place == str(out):  # as Windows does for a file that is open
            raise PermissionError(13, "Permission denied", source)
        replace(source, place)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="permission denied; nothing was left"), replacing(str(out)) as temporary:
        Path(temporary + ".ovr").write_text("of new")
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == {
        "out.tif": "old",
        "out.tif.ovr": "of old",
    }


# --- the living -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def another_run(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of writing ``path``, until it is told to end."""
    code = (
        "import sys; from georeg.files import replacing\n"
        "with replacing(sys.argv[1]) as t: open(t, 'w').write('x'); open(t + '.ovr', 'w'); print(t, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def test_what_a_living_run_writes_is_left_alone(tmp_path: Path) -> None:
    with another_run(tmp_path / "slow.tif") as process:
        before = names(tmp_path)
        write_bytes(b"x", str(tmp_path / "quick.tif"))
        assert names(tmp_path) == sorted([*before, "quick.tif"])
        process.communicate("\n")
    assert names(tmp_path) == ["quick.tif", "slow.tif", "slow.tif.ovr"]


@posix
def test_what_a_dead_run_wrote_goes(tmp_path: Path) -> None:
    with another_run(tmp_path / "slow.tif") as process:
        assert len(names(tmp_path)) == 3
        process.kill()
    assert len(names(tmp_path)) == 3
    write_bytes(b"x", str(tmp_path / "quick.tif"))
    assert names(tmp_path) == ["quick.tif"]


@posix
def test_what_another_machine_wrote_lately_is_left_alone(tmp_path: Path) -> None:
    mark = tmp_path / ".slow.tif.georeg-abcd1234"
    for age_s, left in ((0, True), (2 * 86400, False)):
        mark.write_text('{"host": "another.machine"}\n')
        os.utime(mark, (time.time() - age_s,) * 2)
        write_bytes(b"x", str(tmp_path / "quick.tif"))
        assert mark.exists() == left


def test_names_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    kept = [
        "out.tif.georeg-abcd1234",
        ".out.tif.georeg-abcd",
        ".out.tif.georeg-abcd12345",
        ".georeg-abcd1234",
        ".out.tif",
    ]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / ".a.folder.georeg-abcd1234").mkdir()
    write_bytes(b"x", str(tmp_path / "out"))
    assert names(tmp_path) == sorted([*kept, ".a.folder.georeg-abcd1234", "out"])


def test_many_threads_write_to_one_folder_at_once(tmp_path: Path) -> None:
    def write(k: int) -> None:
        with replacing(str(tmp_path / f"{k % 7}")) as temporary:
            Path(temporary).write_text(str(k))
            time.sleep(0.001)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(200)))
    assert names(tmp_path) == [str(k) for k in range(7)]
    assert all(int(path.read_text()) % 7 == int(path.name) for path in tmp_path.iterdir())


def test_a_temporary_of_a_temporary_is_the_same(tmp_path: Path) -> None:
    with replacing(str(tmp_path / "out")) as outer:
        with replacing(outer) as inner:
            assert inner == outer
            Path(inner).write_text("x")
        assert not (tmp_path / "out").exists()
        write_bytes(b"", str(tmp_path / "other"))
    assert (tmp_path / "out").read_text() == "x"


# --- interrupted ----------------------------------------------------------------------------------------------------

SYNC = f"import georeg.files\ndef busy(path):\n print('here', file=sys.stderr, flush=True)\n {BUSY}\n"
PLACES = {
    "the main thread": f"{SYNC}georeg.files._sync = busy",
    "a worker": (
        "from concurrent.futures import ThreadPoolExecutor\nsubmit = ThreadPoolExecutor.submit\n"
        f"def busy():\n print('here', file=sys.stderr, flush=True)\n {BUSY}\n"
        "ThreadPoolExecutor.submit = lambda pool, *given: submit(pool, busy)"
    ),
}


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("place", PLACES)
def test_an_interrupt_in_a_long_call_of_c_ends_in_a_second(
    place: str, number: signal.Signals, result: Path, tmp_path: Path
) -> None:
    err, code, took_s = interrupt(PLACES[place], number, result, tmp_path / "out.tif", "--resample")
    assert took_s < 2  # 0.7 s on an idle machine
    assert (err, code) == (["georeg: interrupted; nothing was written"], 1)
    assert names(tmp_path) == []


@posix
def test_further_interrupts_change_nothing(result: Path, tmp_path: Path) -> None:
    err, code, _ = interrupt(PLACES["a worker"], signal.SIGINT, result, tmp_path / "out.tif", "--resample", times=20)
    assert (err, code) == (["georeg: interrupted; nothing was written"], 1)
    assert names(tmp_path) == []


@posix
def test_an_interrupt_of_what_is_written_says_so(result: Path, tmp_path: Path) -> None:
    after = f"{SYNC}import georeg.temporaries; georeg.temporaries._sync_folder = busy"
    err, code, _ = interrupt(after, signal.SIGINT, result, tmp_path / "out.tif")
    assert (err, code) == ([f"georeg: interrupted; {tmp_path / 'out.tif'} written before"], 1)
    assert names(tmp_path) == ["out.tif"]


def interrupt(
    before: str, number: signal.Signals, result: Path, out: Path, *way: str, times: int = 1
) -> tuple[list[str], int, float]:
    """The lines on standard error after the signal, the exit code, and the seconds until the end."""
    begin = command("apply", "--quiet", result, "-o", out, *way, before=before)

    def hear() -> None:  # which a shell's background job does not
        for n in (signal.SIGINT, signal.SIGHUP):
            signal.signal(n, signal.SIG_DFL)

    with subprocess.Popen(begin, stderr=subprocess.PIPE, text=True, preexec_fn=hear) as process:
        assert process.stderr is not None
        enough = threading.Timer(60, process.kill)  # else what is wrong would last for minutes
        enough.start()
        assert "here" in process.stderr.readline()
        start = time.monotonic()
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.01)
        err = process.stderr.read()
        code = process.wait()
        enough.cancel()
    return [line for line in err.splitlines() if not re.fullmatch("(here)*", line)], code, time.monotonic() - start


@posix
def test_what_a_job_was_told_to_ignore_it_ignores(result: Path, tmp_path: Path) -> None:
    hangs_up = "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\nimport georeg.files\n"
    hangs_up += "georeg.files._sync = lambda path: os.kill(os.getpid(), signal.SIGHUP)"
    done = run("apply", "--quiet", result, "-o", tmp_path / "out.tif", before=hangs_up)
    assert (done.returncode, done.stderr) == (0, "")


@posix
def test_the_library_handles_no_signal(shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    seen = []

    def look(*_: Any) -> None:
        seen.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])
        assert "georeg-interrupts" not in [thread.name for thread in threading.enumerate()]

    georeg.apply(shift_alignment, tmp_path / "out.tif", progress=look)
    assert seen
    assert all(handlers == before for handlers in seen)


def test_a_thread_that_is_not_the_main_one_may_run_the_command_line(shift_pair: Pair, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["assess", "--quiet", "--threads", "0", *shift_pair]).result() == 1


# --- no room, no source, no memory ----------------------------------------------------------------------------------


def limited(size: int) -> Callable[[], None]:
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@posix
@pytest.mark.parametrize("way", [(), ("--resample",), ("--uncertainty",)], ids=["geotransform", "resampled", "two"])
@pytest.mark.parametrize("size", [0, 20, 100, 10_000, 1_000_000])
def test_a_full_disk_leaves_the_old_file(size: int, way: tuple[str, ...], result: Path, tmp_path: Path) -> None:
    (tmp_path / "out.tif").write_bytes(b"")
    way = (*way, str(tmp_path / "sigma.tif")) if way == ("--uncertainty",) else way
    arguments = ("apply", "--quiet", result, "-o", tmp_path / "out.tif", "--overwrite", *way)
    done = run(*arguments, preexec_fn=limited(size))
    assert (done.returncode, len(sentences(done.stderr))) == (1, 1), done.stderr
    assert "disk" in done.stderr
    assert names(tmp_path) == ["out.tif"]
    assert (tmp_path / "out.tif").read_bytes() == b""


@posix
@pytest.mark.parametrize("way", ["", "--resample"], ids=["geotransform", "resampled"])
@pytest.mark.parametrize("size_k", [4, 100, 1000])
def test_a_disk_that_is_full_leaves_the_old_file(size_k: int, way: str, result: Path, tmp_path: Path) -> None:
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    mount = f"mount -t tmpfs -o size={size_k}k tmpfs {tmp_path}"
    if not shutil.which("unshare") or subprocess.run([*own, mount], capture_output=True, check=False).returncode:
        pytest.skip("this system lends no small file system")
    script = (
        f"{mount}; printf old > {tmp_path}/out.tif; set +e; {sys.executable} -m georeg.cli apply --quiet {result} "
        f"-o {tmp_path}/out.tif --overwrite {way}; echo $?; ls -A {tmp_path}; cat {tmp_path}/out.tif"
    )
    done = subprocess.run([*own, script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["1", "out.tif", "old"]
    assert len(sentences(done.stderr)) == 1, done.stderr
    assert "disk" in done.stderr


@posix
@pytest.mark.parametrize("how", ["os.truncate(path, 1000)", "os.remove(path); open(path, 'w').close()"])
def test_a_source_that_goes_in_mid_run_is_one_sentence(how: str, result: Path, tmp_path: Path) -> None:
    for name in ("reference.tif", "target.tif", "result.json"):
        shutil.copy(result.parent / name, tmp_path)
    own = tmp_path / "result.json"
    own.write_text(own.read_text().replace(str(result.parent), str(tmp_path)))
    before = names(tmp_path)
    spoil = (
        f"import os; path = {str(tmp_path / 'target.tif')!r}\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "submit, calls = ThreadPoolExecutor.submit, iter(range(999))\n"
        "def spoiled(pool, function, *given):\n"
        f"    if next(calls) == 3:\n        for job in list(futures): job.result()\n        {how}\n"
        "    futures.append(submit(pool, function, *given)); return futures[-1]\n"
        "futures = []; ThreadPoolExecutor.submit = spoiled"
    )
    done = run("apply", "--quiet", own, "-o", tmp_path / "out.tif", "--resample", before=spoil)
    if "truncate" in how:
        assert (done.returncode, len(sentences(done.stderr))) == (1, 1), done.stderr
        assert "target.tif cannot be read" in done.stderr
        assert names(tmp_path) == before
    elif done.returncode:  # another thread had to open it anew
        assert len(sentences(done.stderr)) == 1, done.stderr
        assert names(tmp_path) == before
    else:  # what is open stays readable
        assert "out.tif" in names(tmp_path)
    assert not [name for name in names(tmp_path) if "georeg-" in name]


@pytest.mark.parametrize("at", ["worker", "main"])
@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (
            ZeroDivisionError("by zero"),
            r"georeg: internal error: ZeroDivisionError: by zero at \w+\.py:\d+; please report .*",
        ),
        (MemoryError("3 GB"), r"georeg: the memory is full \(3 GB\); lower --threads.*"),
    ],
    ids=["bug", "memory"],
)
def test_what_nobody_foresaw_is_one_sentence_and_nothing_left(
    raised: Exception,
    sentence: str,
    at: str,
    result: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    calls, submit = itertools.count(), ThreadPoolExecutor.submit

    def fail(*_: Any) -> None:
        raise raised

    def failing(pool: Any, function: Any, *given: Any) -> Any:
        return submit(pool, fail if next(calls) == 5 else function, *given)

    if at == "worker":
        monkeypatch.setattr(execution.ThreadPoolExecutor, "submit", failing)
    else:
        monkeypatch.setattr("georeg.files._sync", fail)
    assert main(["apply", "--quiet", str(result), "-o", str(tmp_path / "out.tif"), "--resample"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(sentence, told.err.strip())
    assert names(tmp_path) == []
