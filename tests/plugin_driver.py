"""What the plugin does inside of QGIS's own Python, without a desktop: prints one JSON object. Run by test_plugin_inside.py."""

import json
import os
import sys
import time

folder, fake, reference, target, out = sys.argv[1:6]
sys.path.insert(0, folder)

from qgis.core import (  # noqa: E402
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QEventLoop, QTimer  # noqa: E402
from qgis.PyQt.QtWidgets import QMainWindow  # noqa: E402

application = QgsApplication([], True)
application.initQgis()

from georeg_qgis import classFactory  # noqa: E402
from georeg_qgis.algorithms import Align, Batch  # noqa: E402
from georeg_qgis.installer import Installer  # noqa: E402
from georeg_qgis.job import Job  # noqa: E402
from georeg_qgis.settings import SetupFactory  # noqa: E402

found = {}


def wait(signal, seconds=20.0):
    """Let the window live until a signal comes."""
    loop = QEventLoop()
    signal.connect(lambda *_: loop.quit())
    QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec_() if hasattr(loop, "exec_") else loop.exec()


def heard(words, how="well", cancel_at="", command=None):
    """What a job said, in its order, and how long it took to end once it was cancelled."""
    job, said, times = Job(command=command or [sys.executable, fake, how]), [], {}
    for name in ("hello", "progress", "logged", "tiepoints", "succeeded", "failed", "ended"):
        getattr(job, name).connect(lambda *given, name=name: said.append([name, *given]))

    def cancel(*_):
        times["began"] = time.monotonic()
        job.cancel()

    if cancel_at:
        getattr(job, cancel_at).connect(cancel)
    job.start(words)
    pid = job._process.processId()
    wait(job.ended)
    took = time.monotonic() - times.get("began", time.monotonic())
    return {"said": said, "took": took, "pid": pid, "running": job.running}


found["echo"] = heard(["align", "a b.tif"])
found["refuse"] = heard(["refuse"])
found["die"] = heard(["die"])
found["garbage"] = heard(["garbage"])
found["broken"] = heard(["align"], "broken")
found["hang"] = heard(["hang"], cancel_at="progress")
found["stubborn"] = heard(["stubborn"], cancel_at="progress")
found["missing"] = heard(["align"], command=["/nowhere/python3"])
found["real"] = heard(
    ["align", reference, target, "-o", out], command=[os.environ["GEOREG_PYTHON"], "-m", "georeg.cli", "serve"]
)


class Impatient(QgsProcessingFeedback):
    """Cancels as soon as it hears of progress."""

    def setProgressText(self, text):  # noqa: N802
        """Of a stage."""
        if not self.isCanceled():
            self.at = time.monotonic()
            self.cancel()


algorithm, context, feedback = Align(), QgsProcessingContext(), Impatient()
algorithm.initAlgorithm()
given = {"REFERENCE": reference, "TARGET": target, "OUTPUT": out + ".cancelled.tif"}
try:
    algorithm.run(given, context, feedback, {}, False)
    found["cancelled"] = ["it went on"]
except QgsProcessingException as exc:
    found["cancelled"] = [str(exc), time.monotonic() - feedback.at]

web = QgsRasterLayer("type=xyz&url=http://localhost:1/{z}/{x}/{y}.png&zmax=1", "<b>web</b>", "wms")
checks = {"web": {**given, "TARGET": web}, "good": given}
shown = QgsRasterLayer(target, "shown")
shown.setCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
checks["another CRS in QGIS"] = {**given, "TARGET": shown}
for name, values in checks.items():
    found[f"check {name}"] = algorithm.checkParameterValues(values, context)
batch = Batch()
batch.initAlgorithm()
found["check batch"] = batch.checkParameterValues(
    {"REFERENCE": reference, "TARGETS": [reference], "OUTPUT": out + "s"}, context
)


def model():
    """Match, and fit to what was matched, with a seed that is the number of tie points: a file and a figure are passed on."""
    made, source = QgsProcessingModelAlgorithm("model", "test"), QgsProcessingModelChildParameterSource
    match, fit = (QgsProcessingModelChildAlgorithm(f"georeg:{verb}") for verb in ("match", "fit"))
    match.setChildId("match")
    match.addParameterSources("REFERENCE", [source.fromStaticValue(reference)])
    match.addParameterSources("TARGET", [source.fromStaticValue(target)])
    fit.setChildId("fit")
    fit.addParameterSources("POINTS", [source.fromChildOutput("match", "OUTPUT")])
    fit.addParameterSources("SEED", [source.fromExpression("@match_N_TIE_POINTS")])
    kept = QgsProcessingModelOutput("FIT")
    kept.setChildOutputName("OUTPUT")
    kept.setChildId("fit")
    fit.setModelOutputs({"FIT": kept})
    for child in (match, fit):
        made.addChildAlgorithm(child)
    made.initAlgorithm({})
    return made


class Iface:
    """What the plugin asks of QGIS's window."""

    def __init__(self):
        self.window, self.asked = QMainWindow(), []

    def mainWindow(self):  # noqa: N802
        """A window."""
        return self.window

    def __getattr__(self, name):
        return lambda *given: self.asked.append(name)


iface = Iface()
registry = QgsApplication.processingRegistry()
for turn in ("first", "again"):
    plugin = classFactory(iface)
    plugin.initGui()
    if turn == "again":
        given = {"fit:FIT": out + ".fit.json"}
        ran, fine = model().run(given, QgsProcessingContext(), QgsProcessingFeedback(), {}, False)
        with open(out + ".fit.json", encoding="utf-8") as file:
            found["model"] = [fine, ran, json.load(file)["model"]["kind"]]
    found[f"provider {turn}"] = sorted(one.id() for one in registry.providerById("georeg").algorithms())
    plugin.unload()
    found[f"gone {turn}"] = registry.providerById("georeg") is None
found["asked"] = iface.asked

page = SetupFactory().createWidget(iface.window)
wait(page.setup._job.ended)
found["setup"] = page.setup.state.text()
page.setup.close_processes()

installer, said = Installer(), []
installer.finished.connect(said.append)
installer.said.connect(lambda line: None)
made = out + "-environment"
installer.install(made, "/nowhere/georeg-0.0-py3-none-any.whl", [os.environ["GEOREG_PYTHON"]])
wait(installer.finished, 120)
installer.install(made, "x", ["/nowhere/python3"])
wait(installer.finished)
installer.install(made, "x", [os.environ["GEOREG_PYTHON"]])
QTimer.singleShot(50, installer.cancel)
wait(installer.finished)
found["installer"] = [*said, os.path.exists(made)]
print(json.dumps(found))
sys.stdout.flush()
os._exit(0)
