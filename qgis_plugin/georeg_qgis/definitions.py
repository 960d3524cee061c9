"""Parameters of georeg's options as Processing has them, and what a user gave for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from .checks import path_of
from .compat import ADVANCED, DOUBLE, INTEGER
from .i18n import translated as tr
from .params import SWITCH, Parameter, parts_of, whole_numbers


def advanced(definition: QgsProcessingParameterDefinition, help_text: str = "") -> QgsProcessingParameterDefinition:
    """The same, shown only where the user asks for more, with its help."""
    definition.setFlags(definition.flags() | ADVANCED)
    definition.setHelp(help_text)
    return definition


def definition(parameter: Parameter, raster: str | None) -> QgsProcessingParameterDefinition:
    """Of an option; ``raster``: the parameter whose bands are chosen, where there is one."""
    name, label, default = parameter.name, tr(parameter.label), parameter.default
    if parameter.kind in ("int", "float"):
        kind = INTEGER if parameter.kind == "int" else DOUBLE
        made = QgsProcessingParameterNumber(name, label, kind, default, parameter.optional)
    elif parameter.kind == "bool":
        made = QgsProcessingParameterBoolean(name, label, bool(default))
    elif parameter.kind in ("choice", "switch"):
        chosen = SWITCH[0] if parameter.kind == "switch" else default
        made = QgsProcessingParameterEnum(name, label, list(parameter.choices), False, chosen, False, True)
    elif parameter.kind == "ints" and raster:
        made = QgsProcessingParameterBand(name, label, list(default), raster, True, True)
    elif parameter.kind == "ints":
        made = QgsProcessingParameterString(name, label, ",".join(map(str, default)))
    elif parameter.kind == "file":
        made = QgsProcessingParameterFile(name, label, optional=True)
    elif parameter.kind == "raster":
        made = QgsProcessingParameterRasterLayer(name, label, None, True)
    elif parameter.kind in ("html", "png"):
        made = QgsProcessingParameterFileDestination(name, label, f"*.{parameter.kind}", None, True, False)
    elif parameter.kind == "output":
        made = QgsProcessingParameterRasterDestination(name, label, None, True, False)
    else:
        made = QgsProcessingParameterString(name, label, default, parameter.kind == "list", True)
    return advanced(made, tr(parameter.help))


def value(
    algorithm: Any,
    parameter: Parameter,
    parameters: Mapping[str, Any],
    context: QgsProcessingContext,
) -> Any:
    """What was given for an option; None where it was left alone.

    Raises
    ------
    QgsProcessingException
        It cannot be what the option takes.
    """
    given, name = parameters.get(parameter.name), parameter.name
    if given is None or (hasattr(given, "isNull") and given.isNull()) or given == "":
        return None
    if parameter.kind == "int":
        return algorithm.parameterAsInt(parameters, name, context)
    if parameter.kind == "float":
        return algorithm.parameterAsDouble(parameters, name, context)
    if parameter.kind == "bool":
        return algorithm.parameterAsBool(parameters, name, context)
    if parameter.kind in ("choice", "switch"):
        return algorithm.parameterAsEnumString(parameters, name, context)
    if parameter.kind == "ints":
        return _bands(algorithm, parameter, parameters, context)
    if parameter.kind == "raster":
        return _path(algorithm.parameterAsRasterLayer(parameters, name, context), parameter.label)
    if parameter.kind in ("html", "png", "output"):
        return algorithm.file_for(parameters, name, context)
    text = algorithm.parameterAsString(parameters, name, context)
    if parameter.kind == "file":
        return os.path.abspath(text)
    return parts_of(text) if parameter.kind == "list" else text


def _bands(
    algorithm: QgsProcessingAlgorithm,
    parameter: Parameter,
    parameters: Mapping[str, Any],
    context: QgsProcessingContext,
) -> Any:
    if isinstance(algorithm.parameterDefinition(parameter.name), QgsProcessingParameterBand):
        return tuple(algorithm.parameterAsInts(parameters, parameter.name, context)) or None
    try:
        return whole_numbers(algorithm.parameterAsString(parameters, parameter.name, context))
    except ValueError as exc:
        raise QgsProcessingException(f"{tr(parameter.label)}: {exc}") from exc


def _path(layer: Any, label: str) -> str:
    if layer is None:
        raise QgsProcessingException(tr("{}: this layer cannot be opened; choose another").format(tr(label)))
    try:
        return path_of(layer)
    except ValueError as exc:
        raise QgsProcessingException(str(exc)) from exc
