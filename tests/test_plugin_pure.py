"""The plugin's rooms that know no QGIS, and what holds for all of its files."""

from __future__ import annotations

import ast
import configparser
import doctest
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from georeg.parser import parsed
from georeg.verb_schema import schema_text

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "qgis_plugin" / "georeg_qgis"
if not FOLDER.is_dir():
    pytest.skip("the plugin is not part of this source", allow_module_level=True)
FILES = sorted(FOLDER.rglob("*.py"))
PURE = ("protocol", "env", "runner", "params", "outputs", "figures", "grids", "scenes")
VERBS = ("align", "match", "fit", "assess", "apply", "batch")
FAKE = Path(__file__).with_name("fake_worker.py")
sys.path.insert(0, str(FOLDER.parent))

from georeg_qgis import env, outputs, params, protocol, runner  # noqa: E402
from georeg_qgis.protocol import WorkerError  # noqa: E402

SCHEMA = params.load_schema()


def worker(how: str = "well") -> runner.Runner:
    """A runner of the fake worker."""
    return runner.Runner("", [sys.executable, str(FAKE), how])


def run(words: list[str], how: str = "well", **heard: Any) -> dict[str, Any]:
    """One job of the fake worker."""
    return worker(how).run(words, heard.get("on_line", lambda _: None), heard.get("is_cancelled", lambda: False))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends_within(pid: int, seconds: float) -> bool:
    """Whether a process ends in time."""
    until = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(pid)


# --- files of the plugin ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    late = {"strict", "slots", "kw_only"}  # of zip() and dataclass()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", "")
            assert not (name in ("zip", "dataclass") and late & {word.arg for word in node.keywords}), node.lineno
            unions = [n for n in node.args if isinstance(n, ast.BinOp) and isinstance(n.op, ast.BitOr)]
            assert not (name == "isinstance" and unions), node.lineno
    assert not tree.body[1:] or any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body
    ), "annotations would be evaluated"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_the_standard_library_qgis_and_numpy_are_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        allowed = {*sys.stdlib_module_names, "qgis", "numpy"}
        assert all(name.split(".")[0] in allowed for name in names), (names, node.lineno)


def test_enums_of_qt_are_named_with_their_scope() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    scopes = set(re.findall(r"\bQt\.([A-Z]\w+)\.", text))
    assert set(re.findall(r"\bQt\.([A-Z]\w+)", text)) == scopes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_signal_is_named_as_a_method_of_qobject(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"^\s*(event|destroyed|parent|timerEvent)\s*=\s*pyqtSignal", text, re.MULTILINE)


def test_pure_rooms_import_no_qgis() -> None:
    rooms = ", ".join(f"georeg_qgis.{name}" for name in PURE)
    code = f"import sys; sys.path.insert(0, {str(FOLDER.parent)!r}); import {rooms}; assert 'qgis' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PURE)
def test_examples_of_pure_rooms_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"georeg_qgis.{name}")).failed == 0


def test_the_schema_is_that_of_the_command_line() -> None:
    assert (FOLDER / "schema.json").read_text(encoding="utf-8") == schema_text(), (
        "run: georeg schema --json > qgis_plugin/georeg_qgis/schema.json"
    )


def test_metadata_names_what_qgis_and_its_repository_ask_for() -> None:
    read = configparser.ConfigParser()
    read.read(FOLDER / "metadata.txt", encoding="utf-8")
    general = dict(read["general"])
    asked = (
        "name",
        "description",
        "about",
        "version",
        "author",
        "email",
        "homepage",
        "repository",
        "tracker",
        "license",
    )
    assert all(general[name].strip() for name in asked)
    assert (general["qgisminimumversion"], general["qgismaximumversion"]) == ("3.22", "4.99")
    assert (general["category"], general["hasprocessingprovider"]) == ("Raster", "yes")
    assert general["version"] == env.GEOREG == SCHEMA["georeg"]
    assert ElementTree.parse(FOLDER / general["icon"]).getroot().tag.endswith("svg")
    assert "GNU GENERAL PUBLIC LICENSE" in (FOLDER / "LICENSE").read_text(encoding="utf-8")


