"""Jobs for another program: its lines are all there is on standard output, and it may cancel or die at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

import georeg
from georeg import answers, terminal, watching
from georeg.cli import main
from georeg.verb_schema import verb_schema

Pair = tuple[str, str]
Capture = pytest.CaptureFixture[str]
Line = dict[str, Any]
posix = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
ENDED_S = 2.0
"""A worker ends within 1 s, on a machine that has time for it."""
LONGEST_S = 600.0
"""Nothing here takes so long, on any machine."""
BUSY = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10**9)"
"""Minutes in C, deaf to signals, without the lock of the interpreter."""
HERE = "print('here', file=sys.stderr, flush=True)"
IN_A_WORKER = (
    "from concurrent.futures import ThreadPoolExecutor\nsubmit = ThreadPoolExecutor.submit\n"
    f"def busy():\n {HERE}\n {BUSY}\nThreadPoolExecutor.submit = lambda pool, *given: submit(pool, busy)"
)
WRITING = f"import georeg.files\ndef busy(path):\n {HERE}\n {BUSY}\ngeoreg.files._sync = busy"
WRITTEN = f"import georeg.temporaries\ndef busy(path):\n {HERE}\n {BUSY}\ngeoreg.temporaries._sync_folder = busy"


class Client:
    """The other program."""

    def __init__(self, before: str = "", **more: str) -> None:
        start = f"import sys; sys.argv[1:] = ['serve']; {before}\nfrom georeg.cli import main; sys.exit(main())"
        self.folder = tempfile.mkdtemp()
        held = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self.folder)
        self.process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | held | more,
        )
        self.told = b""
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self.enough = threading.Timer(LONGEST_S, self.process.kill)  # else what is wrong would last for ever
        self.enough.start()
        self.lines: list[Line] = []

    def __enter__(self) -> Client:
        assert self.next()["type"] == "hello"
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        while part := os.read(self.process.stderr.fileno(), 65536):  # type: ignore[union-attr]
            self.told += part

    def close(self) -> float:
        """End it by ending its standard input; the seconds that this takes. It leaves nothing."""
        start = time.monotonic()
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()
        self.enough.cancel()
        took_s = time.monotonic() - start
        self.listener.join()
        self.process.stdout.close()  # type: ignore[union-attr]
        self.process.stderr.close()  # type: ignore[union-attr]
        if os.path.exists(self.folder):  # the first time
            os.rmdir(self.folder)
        return took_s

    def write(self, text: str | bytes) -> None:
        self.process.stdin.write(text if isinstance(text, bytes) else text.encode())  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def run(self, *words: Any, number: Any = 1) -> None:
        self.write(json.dumps({"type": "run", "id": number, "arguments": [*map(str, words)]}) + "\n")

    def cancel(self, number: Any = 1) -> None:
        self.write(json.dumps({"type": "cancel", "id": number}) + "\n")

    def next(self) -> Line:
        """The next line, which must be one of the protocol."""
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        assert line.endswith(b"\n"), self.told.decode()
        said = json.loads(line)
        assert isinstance(said["type"], str)
        self.lines.append(said)
        return dict(said)

    def until(self, *types: str) -> Line:
        while (said := self.next())["type"] not in types:
            pass
        return said

    def do(self, *words: Any, number: Any = 1) -> Line:
        """The line that ends a job."""
        self.run(*words, number=number)
        return self.until("result", "error")

    def until_here(self) -> None:
        """Until the code that was put into the worker has said that it is at its place."""
        while b"here" not in self.told:
            assert self.process.poll() is None, self.told.decode()
            time.sleep(0.01)


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    """A worker for jobs that leave it as it was, which is the law."""
    with Client() as client:
        yield client
        assert client.process.poll() is None
        assert client.close() < ENDED_S
    assert client.process.returncode == 0


@pytest.fixture
def client(shared: Client) -> Client:
    shared.lines.clear()
    return shared


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def points_folder(client: Client) -> Path:
    """Where a worker keeps its tie points."""
    return Path(next(line["path"] for line in client.lines if line["type"] == "tiepoints")).parent


# --- hello ----------------------------------------------------------------------------------------------------------


def test_hello_comes_first_and_says_what_there_is() -> None:
    client = Client()
    hello = client.next()
    assert client.close() < ENDED_S
    assert (client.process.returncode, client.told) == (0, b"")
    assert hello.pop("software").keys() == {"rasterio", "GDAL", "PROJ"}
    assert hello == {
        "type": "hello",
        "protocol": 1,
        "georeg": georeg.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "self_test": {"ok": True, "message": "pyproj and rasterio resolve EPSG:32633"},
    }


def test_data_of_another_program_is_told(tmp_path: Path) -> None:
    client = Client(PROJ_DATA=str(tmp_path), PROJ_LIB=str(tmp_path))
    tested = client.next()["self_test"]
    client.close()
    assert not tested["ok"]
    assert "cannot resolve EPSG:32633" in tested["message"]
    assert "PROJ_DATA" in answers.hint(tested["message"])


# --- a job ----------------------------------------------------------------------------------------------------------


def test_a_job_tells_its_stages_in_order_then_its_tie_points_then_its_result(
    client: Client, shift_pair: Pair, tmp_path: Path
) -> None:
    out = tmp_path / "out.tif"
    client.run("align", *shift_pair, "-o", out, number="seven")
    last = client.until("result", "error")
    lines = client.lines
    assert {line["id"] for line in lines} == {"seven"}
    progress = [line for line in lines if line["type"] == "progress"]
    stages = list(dict.fromkeys(line["stage"] for line in progress))
    assert stages == ["coarse", "refine", "match", "write"]
    for line in progress:
        assert 0 <= line["done"] <= line["total"]
        assert line["elapsed_s"] >= 0
        assert (line["eta_s"] is None) == (line["done"] == 0)
    for stage in stages:
        ended = next(line for line in reversed(progress) if line["stage"] == stage)
        assert (ended["done"], ended["eta_s"]) == (ended["total"], 0)
    kinds = [line["type"] for line in lines]
    assert kinds.index("tiepoints") < lines.index(next(line for line in progress if line["stage"] == "write"))
    assert kinds.index("result") == len(kinds) - 1
    assert (last["verb"], last["output"], last["exit_code"]) == ("align", str(out), 0)
    assert all(line["level"] == "info" for line in lines if line["type"] == "log")


def test_a_result_is_what_the_command_line_prints(
    client: Client, shift_pair: Pair, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["align", "--quiet", "--json", *shift_pair, "-o", str(tmp_path / "typed.tif")]) == 0
    printed = json.loads(capsys.readouterr().out)
    done = client.do("align", *shift_pair, "-o", tmp_path / "served.tif")
    assert done["values"] == printed
    assert (tmp_path / "served.tif").read_bytes() == (tmp_path / "typed.tif").read_bytes()


@pytest.mark.parametrize("verb", sorted(verb_schema()["verbs"]))
def test_every_verb_is_a_job_and_gives_what_its_json_says(
    verb: str, client: Client, shift_pair: Pair, shift_alignment: georeg.Alignment, tmp_path: Path, capsys: Capture
) -> None:
    result, points, target = tmp_path / "result.json", tmp_path / "points.json", tmp_path / "target.tif"
    result.write_text(shift_alignment.to_json())
    points.write_text(json.dumps(shift_alignment.to_dict()["tie_points"]))
    shutil.copy(shift_pair[1], target)
    item = tmp_path / "item.json"
    item.write_text(
        json.dumps(
            {
                "type": "Feature",
                "stac_version": "1.1.0",
                "id": "scene",
                "geometry": {"type": "Point", "coordinates": [12, 52]},
                "bbox": [12, 52, 12, 52],
                "properties": {"datetime": "2023-06-01T10:00:00Z"},
                "links": [],
                "assets": {"red": {"href": "target.tif", "roles": ["data"]}},
            }
        )
    )
    words: dict[str, Callable[[Path], list[Any]]] = {
        "align": lambda out: [*shift_pair, "-o", out],
        "batch": lambda out: [shift_pair[0], target, "-o", tmp_path / f"{out.name}s"],
        "match": lambda out: [*shift_pair, "-o", out],
        "fit": lambda out: [points, "-o", out],
        "assess": lambda out: [*shift_pair],
        "report": lambda out: [result],
        "apply": lambda out: [result, "-o", out],
        "undo": lambda out: [target],
        "export": lambda out: [result, "-o", out.with_suffix(".gpkg"), "--overwrite"],
        "snap": lambda out: [points, "-o", out, "--ref-xy", ",".join(map(str, shift_alignment.points.ref_xy[40]))],
        "stack": lambda out: [*shift_pair],
        "bands": lambda out: [*shift_pair, "-o", out],
        "stac": lambda out: [result, item, "--corrected", target, "-o", out],
    }
    for _ in range(2 if verb == "undo" else 0):
        assert main(["apply", "--quiet", str(result), str(target), "--in-place"]) == 0
        capsys.readouterr()
    assert main([verb, "--quiet", "--json", *map(str, words[verb](tmp_path / "typed.tif"))]) == 0
    printed = capsys.readouterr().out
    done = client.do(verb, *words[verb](tmp_path / "served.tif"))
    assert done["type"] == "result", done
    held = json.dumps(done["values"]).replace("served.", "typed.")
    if verb in ("report", "batch", "undo"):  # which tell when, where, and how often it can still be done
        assert done["values"].keys() == json.loads(printed).keys()
    else:
        assert json.loads(held) == json.loads(printed)


def test_tie_points_are_there_as_soon_as_they_are_known(client: Client, shift_pair: Pair, tmp_path: Path) -> None:
    result = client.do("match", *shift_pair, "-o", tmp_path / "points.json")["values"]
    shown = [line for line in client.lines if line["type"] == "tiepoints"]
    assert {line["state"] for line in shown} <= {"partial", "matched"}
    assert shown[-1]["state"] == "matched"
    assert shown[-1]["n"] == len(result["status"])
    collection = json.loads(Path(shown[-1]["path"]).read_text())
    assert collection["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    features = collection["features"]
    assert [f["geometry"]["coordinates"] for f in features] == result["ref_xy"]
    assert [f["properties"]["status"] for f in features] == result["status"]
    assert all(f["properties"]["residual_x"] is None for f in features)
    assert shown[-1]["crs"] == result["crs"]


@pytest.mark.parametrize("verb", ["align", "fit"])
def test_a_fit_gives_tie_points_their_roles_and_residuals(
    verb: str, client: Client, shift_pair: Pair, shift_alignment: georeg.Alignment, tmp_path: Path
) -> None:
    points = tmp_path / "points.json"
    points.write_text(json.dumps(shift_alignment.to_dict()["tie_points"]))
    words = shift_pair if verb == "align" else (points,)
    assert client.do(verb, *words, "-o", tmp_path / "out.tif")["type"] == "result"
    last = [line for line in client.lines if line["type"] == "tiepoints"][-1]
    assert last["state"] == "fitted"
    held = [f["properties"] for f in json.loads(Path(last["path"]).read_text())["features"]]
    residual = np.array([(one["residual_x"], one["residual_y"]) for one in held], float)
    assert residual == pytest.approx(shift_alignment.fitted.residual(), abs=1e-6)
    roles = [one["role"] for one in held]
    assert {"fit", "check"} <= set(roles)
    assert [role == "check" for role in roles] == (
        shift_alignment.fitted.role == georeg.fit.__globals__["Role"].CHECK
    ).tolist()


def test_a_warning_is_a_line_of_its_own(client: Client, shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    result, out = tmp_path / "result.json", tmp_path / "once.tif"
    result.write_text(shift_alignment.to_json())
    assert client.do("apply", result, "-o", out)["type"] == "result"
    assert "warning" not in {line.get("level") for line in client.lines}
    assert client.do("apply", result, out, "-o", tmp_path / "twice.tif")["type"] == "result"
    warned = [line["message"] for line in client.lines if line["type"] == "log" and line["level"] == "warning"]
    assert any("once.tif" in message for message in warned), warned


def test_paths_may_be_of_any_language(client: Client, shift_pair: Pair, tmp_path: Path) -> None:
    folder = tmp_path / "Zoë's Bilder 東京 👍"
    folder.mkdir()
    pair = [shutil.copy(path, folder / f"{name}.tif") for path, name in zip(shift_pair, ("já", "ß"), strict=True)]
    done = client.do("align", *pair, "-o", folder / "aus é.tif", number="Ω")
    assert (done["id"], done["type"], done["output"]) == ("Ω", "result", str(folder / "aus é.tif"))
    assert names(folder) == sorted(["já.tif", "ß.tif", "aus é.tif"])


def test_a_log_is_kept_as_by_the_command_line(client: Client, shift_pair: Pair, tmp_path: Path) -> None:
    assert client.do("assess", *shift_pair, "--log", tmp_path / "log.txt")["type"] == "result"
    assert "nothing was changed" in (tmp_path / "log.txt").read_text()
    assert client.do("assess", *shift_pair, "--log", shift_pair[0])["code"] == "OutputError"


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_refusal_says_what_to_do(client: Client, shift_pair: Pair, tmp_path: Path, capsys: Capture) -> None:
    words = ["align", *shift_pair, "-o", str(tmp_path / "out.tif"), "--max-ce90", "0.0001px"]
    assert main([*words, "--quiet"]) == 3
    sentence = capsys.readouterr().err.strip().removeprefix("georeg: ")
    refused = client.do(*words)
    assert refused == {
        "type": "error",
        "id": 1,
        "code": "LimitError",
        "exit_code": 3,
        "message": sentence,
        "hint": "raise --max-ce90 or try --model polynomial2",
    }
    assert [line["type"] for line in client.lines].count("tiepoints") >= 1
    assert names(tmp_path) == []


def test_an_output_that_exists_is_refused(client: Client, shift_pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    out.write_text("precious")
    refused = client.do("align", *shift_pair, "-o", out)
    assert (refused["code"], refused["exit_code"]) == ("OutputError", 1)
    assert refused["hint"] == "choose another output or give --overwrite"
    assert out.read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "VERB"),
        (["no-such-verb"], "no-such-verb"),
        (["align", "r.tif", "t.tif"], "-o FILE"),
        (["align", "r.tif", "t.tif", "-o", "o.tif", "--threads", "many"], "many"),
        (["align", "r.tif", "t.tif", "-o", "o.tif", "--ref-bands", "red"], "whole numbers"),
        (["batch", "r.tif", "@/absent/list"], "absent"),
        (["align", "--help"], "--help"),
        (["--version"], "--version"),
        (["serve"], "no job"),
        (["schema"], "no job"),
    ],
)
def test_wrong_usage_is_an_error_line(words: list[str], says: str, client: Client) -> None:
    refused = client.do(*words)
    assert (refused["type"], refused["id"], refused["code"], refused["exit_code"]) == ("error", 1, "usage", 2)
    assert says in refused["message"]
    assert refused["hint"]


GARBAGE = {
    "text": b"hello\n",
    "binary": b"\xff\xfe\x00\x01\n",
    "list": b"[1, 2]\n",
    "number": b"7\n",
    "deep": b"[" * 100_000 + b"\n",
    "unknown": b'{"type": "dance", "id": 1}\n',
    "no words": b'{"type": "run", "id": 1}\n',
    "words that are none": b'{"type": "run", "id": 1, "arguments": ["align", 3]}\n',
    "a shell's": b'{"type": "run", "id": 1, "arguments": "align r.tif t.tif"}\n',
    "no id": b'{"type": "run", "arguments": ["undo", "a.tif"]}\n',
    "nothing to cancel": b'{"type": "cancel", "id": 9}\n',
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_line_that_is_no_request_is_refused_and_the_worker_lives(name: str, client: Client) -> None:
    client.write(b"\n" + GARBAGE[name])
    refused = client.next()
    assert (refused["type"], refused["code"], refused["exit_code"]) == ("error", "usage", 2)
    assert client.do("undo", "/absent.tif", number=2)["code"] == "InputError"


def test_a_bug_is_an_internal_error_and_the_worker_lives(shift_pair: Pair, tmp_path: Path) -> None:
    before = "import georeg.files\ndef fail(path): 1 / 0\ngeoreg.files._sync = fail"
    with Client(before) as client:
        for number in (1, 2):
            done = client.do("align", *shift_pair, "-o", tmp_path / "out.tif", number=number)
            assert (done["id"], done["code"], done["exit_code"]) == (number, "internal", 1)
            assert "ZeroDivisionError" in done["message"]
    assert names(tmp_path) == []


def test_what_is_printed_meanwhile_reaches_standard_error(shift_pair: Pair, tmp_path: Path) -> None:
    before = (
        "import os, georeg.files\ndef stray(path):\n"
        " print('from Python', flush=True); os.write(1, b'from C\\n'); os.system('echo from a child')\n"
        "georeg.files._sync = stray"
    )
    with Client(before) as client:
        assert client.do("align", *shift_pair, "-o", tmp_path / "out.tif")["type"] == "result"
        client.process.stdin.close()  # type: ignore[union-attr]
        assert client.process.stdout.read() == b""  # type: ignore[union-attr]
    for stray in (b"from Python", b"from C", b"from a child"):
        assert stray in client.told


def test_a_second_job_is_refused_while_one_runs(shift_pair: Pair, tmp_path: Path) -> None:
    with Client(IN_A_WORKER) as client:
        client.run("align", *shift_pair, "-o", tmp_path / "one.tif", number=1)
        client.until_here()
        refused = client.do("align", *shift_pair, "-o", tmp_path / "two.tif", number=2)
        assert (refused["id"], refused["code"]) == (2, "busy")
        client.cancel(1)
        assert client.until("error")["id"] == 1


# --- the end --------------------------------------------------------------------------------------------------------


def gone(client: Client, start: float) -> None:
    """The worker ends in time."""
    client.process.wait()
    assert time.monotonic() - start < ENDED_S


@pytest.mark.parametrize("place", [IN_A_WORKER, WRITING], ids=["matching", "writing"])
@pytest.mark.parametrize("deaf", [False, True], ids=["", "signals ignored"])
def test_a_cancelled_job_ends_in_a_second_with_no_file_changed(
    place: str, deaf: bool, shift_pair: Pair, tmp_path: Path
) -> None:
    out = tmp_path / "out.tif"
    out.write_text("precious")
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if deaf else ""
    with Client(ignore + place) as client:
        client.run("align", *shift_pair, "-o", out, "--overwrite")
        client.until_here()
        start = time.monotonic()
        client.cancel()
        last = client.until("error")
        assert client.process.stdout.readline() == b""  # type: ignore[union-attr]
        gone(client, start)
    assert (last["id"], last["code"], client.process.returncode) == (1, "cancelled", 0)
    assert last["message"] == "The job was cancelled. No file was changed"
    assert (names(tmp_path), out.read_text()) == (["out.tif"], "precious")


def test_a_job_cancelled_too_late_says_what_was_written(shift_pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    with Client(WRITTEN) as client:
        client.run("align", *shift_pair, "-o", out)
        client.until_here()
        client.cancel()
        assert client.until("error")["message"] == f"The job was cancelled. Already written: {out}"
    assert names(tmp_path) == ["out.tif"]


def test_a_job_that_is_about_to_start_can_be_cancelled(shift_pair: Pair, tmp_path: Path) -> None:
    with Client() as client:
        client.run("align", *shift_pair, "-o", tmp_path / "out.tif")
        start = time.monotonic()
        client.cancel()
        assert client.until("result", "error")["code"] == "cancelled"
        gone(client, start)
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", [IN_A_WORKER, WRITING], ids=["matching", "writing"])
def test_the_end_of_standard_input_is_the_end(place: str, shift_pair: Pair, tmp_path: Path) -> None:
    with Client(place) as client:
        client.run("align", *shift_pair, "-o", tmp_path / "out.tif")
        client.until_here()
        assert client.close() < ENDED_S
    assert client.process.returncode == 0
    assert names(tmp_path) == []


@posix
def test_what_a_killed_worker_leaves_goes_with_the_next(shift_pair: Pair, tmp_path: Path) -> None:
    killed = Client()
    killed.next()
    killed.do("match", *shift_pair, "-o", tmp_path / "points.json")
    folder = points_folder(killed)
    killed.process.kill()
    killed.process.wait()
    assert folder.exists()
    with Client(TMPDIR=killed.folder) as client:
        assert not folder.exists()
        client.close()
        assert os.listdir(killed.folder) == []
    killed.close()


@posix
def test_a_signal_is_the_end(shift_pair: Pair, tmp_path: Path) -> None:
    with Client(IN_A_WORKER) as client:
        client.run("align", *shift_pair, "-o", tmp_path / "out.tif")
        client.until_here()
        start = time.monotonic()
        client.process.send_signal(signal.SIGTERM)
        gone(client, start)
    assert client.process.returncode == 1
    assert names(tmp_path) == []


@posix
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="this system does not list processes")
def test_whoever_is_killed_leaves_no_worker(shift_pair: Pair, tmp_path: Path) -> None:
    worker = f"import sys; sys.argv[1:] = ['serve']; {IN_A_WORKER}\nfrom georeg.cli import main; sys.exit(main())"
    request = json.dumps({"type": "run", "id": 1, "arguments": ["align", *shift_pair, "-o", str(tmp_path / "out.tif")]})
    code = f"""
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", {worker!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, start_new_session=True)
worker.stdin.write({request!r} + "\\n"); worker.stdin.flush()
while "here" not in worker.stderr.readline(): pass
print(worker.pid, flush=True); time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    start = time.monotonic()
    while lives(pid):
        assert time.monotonic() - start < ENDED_S
        time.sleep(0.01)
    assert names(tmp_path) == []


