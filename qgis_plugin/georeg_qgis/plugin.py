"""What QGIS loads: a menu entry, a button and the provider. The panel is made when it is first asked for."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QCoreApplication, QLocale, QObject, Qt, QTranslator
from qgis.PyQt.QtGui import QIcon

from .ahead import Ahead
from .compat import QAction
from .i18n import Catalogue, catalogue_for, translated
from .provider import ICON, GeoregProvider

MENU = "georeg"


class GeoregPlugin(QObject):
    """The plugin.

    Parameters
    ----------
    iface
        Of QGIS; None in qgis_process, which has no window.
    """

    def __init__(self, iface: Any) -> None:
        super().__init__()
        self._iface = iface
        self._provider: GeoregProvider | None = None
        self._actions: list[QAction] = []
        self._options: Any = None
        self._ahead: Ahead | None = None
        self._translator: QTranslator | None = None
        self.dock: Any = None
        """The panel, once it was opened."""

    def initProcessing(self) -> None:
        """Register the algorithms; all that qgis_process calls."""
        self._translate()
        self._provider = GeoregProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Called by QGIS when the plugin is switched on."""
        self.initProcessing()
        panel = QAction(QIcon(ICON), translated("Align a raster (georeg)"), self._iface.mainWindow())
        panel.setObjectName("georegPanel")
        panel.setCheckable(True)
        panel.triggered.connect(self.show_panel)
        setup = QAction(translated("Set up georeg…"), self._iface.mainWindow())
        setup.setObjectName("georegSetup")
        setup.triggered.connect(self.show_setup)
        self._actions = [panel, setup]
        for action in self._actions:
            self._iface.addPluginToRasterMenu(MENU, action)
        self._iface.addToolBarIcon(panel)
        from .settings import SetupFactory

        self._options = SetupFactory()
        self._iface.registerOptionsWidgetFactory(self._options)
        self._ahead = Ahead(self)

    def unload(self) -> None:
        """Called by QGIS when the plugin is switched off: nothing of it stays, and no worker."""
        if self._ahead is not None:
            self._ahead.deleteLater()
            self._ahead = None
        if self.dock is not None:
            self._iface.removeDockWidget(self.dock)
            self.dock.shut()
            self.dock.deleteLater()
            self.dock = None
        if self._actions:
            self._iface.removeToolBarIcon(self._actions[0])
        for action in self._actions:
            self._iface.removePluginRasterMenu(MENU, action)
            action.deleteLater()
        self._actions = []
        if self._options is not None:
            self._iface.unregisterOptionsWidgetFactory(self._options)
            self._options = None
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
        if self._translator is not None:
            QCoreApplication.removeTranslator(self._translator)
            self._translator = None

    def show_panel(self, shown: bool = True) -> None:
        """Open the panel, or close it."""
        if self.dock is None:
            from .dock import GeoregDock

            self.dock = GeoregDock(self._iface)
            self._iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
            self.dock.visibilityChanged.connect(self._actions[0].setChecked)
        self.dock.setVisible(shown)
        if shown:
            self.dock.raise_()

    def show_setup(self) -> None:
        """Open the page of QGIS's options where the Python of georeg is chosen."""
        from .settings import PAGE

        self._iface.showOptionsDialog(self._iface.mainWindow(), PAGE)

    def _translate(self) -> None:
        if self._translator is not None:
            return
        locale = str(QgsSettings().value("locale/userLocale", QLocale().name()) or "en")
        path = catalogue_for(locale)
        if path:
            self._translator = Catalogue(path, self)
            QCoreApplication.installTranslator(self._translator)
