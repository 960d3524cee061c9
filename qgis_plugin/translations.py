"""The texts of the plugin as a catalogue for translators: ``georeg_qgis/i18n/georeg.ts``, the same bytes each time.

    python qgis_plugin/translations.py

A translation is a copy ``georeg_LANGUAGE.ts``, worked on with Qt Linguist; the plugin reads it as it is.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

FOLDER = Path(__file__).resolve().parent / "georeg_qgis"
CATALOGUE = FOLDER / "i18n" / "georeg.ts"
CONTEXT = "georeg"
"""Of all texts but those that a widget translates by its own method, whose context is its class."""
TABLES = ("ROLES", "_WORDS", "_STAGES", "TITLE", "HELP", "FIGURES", "_ACCURACY")
"""Names of tables and attributes whose texts are translated where they are shown."""

Text = tuple[str, str]
"""Context and text."""


def texts() -> list[Text]:
    """All of them, each once."""
    found: set[Text] = set()
    for path in sorted(FOLDER.glob("*.py")):
        found |= set(_of(ast.parse(path.read_text(encoding="utf-8"))))
    found |= {(CONTEXT, text) for text in _of_options()}
    return sorted(text for text in found if any(letter.isalpha() for letter in text[1]))


def _of(tree: ast.Module) -> Iterator[Text]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            own = {ast.unparse(base) for base in node.bases}
            context = CONTEXT if any("Algorithm" in base or base == "_OfTwoRasters" for base in own) else node.name
            for inner in ast.walk(node):
                if _is_call(inner, "self.tr"):
                    yield from ((context, text) for text in _first(inner))
        elif _is_call(node, "tr", "translated"):
            yield from ((CONTEXT, text) for text in _first(node))
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_file_output"
        ):
            yield from ((CONTEXT, text) for text in _literals(node.args[1]))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(one, ast.Name) and one.id in TABLES for one in targets):
                yield from ((CONTEXT, text) for text in _shown(node.value))


def _is_call(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in names


def _first(node: ast.AST) -> list[str]:
    """Texts of the first argument, of which there are several where it is a choice."""
    return _literals(node.args[0]) if isinstance(node, ast.Call) and node.args else []


def _literals(node: ast.AST) -> list[str]:
    return [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def _shown(node: ast.AST) -> list[str]:
    """Texts of a table: values, not keys; of tuples the text that is read, not a colour or a kind."""
    if isinstance(node, ast.Dict):
        return [text for value in node.values for text in _shown(value)]
    if isinstance(node, ast.Tuple):
        return [text for one in node.elts for text in _shown(one) if " " in text or one is node.elts[0]]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _of_options() -> Iterator[str]:
    """Labels and help of options, which are those of georeg's command line."""
    sys.path.insert(0, str(FOLDER.parent))
    from georeg_qgis.params import load_schema, parameters

    schema = load_schema()
    for verb, known in schema["verbs"].items():
        yield from (group["title"].rstrip(".") for group in known["groups"])
        for parameter in parameters(schema, verb):
            yield from (parameter.label, parameter.help)


def catalogue() -> str:
    """The file's text."""
    root = ElementTree.Element("TS", version="2.1", sourcelanguage="en")
    contexts: dict[str, ElementTree.Element] = {}
    for context, text in texts():
        if context not in contexts:
            contexts[context] = ElementTree.SubElement(root, "context")
            ElementTree.SubElement(contexts[context], "name").text = context
        message = ElementTree.SubElement(contexts[context], "message")
        ElementTree.SubElement(message, "source").text = text
        ElementTree.SubElement(message, "translation", type="unfinished")
    ElementTree.indent(root, " ")
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n{body}\n'


if __name__ == "__main__":
    CATALOGUE.parent.mkdir(exist_ok=True)
    CATALOGUE.write_text(catalogue(), encoding="utf-8", newline="\n")
    print(f"{CATALOGUE}: {len(texts())} texts")