def lives(pid: int) -> bool:
    """Whether a process runs; one whose parent has not asked for its end yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- many jobs ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system does not tell the memory of a process")
def test_twenty_jobs_are_as_the_first_in_result_and_memory(shift_pair: Pair, tmp_path: Path) -> None:
    pair = [cut(path, tmp_path / f"{name}.in") for path, name in zip(shift_pair, "rt", strict=True)]
    with Client() as client:
        results, rss_mb = [], []
        for number in range(20):
            words = ["align", *pair, "-o", tmp_path / f"{number}.tif", "--resample"]
            results.append(client.do(*words, number=number)["values"])
            refused = client.do("align", pair[0], pair[0], "-o", tmp_path / "x.tif", "--tgt-bands", number + 2)
            assert refused["code"] == "InputError"
            pages = int(Path(f"/proc/{client.process.pid}/statm").read_text().split()[1])
            rss_mb.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        held = names(points_folder(client))
    assert all(result == results[0] for result in results)
    written = [path.read_bytes() for path in tmp_path.glob("*.tif")]
    assert (len(written), len(set(written))) == (20, 1)
    assert max(rss_mb[10:]) < max(rss_mb[:5]) + 15, rss_mb
    assert len(held) < 5


def cut(source: str, path: Path) -> str:
    """A quarter of a raster, so that twenty jobs take less long."""
    with rasterio.open(source) as dataset:
        side = dataset.width // 2
        profile = dataset.profile | {"width": side, "height": side}
        pixels = dataset.read(window=Window(0, 0, side, side))
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
    return str(path)


def test_nobody_hears_after_a_job() -> None:
    assert terminal.listener() is None
    assert not watching.due()


class Watcher:
    """Looks at all there is to see."""

    def __init__(self) -> None:
        self.seen: list[tuple[georeg.TiePoints, bool]] = []

    def due(self) -> bool:
        return True

    def see(self, points: georeg.TiePoints, fitted: georeg.Fit | None = None, *, partial: bool = False) -> None:
        self.seen.append((points, partial))


def test_who_watches_sees_ever_more_tie_points_and_changes_none(
    shift_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("georeg.blocks.BLOCK_PX", 128)
    unwatched, watcher = georeg.match(*shift_pair), Watcher()
    with watching.watched_by(watcher):
        assert georeg.match(*shift_pair) == unwatched
    *partial, (last, complete) = watcher.seen
    assert (last, complete) == (unwatched, False)
    assert all(is_partial for _, is_partial in partial)
    sizes = [len(points) for points, _ in partial]
    assert sizes == sorted(set(sizes))
    assert len(sizes) > 3
    for points, _ in partial:
        assert np.array_equal(points.ref_xy, unwatched.ref_xy[: len(points)])


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("no CRS; assign one", "assign one"),
        ("a; b; c", "c"),
        ("full; nothing was left under its name", ""),
        ("3 px; nothing was written: raise it", "raise it"),
        ("plain", ""),
    ],
)
def test_a_hint_is_what_to_do(message: str, said: str) -> None:
    assert answers.hint(message) == said
