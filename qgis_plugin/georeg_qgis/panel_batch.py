"""Many targets to one reference: which, where to, and a table of what became of each."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence

from qgis.core import QgsProject, QgsProviderRegistry
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import QModelIndex, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from .folds import fold
from .layer_picker import LayerPicker
from .pairs import OUTPUT_MARK
from .scene_table import SceneTable
from .scenes import SceneRow, headline, output_folder, rasters_in
from .sources import path_of

_WIDEST_PX = 180
"""Of a column, or a long name would push the others out of sight."""
_PATH = Qt.ItemDataRole.UserRole


class BatchPanel(QWidget):
    """A folded section: a list of targets, the folder of what is written, a button, and the table afterwards."""

    asked = pyqtSignal()
    row_chosen = pyqtSignal(object)
    """A `SceneRow`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.reference = ""
        """Path of the reference, which is no target; empty where it is not known."""
        self._running = self._is_own_folder = False
        self.fold = fold(self.tr("Many targets"), "batch")
        inside = QVBoxLayout(self.fold)
        told = QLabel(self.tr("All are aligned to the reference above, each by itself, with the same options."))
        told.setWordWrap(True)
        inside.addWidget(told)
        inside.addLayout(self._targets_part())
        inside.addLayout(self._run_part())
        inside.addWidget(self._table_part())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.fold)
        self._changed()

    def _targets_part(self) -> QVBoxLayout:
        self.list = QListWidget()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFixedHeight(96)
        self.list.itemSelectionChanged.connect(self._changed)
        self.layers_button = QPushButton(self.tr("Layers…"))
        self.layers_button.clicked.connect(lambda *_: self.pick_layers())
        self.files_button = QPushButton(self.tr("Files…"))
        self.files_button.clicked.connect(lambda *_: self._pick_files())
        self.folder_button = QPushButton(self.tr("Folder…"))
        self.folder_button.clicked.connect(lambda *_: self._pick_folder())
        self.remove_button = QPushButton(self.tr("Remove"))
        self.remove_button.clicked.connect(lambda *_: self._remove())
        buttons = QGridLayout()
        buttons.setSpacing(2)
        many = (self.layers_button, self.files_button, self.folder_button, self.remove_button)
        for k, button in enumerate(many):
            button.setMinimumWidth(20)
            buttons.addWidget(button, 0, k)
            buttons.setColumnStretch(k, 1)
        column = QVBoxLayout()
        column.addLayout(buttons)
        column.addWidget(self.list)
        return column

    def _run_part(self) -> QVBoxLayout:
        self.folder = QgsFileWidget()
        self.folder.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.folder.setDialogTitle(self.tr("Folder of the aligned rasters"))
        row = QHBoxLayout()
        row.addWidget(QLabel(self.tr("Into folder")))
        row.addWidget(self.folder, 1)
        self.run_button = QPushButton()
        self.run_button.clicked.connect(lambda *_: self.asked.emit())
        column = QVBoxLayout()
        column.addLayout(row)
        column.addWidget(self.run_button)
        return column

    def _table_part(self) -> QWidget:
        self.outcome = QWidget()
        column = QVBoxLayout(self.outcome)
        column.setContentsMargins(0, 0, 0, 0)
        self.headline = QLabel()
        self.headline.setWordWrap(True)
        self.model = SceneTable(self)
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setDefaultSectionSize(22)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        self.table.setMinimumHeight(150)
        self.table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setResizeContentsPrecision(30)
        header.setMaximumSectionSize(_WIDEST_PX)
        header.setStretchLastSection(True)
        self.table.clicked.connect(self._clicked)
        self.why = QLabel()
        self.why.setWordWrap(True)
        self.why.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        for widget in (self.headline, self.table, self.why):
            column.addWidget(widget)
        self.outcome.setVisible(False)
        return self.outcome

    # --- targets ------------------------------------------------------------------------------------------------------

    def targets(self) -> list[str]:
        """Their paths, without the reference."""
        paths = [str(self.list.item(k).data(_PATH)) for k in range(self.list.count())]
        return [path for path in paths if not _same(path, self.reference)]

    def add(self, paths: Iterable[str]) -> None:
        """Add targets; those that are there already stay as they are."""
        known = {str(self.list.item(k).data(_PATH)) for k in range(self.list.count())}
        for path in paths:
            if path and path not in known:
                item = QListWidgetItem(os.path.basename(path) or path)
                item.setData(_PATH, path)
                item.setToolTip(path)
                self.list.addItem(item)
                known.add(path)
        self._changed()

    def add_folder(self, folder: str) -> None:
        """Add the rasters that lie in a folder, but not in folders of it."""
        self.add(rasters_in(folder, but=self.reference))

    def set_reference(self, path: str) -> None:
        """Another reference, which is no target."""
        self.reference = path
        self._changed()

    def output_folder(self) -> str:
        """What was chosen, or a folder beside the first target that is not there yet."""
        chosen = str(self.folder.filePath()).strip()
        targets = self.targets()
        return chosen or (output_folder(targets[0]) if targets else "")

    def pick_layers(self) -> LayerPicker:
        """Ask which layers of the project are targets; those that are no files, and what the plugin made, are none."""
        layers = [one for one in QgsProject.instance().mapLayers().values() if not one.customProperty(OUTPUT_MARK)]
        known = sorted((layer.name(), path_of(layer)) for layer in layers if path_of(layer))
        picker = LayerPicker([one for one in known if not _same(one[1], self.reference)], self.add, self)
        picker.open()
        return picker

    def _pick_files(self) -> None:
        filters = QgsProviderRegistry.instance().fileRasterFilters()
        paths, _ = QFileDialog.getOpenFileNames(self, self.tr("Open targets"), self._near(), filters)
        self.add(paths)

    def _pick_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self.tr("Folder of targets"), self._near())
        if folder:
            self.add_folder(folder)

    def _near(self) -> str:
        return os.path.dirname((self.targets() or [self.reference])[0])

    def _remove(self) -> None:
        """Those that are selected, or all."""
        rows = sorted(self.list.row(item) for item in self.list.selectedItems()) or range(self.list.count())
        for row in reversed(rows):
            self.list.takeItem(row)
        self._changed()

    # --- a run --------------------------------------------------------------------------------------------------------

    def begin(self, folder: str) -> None:
        """A run begins; if it is cancelled, the same button goes on in the same folder, where what is done is left alone."""
        self._is_own_folder = not str(self.folder.filePath()).strip() or self._is_own_folder
        self.folder.setFilePath(folder)
        self.clear_rows()

    def set_running(self, running: bool) -> None:
        """Nothing can be asked while something runs."""
        self._running = running
        self._changed()

    def show_rows(self, rows: Sequence[SceneRow]) -> None:
        """What became of each, at the end; the next run has a folder of its own, unless one was chosen."""
        self.model.set_rows(rows)
        if self._is_own_folder:
            self.folder.setFilePath("")
            self._is_own_folder = False
            self._changed()
        worst = rows[0].grade if rows else "good"
        colour = {"bad": "#b3261e", "care": "#8a5a00", "good": "#1a6b2b"}[worst]
        text = html.escape(headline(rows))
        folders = {os.path.dirname(row.output) for row in rows if row.output}
        where = self.tr("Written into {folder}").format(folder=", ".join(folders)) if folders else ""
        where = html.escape(where).replace("/", "/\u200b").replace("\\", "\\\u200b")  # a long path may be broken
        self.headline.setText(f'<b style="color:{colour}">{text}</b><br>{where}')
        self.outcome.setVisible(True)
        self.why.setText(self.tr("Click a row to see it on the map."))
        self.why.setVisible(True)

    def clear_rows(self) -> None:
        """Nothing to show."""
        self.model.set_rows(())
        self.outcome.setVisible(False)

    def _clicked(self, index: QModelIndex) -> None:
        row = self.model.rows[index.row()]
        self.why.setText(f"{row.name}: {row.verdict}. {row.why}".strip())
        self.row_chosen.emit(row)

    def _changed(self) -> None:
        n = len(self.targets())
        self.run_button.setText(self.tr("Align {n} targets").format(n=n) if n != 1 else self.tr("Align 1 target"))
        self.run_button.setEnabled(n > 0 and not self._running)
        some = bool(self.list.selectedItems())
        self.remove_button.setText(self.tr("Remove") if some or not self.list.count() else self.tr("Clear"))
        self.remove_button.setEnabled(self.list.count() > 0)
        folder = self.output_folder()
        self.folder.lineEdit().setPlaceholderText(folder)


def _same(one: str, other: str) -> bool:
    return bool(other) and os.path.realpath(one) == os.path.realpath(other)