# --- protocol ------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_whatever_a_worker_writes_is_a_message_or_refused(line: bytes) -> None:
    said, refused = None, None
    try:
        said = protocol.parse(line)
    except WorkerError as exc:
        refused = exc.code
    assert refused == "protocol" if said is None else isinstance(said["type"], str)


@given(st.lists(st.text()), st.data())
def test_lines_survive_any_way_of_being_cut(words: list[str], data: Any) -> None:
    sent = protocol.run_line("1", words) + protocol.cancel_line("1")
    cut = data.draw(st.integers(0, len(sent)))
    lines = protocol.Lines()
    heard = [json.loads(line) for part in (sent[:cut], sent[cut:]) for line in lines.feed(part)]
    assert [said["type"] for said in heard] == ["run", "cancel"]
    assert heard[0]["arguments"] == words


def test_a_hint_is_said_once() -> None:
    assert str(WorkerError("x", "no CRS; assign one", "assign one")) == "no CRS; assign one"
    assert str(WorkerError("x", "it broke", "Try again")) == "it broke. Try again"


# --- environment ---------------------------------------------------------------------------------------------------------

LEAKING = (
    "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA",
    "GDAL_DRIVER_PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "QT_PLUGIN_PATH", "QGIS_PREFIX_PATH",
)  # fmt: skip


def test_nothing_of_qgis_reaches_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LEAKING:
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("GEOREG_TEST_KEPT", "kept")
    found = run(["echo"])["values"]["environment"]
    assert not set(LEAKING) & set(found)
    assert found["GEOREG_TEST_KEPT"] == "kept"


def test_qgis_is_never_taken_for_a_python(tmp_path: Path) -> None:
    for name in ("qgis", "QGIS", "qgis-bin.exe", "qgis-ltr-bin.exe"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        with pytest.raises(WorkerError, match="is QGIS, not Python"):
            env.check_interpreter(str(tmp_path / name))


@pytest.mark.parametrize("path", ["", "/nowhere/python3"])
def test_a_missing_interpreter_says_where_to_choose_one(path: str) -> None:
    with pytest.raises(WorkerError) as caught:
        env.check_interpreter(path)
    assert caught.value.code == "setup"
    assert "Settings" in caught.value.hint


def test_the_variable_comes_before_the_setting_and_both_before_the_managed_folder(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    assert env.chosen_interpreter("", environ) == ""
    managed = Path(env.python_in(env.managed_folder(environ)))
    managed.parent.mkdir(parents=True)
    managed.touch()
    assert env.chosen_interpreter("", environ) == str(managed)
    assert env.chosen_interpreter("/set", environ) == "/set"
    assert env.chosen_interpreter("/set", {**environ, env.OVERRIDE: "/named"}) == "/named"


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_managed_environment_lies_outside_the_plugin_and_is_pinned(platform: str) -> None:
    environ = {"HOME": "/home/u", "USERPROFILE": "/home/u"}
    folder = env.managed_folder(environ, platform)
    assert not folder.startswith(str(FOLDER))
    assert env.GEOREG in folder
    venv, pip = env.install_commands("/usr/bin/python3", folder)
    assert venv[0] == "/usr/bin/python3"
    assert venv[-1] == folder
    assert pip[0].startswith(folder)
    assert pip[-1] == f"georeg=={env.GEOREG}"
    assert f"georeg=={env.GEOREG}" in env.install_text(platform=platform)


def test_an_environment_is_made_and_says_its_version(tmp_path: Path) -> None:
    venv, _ = env.install_commands(sys.executable, str(tmp_path / "made"))
    subprocess.run([*venv, "--without-pip"], check=True, timeout=120)
    python = env.python_in(str(tmp_path / "made"))
    said = subprocess.run(env.version_command(python), capture_output=True, text=True, timeout=60, check=True).stdout
    assert env.is_new_enough(said)


def test_base_pythons_are_programs_that_are_not_qgis() -> None:
    assert all(os.path.isfile(path) and not env.is_qgis(path) for path in env.base_pythons())


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "pip: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
            "cannot be reached",
        ),
        ("The virtual environment was not created because ensurepip is not available.", "python3-venv"),
        ("ERROR: No matching distribution found for georeg==0.1.0", "no georeg"),
        ("first\nERROR: disk full", "disk full"),
        ("", "said nothing"),
    ],
)
def test_a_failed_installation_is_told_in_a_sentence(output: str, said: str) -> None:
    assert said in env.install_failure(output)


