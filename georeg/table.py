"""Tie points as a table, one row each: what GeoPackage, GeoJSON and CSV hold; a CSV can be read again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from georeg.errors import InputError
from georeg.fit import Fit, Role
from georeg.interchange import points_from_dict, points_to_dict
from georeg.models import FloatArray
from georeg.tie_points import Status, TiePoints

HEADING = "#georeg "
"""Starts the first line of a CSV: what holds for all its tie points, as JSON."""
_PER_POINT = ("ref_xy", "tgt_xy", "cov", "score", "status")
_NEEDED = ("status", "score", "ref_x", "ref_y", "tgt_x", "tgt_y", "cov_xx", "cov_xy", "cov_yy")

Columns = dict[str, NDArray[Any]]


def columns(points: TiePoints, fitted: Fit | None = None) -> Columns:
    """A column (N,) per field: map units of the working CRS, +x east, +y north; NaN is what is not known.

    ``role`` is what a tie point did for the fit, and ``kept`` where there is none. Residuals are of ``fitted``.
    """
    residual = np.full(points.ref_xy.shape, np.nan) if fitted is None else fitted.residual()
    sigma = np.sqrt(np.diagonal(points.cov, axis1=1, axis2=2))
    return {
        "id": np.arange(1, len(points) + 1),
        "status": _names(Status, points.status),
        "role": roles(points, fitted),
        **_pair("d", points.displacement),
        **_pair("residual_", residual),
        **_pair("sigma_", sigma),
        "score": points.score,
        **_pair("ref_", points.ref_xy),
        **_pair("tgt_", points.tgt_xy),
    }


def roles(points: TiePoints, fitted: Fit | None) -> NDArray[Any]:
    """(N,) fit, check, outlier or rejected; without a fit kept or rejected."""
    if fitted is None:
        return np.where(points.kept, "kept", "rejected").astype(object)
    return _names(Role, fitted.role)


def csv_text(points: TiePoints, fitted: Fit | None = None) -> str:
    """The table and the covariances, numbers exact to the last bit; `read_csv` gives back the tie points."""
    cov = points.cov
    held = columns(points, fitted) | {"cov_xx": cov[:, 0, 0], "cov_xy": cov[:, 0, 1], "cov_yy": cov[:, 1, 1]}
    shared = {name: value for name, value in points_to_dict(points).items() if name not in _PER_POINT}
    text = io.StringIO()
    text.write(HEADING + json.dumps(shared) + "\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(held)
    writer.writerows(zip(*(plain(column) for column in held.values()), strict=True))
    return text.getvalue()


def feature_collection(points: TiePoints, fitted: Fit | None, places: FloatArray) -> dict[str, Any]:
    """GeoJSON of the table, each row at one of the ``places`` (N, 2), or nowhere where that is not finite."""
    held = columns(points, fitted)
    rows = zip(*(plain(column) for column in held.values()), strict=True)
    finite = np.asarray(np.isfinite(places).all(axis=1)).tolist()
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": place} if known else None,
            "properties": dict(zip(held, row, strict=True)),
        }
        for place, known, row in zip(places.tolist(), finite, rows, strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}


def plain(column: NDArray[Any]) -> list[Any]:
    """Values of a column as Python has them, and None for what is not finite."""
    if np.issubdtype(column.dtype, np.floating):
        return [value if np.isfinite(value) else None for value in column.tolist()]
    return list(column.tolist())


def read_csv(text: str) -> TiePoints:
    """The tie points of `csv_text`, from which rows may have been taken or whose status may have been changed.

    Raises
    ------
    InputError
        It is another text, or columns are missing.
    """
    heading, _, table = text.partition("\n")
    try:
        shared = json.loads(_unquoted(heading).removeprefix(HEADING))
        rows = list(csv.DictReader(io.StringIO(table)))
        return points_from_dict(shared | _from_rows(rows))
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(
            f"not a table of tie points of georeg ({exc!r}); it needs its first line and the columns {', '.join(_NEEDED)}"
        ) from exc


def is_table(text: str) -> bool:
    """Whether a text starts like one of `csv_text`."""
    return _unquoted(text.partition("\n")[0]).startswith(HEADING)


def _unquoted(line: str) -> str:
    """The first line as it was: a spreadsheet cuts it into cells, quotes them and fills them up."""
    cells = ",".join(next(csv.reader([line]), [])) if line.startswith('"') else line
    return cells.rstrip(", \r")


def _from_rows(rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    read = {name: [_number(row[name]) for row in rows] for name in _NEEDED[1:]}
    xx, xy, yy = (read[f"cov_{name}"] for name in ("xx", "xy", "yy"))
    return {
        "status": [row["status"] for row in rows],
        "score": read["score"],
        "ref_xy": _stacked(read["ref_x"], read["ref_y"]).tolist(),
        "tgt_xy": _stacked(read["tgt_x"], read["tgt_y"]).tolist(),
        "cov": _stacked(xx, xy, xy, yy).reshape(-1, 2, 2).tolist(),
    }


def _number(text: str) -> float:
    return float(text) if text.strip() else float("nan")


def _stacked(*values: Sequence[float]) -> FloatArray:
    return np.stack([np.array(v, float) for v in values], axis=-1)


def _names(kind: type[Status] | type[Role], values: NDArray[np.uint8]) -> NDArray[Any]:
    return np.array([kind(v).name.lower() for v in values], object)


def _pair(name: str, xy: FloatArray) -> Columns:
    return {f"{name}x": np.asarray(xy[:, 0]), f"{name}y": np.asarray(xy[:, 1])}
