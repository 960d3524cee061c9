"""The options of ``align`` as a form, built from the same descriptions as the Processing algorithms."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from qgis.PyQt.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from .i18n import translated as tr
from .params import Parameter, parameters, parts_of, whole_numbers, words

LEFT_OUT = ("MAX_SHIFT_M", "AREA", "REF_MASK", "TGT_MASK", "OVERWRITE")
"""What the panel has elsewhere, or that would replace a file."""
_NUMBERS = {"int": int, "float": float}


class OptionsForm(QWidget):
    """Every option of ``align`` with its help; what is left alone is left to georeg.

    The fields are made when they are first looked at: fifty widgets take a third of a second, and most people want none.
    """

    def __init__(self, schema: Mapping[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._schema = schema
        self._texts: dict[str, str] = {}
        self._fields: dict[str, QWidget] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    def build(self) -> None:
        """Make the fields, if they are not there yet."""
        if self._fields:
            return
        known = {parameter.name: parameter for parameter in parameters(self._schema, "align")}
        for group in self._schema["verbs"]["align"]["groups"]:
            names = [option["name"].upper() for option in group["options"]]
            shown = [known[name] for name in names if name in known and name not in LEFT_OUT]
            if shown:
                self._add(group["title"].rstrip("."), shown)
        self.set_values(self._texts)

    def _add(self, title: str, shown: list[Parameter]) -> None:
        """A heading that may be broken, where that of a QGroupBox would widen the panel, and its fields."""
        heading = QLabel(f"<b>{html.escape(tr(title))}</b>")
        heading.setWordWrap(True)
        heading.setContentsMargins(0, 8, 0, 0)
        self._column.addWidget(heading)
        grid = QGridLayout()
        grid.setColumnStretch(0, 3)
        grid.setColumnStretch(1, 2)
        for row, parameter in enumerate(shown):
            self._fields[parameter.name] = field = _field(parameter)
            label = QLabel(tr(parameter.label))
            label.setWordWrap(True)
            label.setToolTip(field.toolTip())
            grid.addWidget(label, row, 0)
            grid.addWidget(field, row, 1)
        self._column.addLayout(grid)

    def words(self, verb: str, group: str = "") -> list[str]:
        """Words for the options of a verb, or for those of one group of them, that are not at their defaults.

        Raises
        ------
        ValueError
            A field holds what its option cannot be; the text names it.
        """
        ours = {parameter.name for parameter in parameters(self._schema, "align")}.difference(LEFT_OUT)
        groups = self._schema["verbs"][verb]["groups"]
        ours &= {o["name"].upper() for one in groups if group in ("", one["name"]) for o in one["options"]}
        known = [parameter for parameter in parameters(self._schema, verb) if parameter.name in ours]
        return words(known, {parameter.name: self._value(parameter) for parameter in known})

    def set_values(self, values: Mapping[str, str]) -> None:
        """Put values into fields, by name; an empty text is the default."""
        self._texts.update(values)
        for name, text in values.items():
            field = self._fields.get(name)
            if isinstance(field, QCheckBox):
                field.setChecked(text == "yes")
            elif isinstance(field, QComboBox):
                field.setCurrentIndex(max(0, field.findData(text)))
            elif field is not None:
                field.setText(text)

    def reset(self) -> None:
        """Every option at its default."""
        self.set_values(dict.fromkeys([*self._texts, *self._fields], ""))

    def _value(self, parameter: Parameter) -> Any:
        """What a field says, as `params.words` takes it; None is the default."""
        field = self._fields.get(parameter.name)
        if isinstance(field, QCheckBox):
            return field.isChecked()
        if isinstance(field, QComboBox):
            return field.currentData() or None
        text = (self._texts.get(parameter.name, "") if field is None else str(field.text())).strip()
        if not text:
            return None
        try:
            if parameter.kind == "ints":
                return whole_numbers(text)
            if parameter.kind == "list":
                return parts_of(text)
            return _NUMBERS.get(parameter.kind, str)(text)
        except ValueError as exc:
            raise ValueError(f"{parameter.label}: {text!r} cannot be used ({exc})") from exc


def _field(parameter: Parameter) -> QWidget:
    """A widget for one option."""
    default = parameter.default
    if parameter.kind == "bool":
        field: QWidget = QCheckBox()
    elif parameter.choices:
        field = QComboBox()
        field.setMinimumContentsLength(6)
        field.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        first = parameter.choices[0] if default is None else str(default)
        field.addItem(first, "")
        for choice in parameter.choices:
            if choice != first:
                field.addItem(choice, choice)
    else:
        field = QLineEdit()
        field.setMinimumWidth(60)
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else str("" if default is None else default)
        field.setPlaceholderText(shown or tr("automatic"))
    field.setToolTip(f"<p>{tr(parameter.help)}</p><p><code>{parameter.flag}</code></p>")
    return field