# --- runner --------------------------------------------------------------------------------------------------------------


def test_words_arrive_as_they_are() -> None:
    words = ["align", "a b.tif", "$HOME; rm -rf *", 'q"uote', "ümlaut", "--ref-nodata=-1", "new\nline"]
    assert run(words)["values"]["words"] == words


def test_lines_on_the_way_are_heard_in_their_order() -> None:
    heard: list[dict[str, Any]] = []
    run(["align"], on_line=heard.append)
    assert [said["type"] for said in heard[:3]] == ["hello", "progress", "log"]
    assert heard[2]["message"] == "hello ä"


@pytest.mark.parametrize(
    ("word", "code", "text"),
    [
        ("refuse", "MatchError", "3 tie points found, 9 needed; widen it"),
        ("garbage", "protocol", "no message"),
        ("die", "lost", r"exit code 7\): last words"),
    ],
)
def test_what_ends_a_job_without_a_result_is_raised(word: str, code: str, text: str) -> None:
    with pytest.raises(WorkerError, match=text) as caught:
        run([word])
    assert caught.value.code == code


@pytest.mark.parametrize(("how", "text"), [("new", "protocol 2"), ("broken", "no PROJ"), ("silent", "has no georeg")])
def test_a_worker_of_no_use_is_refused_before_any_job(how: str, text: str) -> None:
    with pytest.raises(WorkerError, match=text) as caught:
        run(["align"], how)
    assert caught.value.code == "setup"
    with pytest.raises(WorkerError, match=text):
        worker(how).hello()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("word", ["hang", "stubborn"])
def test_cancelling_takes_less_than_a_second_and_leaves_no_process(word: str, tmp_path: Path) -> None:
    child = tmp_path / "child"
    began: list[float] = []
    words = [word, str(child)] if word == "stubborn" else [word]

    def is_cancelled() -> bool:
        if heard and not began:
            began.append(time.monotonic())
        return bool(began)

    heard: list[Any] = []
    with pytest.raises(WorkerError, match="No file was changed") as caught:
        run(
            words,
            on_line=lambda said: heard.append(said) if said["type"] == "progress" else None,
            is_cancelled=is_cancelled,
        )
    assert time.monotonic() - began[0] < 1.5  # a second, and slack for a busy machine
    assert caught.value.code == "cancelled"
    assert ("asked to stop" in caught.value.message) == (word == "hang")
    if word == "stubborn":
        assert ends_within(int(child.read_text()), 1)


LEFT = """
import sys
sys.path.insert(0, {folder!r})
from georeg_qgis import runner
Popen = runner.subprocess.Popen
def told(*args, **kwargs):
    process = Popen(*args, **kwargs)
    print(process.pid, flush=True)
    return process
runner.subprocess.Popen = told
runner.Runner({python!r}).run({words!r}, lambda said: print(said["type"], flush=True), lambda: False)
"""


