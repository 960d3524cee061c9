"""What a run tells while it lasts and at its end: on a terminal, in a pipe, and in a log file."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import georeg
from georeg import closing, terminal
from georeg.batch import Scene
from georeg.cli import main
from georeg.errors import MatchError

Pair = tuple[str, str]
Capture = pytest.CaptureFixture[str]
posix = pytest.mark.skipif(os.name != "posix", reason="terminals are those of POSIX")
ESCAPE = "\x1b["
COLOUR = re.compile(r"\x1b\[[\d;]*m")
CONTROL = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]|\r")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}"


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "georeg.cli", *map(str, arguments)]


def surroundings(**more: str) -> dict[str, str]:
    """The environment without what speaks of colour, and more."""
    speaks = ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return {name: value for name, value in os.environ.items() if name not in speaks} | {"TERM": "xterm-256color"} | more


def on_terminal(*arguments: Any, columns: int = 100, out_too: bool = True, **more: str) -> tuple[str, str, int]:
    """What a terminal receives, what a pipe receives on standard output if that is no terminal, and the exit code."""
    pty, termios, fcntl = (importlib.import_module(name) for name in ("pty", "termios", "fcntl"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    out = theirs if out_too else subprocess.PIPE
    with subprocess.Popen(
        command(*arguments), stdin=theirs, stdout=out, stderr=theirs, env=surroundings(**more)
    ) as run:
        os.close(theirs)
        shown, piped = b"", b""
        with contextlib.suppress(OSError):  # so Linux says that the other side is closed
            while part := os.read(ours, 65536):
                shown += part
        if run.stdout is not None:
            piped = run.stdout.read()
    os.close(ours)
    return shown.decode(), piped.decode(), run.returncode


def in_pipes(*arguments: Any, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, check=False, env=surroundings(**more)
    )


# --- on a terminal --------------------------------------------------------------------------------------------------


@posix
def test_a_terminal_sees_bars_with_the_points_found_and_a_table_in_colour(shift_pair: Pair, tmp_path: Path) -> None:
    shown, piped, code = on_terminal("align", *shift_pair, "-o", tmp_path / "out.tif", out_too=False)
    assert code == 0
    assert COLOUR.search(shown)
    text = CONTROL.sub("", shown)
    for stage in ("coarse", "refine", "match", "write"):
        assert re.search(rf"{stage} +━+ +(\d+)/\1 +\d:\d\d:\d\d ETA 00:00", text), stage
    assert re.search(r"match .* 169 tie points", text)
    for name in ("aligned", "RMSE", "CE90", "bias east", "bias north", "check points", "overlap", "translation"):
        assert name in text[text.rindex("━") :]
    assert ESCAPE not in piped
    assert len(piped.splitlines()) == 1
    assert piped.startswith(f"{tmp_path / 'out.tif'}: mean displacement 37.")


@posix
def test_the_table_says_what_the_result_says(shift_pair: Pair, tmp_path: Path) -> None:
    shown, piped, _ = on_terminal("assess", "--json", *shift_pair, out_too=False)
    alignment = georeg.Alignment.from_json(piped)
    rows = {line.split("  ")[0].strip(): line for line in CONTROL.sub("", shown).splitlines() if "  " in line.strip()}
    for name, both in (("RMSE", "rmse"), ("CE90", "ce90")):
        before, after = (getattr(found, both) for found in (alignment.before, alignment.after))
        assert re.search(rf"{before:.3g} m \({before / 10:.2g} px\) +{after:.3g} m \({after / 10:.2g} px\)", rows[name])
    assert f"{alignment.after.bias_x:+.2g} m" in rows["bias east"]
    assert rows["overlap"].split()[-1] == f"{alignment.geometry.overlap:.0%}"


@posix
@pytest.mark.parametrize("columns", [40, 60, 200])
def test_no_line_is_wider_than_the_terminal(columns: int, shift_pair: Pair) -> None:
    shown = on_terminal("assess", *shift_pair, columns=columns, out_too=False)[0]
    lines = [line for line in CONTROL.sub("\n", COLOUR.sub("", shown)).splitlines() if line.strip()]
    assert max(len(line.rstrip()) for line in lines) <= columns


@posix
@pytest.mark.parametrize(
    ("more", "colours", "bars"),
    [({"NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, False), ({"FORCE_COLOR": "1"}, True, True)],
    ids=lambda v: str(v),
)
def test_colour_is_as_the_environment_has_it(more: dict[str, str], colours: bool, bars: bool, shift_pair: Pair) -> None:
    shown = on_terminal("assess", *shift_pair, out_too=False, **more)[0]
    assert bool(re.search(r"\x1b\[[\d;]*3[0-8]", shown)) is colours
    assert ("━" in shown) is bars
    assert (ESCAPE in shown) is bars
    assert "RMSE" in shown


@posix
def test_json_on_a_terminal_stands_alone(shift_pair: Pair) -> None:
    shown = CONTROL.sub("", on_terminal("assess", "--json", *shift_pair)[0])
    assert json.loads(shown[shown.index("{") :])["type"] == "georeg.Alignment"


@posix
def test_quiet_is_quiet_on_a_terminal_too(shift_pair: Pair) -> None:
    shown, piped, code = on_terminal("assess", "--quiet", *shift_pair, out_too=False)
    assert (shown, code) == ("", 0)
    assert len(piped.splitlines()) == 1


@posix
def test_a_batch_ends_with_a_row_for_each_scene(shift_pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"no raster")
    shown, piped, code = on_terminal("batch", *shift_pair, tmp_path / "broken.tif", columns=160, out_too=False)
    assert code == 1
    assert ESCAPE not in piped
    table = CONTROL.sub("", shown[shown.rindex("ETA") :])
    assert re.search(r"shift_target.tif +aligned +translation +\d+", table)
    assert re.search(r"broken.tif +refused +- +-", table)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_figures_of_scenes_are_never_broken(
    columns: int, shift_alignment: georeg.Alignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Console(width=columns, file=io.StringIO())
    monkeypatch.setattr(closing, "error_console", lambda: screen)
    name = "a_name_of_thirty_characters.tif"
    closing.show_scenes([closing.row(Scene(name, None, shift_alignment, None, None, 1.0))])
    shown = screen.file.getvalue()
    assert max(map(len, shown.splitlines())) <= columns
    assert name in "".join(line.split()[0] for line in shown.splitlines() if line[1:2].strip())
    assert f"{shift_alignment.after.rmse:.3g} m" in shown
    assert "aligned" in shown
    assert ("overlap" in shown) is (columns >= 120)


# --- in a pipe ------------------------------------------------------------------------------------------------------


def test_a_pipe_sees_no_escape_and_a_line_for_each_stage(shift_pair: Pair) -> None:
    done = in_pipes("assess", *shift_pair)
    assert ESCAPE not in done.stdout + done.stderr
    assert done.stderr.splitlines() == ["georeg: coarse 6/6", "georeg: refine 2/2", "georeg: match 169/169"]
    assert len(done.stdout.splitlines()) == 1


def test_verbose_says_how_long_stages_took_and_what_they_found(shift_pair: Pair) -> None:
    done = in_pipes("assess", "-v", *shift_pair)
    lines = done.stderr.splitlines()
    assert all(line.startswith("georeg: ") for line in lines)
    assert any(re.fullmatch(r"georeg: match 169/169 in \d+\.\d s", line) for line in lines)
    assert any("169 tried: 169 kept" in line for line in lines)
    assert any("check points agree with it within" in line for line in lines)
    assert len(done.stdout.splitlines()) == 1
    assert len(in_pipes("assess", "-vv", *shift_pair).stderr.splitlines()) > len(lines)


def test_colour_that_is_forced_is_in_the_table_alone(shift_pair: Pair) -> None:
    done = in_pipes("assess", *shift_pair, FORCE_COLOR="1")
    assert ESCAPE not in done.stdout
    assert done.stderr.splitlines()[0] == "georeg: coarse 6/6"
    assert "\x1b[1;32maligned" in done.stderr


def test_quiet_and_verbose_exclude_each_other(shift_pair: Pair, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["assess", "--quiet", "--verbose", *shift_pair])
    assert stopped.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_stage_that_is_gone_through_twice_is_told_twice(capsys: Capture) -> None:
    with terminal.stages(quiet=False, verbose=0) as progress:
        for total in (3, 2):
            for done in range(total + 1):
                progress("match", done, total)
    assert capsys.readouterr().err.splitlines() == ["georeg: match 3/3", "georeg: match 2/2"]


def test_a_stage_first_heard_of_late_began_when_the_one_before_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    heard: list[tuple[str, float]] = []

    class Heard(terminal.Stages):
        def update(self, stage: str, done: int, total: int, seconds: float) -> None:
            heard.append((stage, seconds))

    progress = Heard()
    for at, stage, done in ((110.0, "coarse", 0), (113.0, "coarse", 2), (117.0, "match", 1), (119.0, "match", 2)):
        now[0] = at
        progress(stage, done, 2)
    assert heard == [("coarse", 0.0), ("coarse", 3.0), ("match", 4.0), ("match", 6.0)]


# --- a log ----------------------------------------------------------------------------------------------------------


def test_a_log_holds_the_run_and_what_stood_there_before(shift_pair: Pair, tmp_path: Path, capsys: Capture) -> None:
    log = tmp_path / "run.log"
    log.write_text("what stood there\n")
    for _ in range(2):
        assert main(["assess", "--quiet", *shift_pair, "--log", str(log)]) == 0
    sentence = capsys.readouterr().out.splitlines()[0]
    first, *lines = log.read_text().splitlines()
    assert first == "what stood there"
    assert all(re.match(rf"{TIME} (DEBUG|INFO|WARNING|ERROR) ", line) for line in lines)
    told = [line.split(" ", 2)[2] for line in lines]
    for text in (
        f"georeg {georeg.__version__}: georeg assess --quiet {' '.join(shift_pair)} --log {log}",
        sentence,
        "exit code 0",
    ):
        assert told.count(text) == 2
    assert sum(text.startswith("match 169/169 in ") for text in told) == 2
    assert ESCAPE not in log.read_text()


def test_a_log_holds_errors(tmp_path: Path, capsys: Capture) -> None:
    log = tmp_path / "run.log"
    assert main(["assess", "absent.tif", "gone.tif", "--log", str(log)]) == 1
    said = capsys.readouterr().err.strip().removeprefix("georeg: ")
    assert f" ERROR {said}\n" in log.read_text()
    assert log.read_text().endswith(" INFO exit code 1\n")


def test_a_log_holds_the_traceback_of_what_nobody_foresaw(
    shift_pair: Pair, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(georeg, "align", fail)
    assert main(["assess", *shift_pair, "--log", str(tmp_path / "run.log")]) == 1
    said, log = capsys.readouterr().err, (tmp_path / "run.log").read_text()
    assert "internal error: ZeroDivisionError" in said
    assert "Traceback" not in said
    assert "Traceback (most recent call last)" in log
    assert "nobody thought of this" in log


def test_a_log_tells_nobody_how_to_reach_a_file(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    secret = "https://me:word@localhost:1/a.tif?token=abc"
    assert main(["assess", "--quiet", secret, "b.tif", "--log", str(log)]) == 1
    text = log.read_text()
    assert "https://localhost:1/a.tif" in text
    assert "word" not in text
    assert "abc" not in text


NO_LOG = {
    "folder is absent": (lambda pair, d: d / "absent" / "run.log", "cannot be opened: no such file or directory"),
    "is a folder": (lambda pair, d: d, "cannot be opened: "),
    "is an input": (lambda pair, d: pair[1], "is a file that this run reads or writes"),
    "is the output": (lambda pair, d: d / "out.tif", "is a file that this run reads or writes"),
    "is no text": (lambda pair, d: binary(d / "picture.png"), "exists and is no text"),
}


def binary(path: Path) -> Path:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    return path


@pytest.mark.parametrize(("log", "says"), NO_LOG.values(), ids=NO_LOG)
def test_a_log_that_cannot_be_is_refused_before_any_work(
    log: Any, says: str, shift_pair: Pair, tmp_path: Path, capsys: Capture
) -> None:
    path = log(shift_pair, tmp_path)
    before = path.read_bytes() if isinstance(path, Path) and path.is_file() else b""
    target = Path(shift_pair[1]).read_bytes()
    code = main(["align", *shift_pair, "-o", str(tmp_path / "out.tif"), "--log", str(path)])
    printed = capsys.readouterr()
    assert (code, printed.out) == (1, "")
    assert len(printed.err.splitlines()) == 1
    assert says in printed.err
    assert not (tmp_path / "out.tif").exists()
    assert Path(shift_pair[1]).read_bytes() == target
    assert (path.read_bytes() if isinstance(path, Path) and path.is_file() else b"") == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_log_that_fills_the_disk_ends_and_the_run_goes_on(shift_pair: Pair, capsys: Capture) -> None:
    assert main(["assess", "--quiet", *shift_pair, "--log", "/dev/full"]) == 0
    printed = capsys.readouterr()
    assert (
        printed.err == "georeg: warning: the log /dev/full cannot be written: no space left on device; it ends here\n"
    )
    assert len(printed.out.splitlines()) == 1


def test_the_library_logs_as_before_once_a_run_is_over(shift_pair: Pair, tmp_path: Path) -> None:
    log = logging.getLogger("georeg")
    before = (log.level, list(log.handlers))
    main(["assess", "-vv", *shift_pair, "--log", str(tmp_path / "run.log")])
    main(["assess", "absent.tif", "gone.tif", "--log", str(tmp_path)])
    assert (log.level, log.handlers) == before


# --- the table ------------------------------------------------------------------------------------------------------


def test_a_scene_that_was_refused_has_a_row_without_figures() -> None:
    row = closing.row(Scene("folder/a.tif", None, None, MatchError("3 tie points found"), None, 1.0))
    assert (row.scene, row.verdict, row.model, row.rmse_after) == ("a.tif", "refused", "-", "-")
