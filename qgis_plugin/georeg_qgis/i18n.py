"""Translation of what the plugin says, by catalogues of Qt Linguist that are read as they are: the plugin holds no binaries."""

from __future__ import annotations

import os
from typing import Any, Optional

from qgis.PyQt.QtCore import QCoreApplication, QObject, QTranslator, QXmlStreamReader

from .texts import translate_by

CONTEXT = "georeg"
FOLDER = os.path.join(os.path.dirname(__file__), "i18n")
Found = Optional[str]


class Catalogue(QTranslator):
    """The finished translations of a file ``georeg_LANGUAGE.ts``, by context and text."""

    def __init__(self, path: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._known: dict[tuple[str, str], str] = {}
        with open(path, encoding="utf-8") as file:
            self._read(QXmlStreamReader(file.read()))

    def translate(self, context: str, text: str, disambiguation: Any = None, n: int = -1) -> Found:
        """Called by Qt; None where there is none."""
        return self._known.get((context, text))

    def isEmpty(self) -> bool:
        """Called by Qt."""
        return not self._known

    def _read(self, xml: QXmlStreamReader) -> None:
        context = source = ""
        while not xml.atEnd():
            xml.readNext()
            if xml.isStartElement() and xml.name() == "name":
                context = xml.readElementText()
            elif xml.isStartElement() and xml.name() == "source":
                source = xml.readElementText()
            elif xml.isStartElement() and xml.name() == "translation":
                finished = not xml.attributes().hasAttribute("type")
                text = xml.readElementText()
                if finished and text:
                    self._known[context, source] = text


def catalogue_for(locale: str, folder: str = FOLDER) -> str:
    """The file for a language such as ``de_AT``, or for ``de`` where there is none; empty where there is neither."""
    names = (os.path.join(folder, f"{CONTEXT}_{name}.ts") for name in (locale, locale.split("_")[0]))
    return next((path for path in names if os.path.exists(path)), "")


def translated(text: str) -> str:
    """A text in the language of QGIS, where the plugin has it."""
    return QCoreApplication.translate(CONTEXT, text)


translate_by(translated)
