"""The panel of georeg: one dock, in which a pair is chosen, aligned and judged. Nothing in it waits for georeg."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from typing import Any, Callable, Optional

from qgis.core import QgsCoordinateReferenceSystem, QgsProject
from qgis.gui import QgsDockWidget
from qgis.PyQt.QtCore import Qt, QUrl
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import QApplication, QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from .canvas_view import CanvasView
from .desk import Desk
from .exports import Exports
from .figures import Tie, checked, refusal, ties, verdict
from .history import History, Run
from .job import Job
from .many import Many
from .panel_inputs import InputsPanel
from .panel_options import OptionsPanel
from .panel_result import ResultPanel
from .panel_run import RunPanel
from .panel_where import WherePanel
from .params import in_labels, load_schema
from .preparing import Asked, files_of, pair_asked
from .settings import PAGE
from .undo_box import ask

Outcome = Optional[dict[str, Any]]


class GeoregDock(QgsDockWidget):
    """Inputs, options, the buttons that run georeg, and results.

    ``job`` runs georeg; a `Job` by default. Tests give one of their own with the same signals.
    """

    def __init__(self, iface: Any, parent: QWidget | None = None, job: Any | None = None) -> None:
        super().__init__("georeg", parent)
        self.setObjectName("GeoregDock")
        self._iface = iface
        self._schema = load_schema()
        self._folder = tempfile.mkdtemp(prefix="georeg-panel-")
        self.shown_ties: list[Tie] = []
        self._commands: list[str] = []
        self._judged: tuple = (None, None)
        self._outcome: Outcome = None
        self._then: Callable[[dict[str, Any]], None] = lambda _: None
        self._otherwise: Callable[[str, str, str], None] | None = None
        self.exports, self.where = Exports(self._folder, self), WherePanel(iface.mapCanvas())
        self.inputs = InputsPanel(self.exports, lambda everywhere: self.where.looked(everywhere=everywhere))
        self.options, self.running, self.result = OptionsPanel(self.where), RunPanel(), ResultPanel()
        self.view = CanvasView(iface.mapCanvas(), self)
        self.history, self.by_hand = History(), set()
        self.desk = Desk(self)
        self.many = Many(self)
        self.job = job if job is not None else Job(self)
        self._lay_out()
        self._connect()
        self._pair_changed()
        self.desk.project_read()

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 6, 4, 6)
        for part in (self.inputs, self.options, self.running, self.result, self.desk.list, self.many.panel):
            part.setSizePolicy(
                QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred
            )  # taller where it is narrower
            column.addWidget(part)
        column.addWidget(self.running.details)
        column.addStretch(1)
        scrolled = QScrollArea()
        scrolled.setWidgetResizable(True)
        scrolled.setFrameShape(QFrame.Shape.NoFrame)
        scrolled.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scrolled.setWidget(inside)
        self.setWidget(scrolled)
        self.setMinimumWidth(300)

    def _connect(self) -> None:
        self.inputs.changed.connect(self._other_pair)
        self.where.changed.connect(self.inputs.look)
        run, result, job = self.running, self.result, self.job
        run.align_asked.connect(self.align)
        run.check_asked.connect(self.check)
        run.cancel_asked.connect(self.cancel)
        self.exports.progress.connect(run.progressed)
        self.exports.said.connect(run.logged)
        result.swipe_toggled.connect(self.view.compare.swipe)
        result.flicker.connect(self.view.compare.flicker)
        result.compared.connect(self.view.compare_with)
        result.dots_toggled.connect(self.view.show_dots)
        result.worst_asked.connect(lambda: self.view.zoom_to_worst(self.shown_ties))
        result.tie_chosen.connect(self.view.zoom_to)
        result.undo_asked.connect(self.ask_undo)
        result.command_asked.connect(self.copy_command)
        result.report_asked.connect(self.open_report)
        result.setup_asked.connect(self.open_setup)
        self.view.compare.swipe_ended.connect(result.stop_comparing)
        job.hello.connect(lambda said: run.logged("info", f"georeg {said.get('georeg')}, Python {said.get('python')}"))
        job.progress.connect(run.progressed)
        job.logged.connect(run.logged)
        job.tiepoints.connect(self._tiepoints)
        job.succeeded.connect(self._succeeded)
        job.failed.connect(self._failed)
        job.ended.connect(self._ended)
        QgsProject.instance().cleared.connect(self._project_cleared)

    # --- what can be asked --------------------------------------------------------------------------------------------

    def align(self) -> None:
        """Align the pair and show what came of it."""
        asked = self._asked("align")
        if asked is not None:
            output = self.options.output_for(self.exports.place_of(asked.paths[1]))
            arguments = ["align", *asked.paths, "-o", output, *asked.words]
            self.prepare(asked.steps, lambda: self.begin(arguments, self.aligned))

    def check(self) -> None:
        """Measure how well the pair agrees; nothing is written."""
        asked = self._asked("assess")
        if asked is not None:
            arguments = ["assess", *asked.paths, *asked.words]
            self.prepare(asked.steps, lambda: self.begin(arguments, self.checked))

    def cancel(self) -> None:
        """Stop what runs."""
        if self.many.running:
            self.many.cancel()
        elif self.exports.running:
            self.exports.cancel()
        else:
            self.job.cancel()

    def ask_undo(self) -> None:
        """Ask whether the last result is to go, and its file with it."""
        if self.history.last is not None:
            ask(self, self.history.last, lambda delete: self.undo(delete=delete))

    def undo(self, *, delete: bool) -> None:
        """Take the last result off the map; the one before it is shown again."""
        self.view.release()
        self.result.clear()
        told = self.history.undo(delete=delete)
        self.running.logged("info", told)
        if self.history.last is not None:
            self.show_run(self.history.last)
        else:
            self.desk.cleared()
        self.exports.forget(files_of(self.history.runs))
        self.inputs.look()

    def copy_command(self) -> None:
        """Put the command line of the last run on the clipboard."""
        last = self.history.last
        if last is not None:
            QApplication.clipboard().setText("\n".join(last.commands))
            self.running.logged("info", self.tr("The command was copied."))

    def open_report(self) -> None:
        """Make the report of the last result, and open it in the browser."""
        last = self.history.last
        if last is None:
            return
        result = os.path.join(self._folder, "result.json")
        report = os.path.join(self._folder, f"{last.name}.html")
        with open(result, "w", encoding="utf-8") as file:
            json.dump(last.values, file)
        arguments = ["report", result, "-o", report, "--overwrite"]
        self.begin(arguments, lambda _: QDesktopServices.openUrl(QUrl.fromLocalFile(report)), beside=True)

    def open_setup(self) -> None:
        """The page of QGIS's options where the Python of georeg is chosen."""
        self._iface.showOptionsDialog(self._iface.mainWindow(), PAGE)

    def shut(self) -> None:
        """End what runs, and leave nothing on the canvas: the plugin is unloaded. Layers stay, for they are the user's now."""
        QgsProject.instance().cleared.disconnect(self._project_cleared)
        self.desk.release()
        self.job.close()
        self.exports.release()
        self.many.release()
        self.view.release()
        self.inputs.release()
        self.where.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- runs ---------------------------------------------------------------------------------------------------------

    def file(self, name: str) -> str:
        """A file that goes with the panel."""
        return os.path.join(self._folder, name)

    def in_labels(self, text: str) -> str:
        """A sentence of georeg with the options that it names called as they are on screen."""
        return in_labels(text, self._schema)

    def output_for(self, target: str) -> str:
        """Where the corrected copy of a target goes."""
        return self.options.output_for(self.exports.place_of(target))

    def words(self, verb: str) -> list[str] | None:
        """Words of the options; None where one of them cannot be used, which is then said."""
        try:
            return self.options.words(verb, everywhere=self.inputs.everywhere)
        except ValueError as exc:
            self.result.show_verdict(refusal("usage", str(exc), ""))
            return None

    def _asked(self, verb: str) -> Asked | None:
        """What is asked of the pair; None where that cannot be asked, which is then said."""
        try:
            return pair_asked(verb, self.inputs, self.where, self.options, self.exports)
        except ValueError as exc:
            self.result.show_verdict(refusal("usage", str(exc), ""))
            return None

    @property
    def busy(self) -> bool:
        """Whether something runs, of which there is one at a time."""
        return bool(self.job.running or self.exports.running or self.many.running)

    def wait(self) -> None:
        """Something begins: what was shown goes, and nothing else can be asked."""
        self.view.release()
        self.result.clear()
        self._show_running(True)

    def prepare(self, steps: list[Any], begin: Callable[[], None]) -> None:
        """Write what only QGIS can read, beside the window, and then begin."""
        if self.busy:
            return
        if not all(step.is_there for step in steps):
            self.wait()
        self._otherwise = None
        self.exports.start(steps, begin, self.not_prepared)

    def not_prepared(self, code: str, message: str, hint: str) -> None:
        """What georeg would need cannot be had: the run has ended."""
        self._outcome = None
        self._failed(code, message, hint)
        self._ended()

    def _show_running(self, running: bool) -> None:
        self.running.set_running(running)
        self.many.panel.set_running(running)
        self.result.setEnabled(not running)

    def begin(
        self,
        arguments: list[str],
        then: Callable[[dict[str, Any]], None],
        *,
        goes_on: bool = False,
        beside: bool = False,
        otherwise: Callable[[str, str, str], None] | None = None,
    ) -> None:
        """Run georeg; ``then`` hears the line of the result. ``beside``: what is shown stays.

        ``otherwise`` hears code, message and hint of a failure, which else takes the place of the verdict.
        """
        if self.job.running:
            return
        self._otherwise = otherwise
        if not goes_on:
            self.desk.hand.stop()
        if not beside and not goes_on:
            self.view.release()
            self.result.clear()
            self.shown_ties, self.by_hand = [], set()
        command = shlex.join(["georeg", *arguments])
        self._commands = [*self._commands, command] if goes_on else [command]
        self._then, self._outcome = then, None
        self.running.logged("info", command)
        if not goes_on:
            self._show_running(True)
        self.job.start(arguments)

    def _tiepoints(self, path: str) -> None:
        """Tie points as they are found, or those of the result. The file is the worker's, and goes with it."""
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            self.shown_ties = ties(text, self.by_hand)
        except (OSError, ValueError, KeyError) as exc:
            self.running.logged("warning", f"{path}: {exc}")
            return
        self.view.preview(self.shown_ties, text, self.inputs.reference.currentLayer())

    def _succeeded(self, line: dict[str, Any]) -> None:
        self._outcome = line

    def _failed(self, code: str, message: str, hint: str) -> None:
        said = f"{message}; {hint}" if hint else message
        self.running.logged("warning" if code == "cancelled" else "error", said)
        told = [self.in_labels(text) for text in (message, hint)]
        if self._otherwise is not None:
            self._otherwise(code, *told)
            return
        self.result.show_verdict(refusal(code, *told), setup=code == "setup")

    def _ended(self) -> None:
        """Idle again, unless another step follows."""
        outcome, then = self._outcome, self._then
        self._outcome = None
        if outcome is not None:
            then(outcome)
        if not self.job.running:
            self._show_running(False)
            if outcome is None and self.history.last is not None:
                self.result.show_undo()  # of the result before, which is still on the map
            self.view.end_preview()
            self.inputs.look()  # what was exported is there by now

    # --- results ------------------------------------------------------------------------------------------------------

    def aligned(self, line: dict[str, Any]) -> None:
        """A pair was aligned."""
        self.keep(line, str(line.get("output") or ""))

    def checked(self, line: dict[str, Any]) -> None:
        """A pair was measured."""
        self.keep(line, "")

    def keep(self, line: dict[str, Any], output: str, known: dict[str, Any] | None = None) -> None:
        """Remember a result, put it on the map and judge it; ``known``: fields of the run beyond those of the line."""
        values = line["values"]
        inputs = values["tie_points"]["inputs"]
        target = str(line.get("target") or inputs["target"])
        run = Run(
            name=os.path.splitext(os.path.basename(output or target))[0],
            target=target,
            output=output,
            commands=list(self._commands),
            values=values,
            ties=list(self.shown_ties),
            **(known or {}),
        )
        crs = QgsCoordinateReferenceSystem.fromWkt(values["tie_points"]["crs"])
        pair = (self.inputs.reference.currentLayer(), self.inputs.target.currentLayer()) if output else (None, None)
        run.put_on_map(crs, *pair)
        self.history.add(run)
        self.show_run(run)

    def show_run(self, run: Run) -> None:
        """A result in the panel."""
        self.shown_ties = run.ties
        values, left_out = run.values, len(run.left_out)
        self.result.show_verdict(verdict(values, left_out) if run.output else checked(values, left_out))
        self.result.show_figures(values, run.ties, left_out)
        self.result.show_ties(run.ties, values["unit"], values["after"]["gsd"])
        self.result.show_actions(aligned=bool(run.output))
        self.view.show_run(run, values["after"]["gsd"], str(self.result.against.currentData()))
        self.desk.run_shown(run)

    def _project_cleared(self) -> None:
        """Another project: results of the one before are not in it."""
        self.view.release()
        self.history = History()
        self.exports.forget(())
        self.many.clear()
        self.result.clear()
        self.desk.cleared()

    def _other_pair(self) -> None:
        """What was said of a run without a result was of another pair."""
        pair = (self.inputs.reference.currentLayer(), self.inputs.target.currentLayer())
        if pair != self._judged and not self.job.running and self.history.last is None:
            self.result.clear()
        self._judged = pair
        self._pair_changed()

    def _pair_changed(self) -> None:
        reference = self.inputs.reference.currentLayer()
        self.where.pair_changed(self.inputs.pair, reference.crs() if reference is not None else None)
        self.many.pair_changed()
        self.options.show_output(self.exports.place_of(self.inputs.paths()[1]))
        self.running.set_ready(self.inputs.pair.ready)
