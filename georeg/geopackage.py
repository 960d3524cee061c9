"""Tie points and residual arrows for maps: GeoPackage, styled for QGIS, and GeoJSON."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS

from georeg.errors import InputError, OutputError
from georeg.files import write_bytes
from georeg.fit import Fit
from georeg.initial import PIXELS
from georeg.models import FloatArray
from georeg.placement import transform_xy
from georeg.styles import arrows_qml, points_qml
from georeg.table import Columns, columns, feature_collection
from georeg.tie_points import TiePoints

DRAWN_SHARE = 0.06
"""The longer residual arrows are drawn this long, as a share of the diagonal of the map."""
LONGEST_SHARE = 0.12
"""And none longer than this: an outlier would cross the whole map."""
_NOTHING_PX = 1e-6
_WGS84 = CRS.from_epsg(4326)


def write_geopackage(points: TiePoints, fitted: Fit | None, path: str) -> float | None:
    """Write the layers ``tie_points`` and, of a fit, ``residual_arrows``, in the working CRS, with styles for QGIS.

    Returns
    -------
    exaggeration
        How many times as long as the residuals the arrows are; None without a fit.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    fields, exaggeration = columns(points, fitted), None
    layers: list[tuple[str, Any, str, Columns, str]] = [
        ("tie_points", shapely.points(points.ref_xy), "Point", fields, points_qml(_occurring(fields))),
    ]
    if fitted is not None:
        lines, arrows, exaggeration = residual_arrows(fitted)
        style = arrows_qml(exaggeration, set(arrows["role"]))
        layers.append(("residual_arrows", lines, "LineString", arrows, style))
    with tempfile.TemporaryDirectory(prefix="georeg-") as folder:
        made = os.path.join(folder, "tie_points.gpkg")
        for name, geometry, kind, held, _ in layers:
            _write_layer(made, name, geometry, kind, held, points.crs)
        _write_layer(made, "layer_styles", None, None, _styles([(name, qml) for name, *_, qml in layers]), None)
        with open(made, "rb") as file:
            write_bytes(file.read(), path)
    return exaggeration


def residual_arrows(fitted: Fit) -> tuple[NDArray[Any], Columns, float]:
    """Lines from the reference's points along their residuals, their fields, and how many times as long most are drawn."""
    residual = fitted.residual()
    length = np.hypot(*residual.T)
    used = fitted.points.kept & np.isfinite(length)
    extent = _diagonal(fitted.points.ref_xy[used])
    typical = float(np.percentile(length[used], 90)) if used.any() else 0.0
    most = _round(DRAWN_SHARE * extent / typical) if typical > _NOTHING_PX * fitted.points.gsd else 1.0
    exaggeration = np.minimum(most, LONGEST_SHARE * extent / np.maximum(length[used], 1e-300))
    start = fitted.points.ref_xy[used]
    ends = np.stack([start, start + exaggeration[:, None] * residual[used]], axis=1)
    held = columns(fitted.points, fitted)
    kept = {name: held[name][used] for name in ("id", "role", "residual_x", "residual_y")}
    return shapely.linestrings(ends), kept | {"residual": length[used], "exaggeration": exaggeration}, most


def geojson_text(points: TiePoints, fitted: Fit | None = None) -> str:
    """A FeatureCollection of the tie points in WGS 84 (RFC 7946), at the reference's places; its fields keep map units.

    Raises
    ------
    InputError
        The tie points are in pixels of a plain picture, which lie nowhere on Earth.
    """
    crs = CRS.from_wkt(points.crs)
    if crs == PIXELS:
        raise InputError(
            "pixels of a plain picture have no longitude and latitude; give a name ending in .csv or .gpkg"
        )
    places = transform_xy(points.ref_xy, crs, _WGS84)
    return json.dumps(feature_collection(points, fitted, np.round(places, 9)), indent=1) + "\n"


def _occurring(fields: Columns) -> set[str]:
    by_status = (fields["role"] == "rejected") | (fields["status"] == "pinned")
    return set(np.where(by_status, fields["status"], fields["role"]))


def _diagonal(xy: FloatArray) -> float:
    return float(np.hypot(*np.ptp(xy, axis=0))) if len(xy) else 0.0


def _round(factor: float) -> float:
    """Whichever of 1, 2, 5, 10, 20, ... is nearest to ``factor``, by ratio."""
    ten = 10.0 ** np.floor(np.log10(max(factor, 1.0)))
    return float(ten * min((1, 2, 5, 10), key=lambda step: abs(np.log(step * ten / max(factor, 1.0)))))


def _styles(named: list[tuple[str, str]]) -> Columns:
    """Rows of the table in which QGIS looks for the style of a layer."""
    n = len(named)
    texts = {
        "f_table_catalog": [""] * n, "f_table_schema": [""] * n, "f_table_name": [name for name, _ in named],
        "f_geometry_column": ["geom"] * n, "styleName": [name for name, _ in named],
        "styleQML": [qml for _, qml in named], "styleSLD": [""] * n,
    }  # fmt: skip
    held: Columns = {name: np.array(values, object) for name, values in texts.items()}
    held["useAsDefault"] = np.ones(n, bool)
    held |= {name: np.array([""] * n, object) for name in ("description", "owner", "ui")}
    return held | {"update_time": np.array(["2000-01-01T00:00:00"] * n, "datetime64[ms]")}


def _write_layer(
    path: str, name: str, geometry: NDArray[Any] | None, kind: str | None, held: Columns, crs: str | None
) -> None:
    append = os.path.exists(path)
    try:
        pyogrio.raw.write(
            path,
            None if geometry is None else shapely.to_wkb(geometry),
            list(held.values()),
            list(held),
            layer=name,
            driver="GPKG",
            geometry_type=kind,
            crs=crs,
            append=append,
            **({} if append else {"dataset_options": {"VERSION": "1.2"}}),
        )
    except (DataSourceError, DataLayerError) as exc:
        raise OutputError(f"the layer {name} cannot be written ({exc}); please report this") from exc