@pytest.fixture
def left(tmp_path: Path, shift_pair: tuple[str, str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that waits for a real worker in the middle of a job, and the pid of that worker."""
    words = ["align", *shift_pair, "-o", str(tmp_path / "aligned.tif"), "--max-points", "5000"]
    code = LEFT.format(folder=str(FOLDER.parent), python=sys.executable, words=words)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        while process.stdout.readline().strip() not in ("progress", ""):
            pass
        yield process, pid
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killing_qgis_leaves_no_worker(left: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    process, pid = left
    assert is_alive(pid)
    os.kill(process.pid, signal.SIGKILL)
    assert ends_within(pid, 2)
    assert not (tmp_path / "aligned.tif").exists()


def test_the_real_worker_greets_and_refuses() -> None:
    real = runner.Runner(sys.executable)
    assert real.hello()["self_test"]["ok"]
    with pytest.raises(WorkerError, match="does not exist") as caught:
        real.run(["match", "nowhere.tif", "nowhere2.tif", "-o", "x.json"], lambda _: None, lambda: False)
    assert caught.value.code == "InputError"


# --- parameters ----------------------------------------------------------------------------------------------------------

INPUTS = {
    "align": ["r.tif", "t.tif", "-o", "o.tif"],
    "match": ["r.tif", "t.tif", "-o", "o.json"],
    "fit": ["p.json", "-o", "o.json"],
    "assess": ["r.tif", "t.tif"],
    "apply": ["r.json", "-o", "o.tif"],
    "batch": ["r.tif", "t.tif", "-o", "folder"],
}


def other(parameter: params.Parameter) -> tuple[Any, Any]:
    """A value that is not the default, and what the command line makes of it."""
    if parameter.kind in ("int", "float"):
        return -3, -3
    if parameter.kind == "bool":
        return True, True
    if parameter.kind == "switch":
        return "no", False
    if parameter.kind == "choice":
        value = next(choice for choice in parameter.choices if choice != parameter.default)
        return value, value
    if parameter.kind == "ints":
        return [4, 2], (4, 2)
    if parameter.kind == "list":
        return ["A=1", "B=-2"], ["A=1", "B=-2"]
    return "-file", "-file"


CASES = [(verb, one) for verb in VERBS for one in params.parameters(SCHEMA, verb)]


@pytest.mark.parametrize(("verb", "parameter"), CASES, ids=lambda case: getattr(case, "name", case))
def test_the_command_line_reads_what_a_parameter_says(verb: str, parameter: params.Parameter) -> None:
    value, meant = other(parameter)
    words = params.words([parameter], {parameter.name: value})
    assert getattr(parsed([verb, *INPUTS[verb], *words]), parameter.name.lower()) == meant
    assert not params.words([parameter], {parameter.name: parameter.default})


@pytest.mark.parametrize("verb", VERBS)
def test_parameters_are_the_options_but_those_left_out(verb: str) -> None:
    options = {option["name"] for group in SCHEMA["verbs"][verb]["groups"] for option in group["options"]}
    known = params.parameters(SCHEMA, verb)
    assert {parameter.name.lower() for parameter in known} == options - params.LEFT_OUT
    assert len({parameter.label for parameter in known}) == len(known)
    assert not [parameter.help for parameter in known if re.search(r"--[a-z]", parameter.help)]


# --- outputs -------------------------------------------------------------------------------------------------------------


def test_figures_of_a_result_are_those_that_are_declared(shift_alignment: Any) -> None:
    values = shift_alignment.to_dict()
    found = outputs.figures("align", values)
    assert set(found) == set(outputs.FIGURES["align"])
    after = shift_alignment.after
    assert found["CE90_PX"] == after.ce90 / after.gsd
    assert found["RMSE_PX"] == after.rmse / after.gsd
    assert (found["SHIFT_EAST"], found["SHIFT_NORTH"]) == tuple(shift_alignment.displacement())
    assert set(outputs.figures("match", values["tie_points"])) == set(outputs.FIGURES["match"])


@given(st.lists(st.tuples(st.sampled_from(["coarse", "match", "refine", "write", "scenes", "?"]), st.integers(0, 5))))
def test_progress_never_goes_back(told: list[tuple[str, int]]) -> None:
    share = outputs.Share()
    ways = [share.at(stage, done, 5) for stage, done in told]
    assert ways == sorted(ways)
    assert all(0 <= way <= 1 for way in ways)
