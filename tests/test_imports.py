"""Imports run one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import georeg
from georeg.interchange import points_to_dict
from georeg.tie_points import Inputs, TiePoints

ROOT = Path(georeg.__file__).parent
ORDER = [
    "errors", "lazily", "memory", "options", "verb_list", "parser", "verb_schema", "tie_points", "neighbours",
    "models.base", "models.polynomial", "models.homography", "models.splines", "models.local", "models.ladder",
    "initial", "remote", "terminal", "raster", "polygons", "masks", "decoded", "reduced", "gdal_cache", "reader",
    "arrays", "coordinates", "device", "resampling", "placement", "warp", "overlap", "sanity", "matching._kernel",
    "matching.fields", "matching.refine", "matching.structure", "matching.channels", "matching.windows",
    "matching.phase", "matching.preprocess", "matching.features", "matching.coarse", "matching.pose",
    "matching.pose_features", "tasks", "execution", "mixture", "choice", "extrapolation", "fit", "watching", "accuracy",
    "interchange", "temporaries", "interrupts", "files", "table", "gcps", "encoding", "tiff", "tiff_edit", "creation",
    "metadata", "overviews", "geotiff", "header", "copies", "cog", "in_place", "pictures", "regrid", "blocks", "patches",
    "tiles", "seeds", "rivals", "prior", "seeded", "passes", "search", "snap", "uncertainty", "wkb", "arrow", "layers",
    "vectors", "corrections", "vrt", "classes", "chunks", "images", "provenance", "correct", "apply", "report.boards",
    "report.marks", "report.plots", "report.diagnostics", "report.plot_files", "report.notebook", "alignment", "align",
    "stac", "stac_fields", "stac_items", "listing", "manifest", "scene", "ledger", "batch", "band_files", "bands",
    "graph", "network", "adjustment", "stack_result", "stack_inputs", "stack_pairs", "stack_choice", "stack_solve",
    "stack_scenes", "stack", "cube", "xarray", "closing_stack", "report.findings", "report.looks", "report.chips",
    "report.similarity",
    "report.false_change", "report.residuals", "report.statements", "report.decomposition", "report.schema",
    "report.verdict", "report.command", "report.find", "report.change_raster", "report.refusal", "closing",
    "report.ties", "report.svg", "report.figures", "report.encoded", "report.charts", "report.frame", "report.maps",
    "report.ground", "report.viewers", "report.layout", "report.sections", "report.quoting", "report.page",
    "report.write", "report.stack_values", "report.stack_charts", "report.stack_matrix", "report.stack_page",
    "report.checkerboard", "by_hand", "styles", "geopackage", "export", "cluster", "verb_parts",
    "verb_stack", "verb_reports", "verb_bands", "verb_snap", "verb_stac", "verbs", "answers", "serve", "cli",
]  # fmt: skip
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in ROOT.rglob("*.py") if path.name != "__init__.py"
)


def imports(module: str) -> list[ast.Import | ast.ImportFrom]:
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def ours(module: str) -> set[str]:
    source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
    found = set(re.findall(r'Lazily\("georeg\.([\w.]+)"\)', source))
    for node in imports(module):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("georeg."):
            found.add(node.module.removeprefix("georeg."))
    return found


def test_every_module_has_its_place():
    assert sorted(ORDER) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_arrows_run_one_way(module):
    later = ORDER[ORDER.index(module) :]
    assert not ours(module) & set(later)


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("matching.")])
def test_matching_knows_no_file_crs_or_thread(module):
    assert {m for m in ours(module) if not f"{m}.".startswith("matching.")} <= {
        "errors",
        "lazily",
        "memory",
        "tie_points",
    }
    names = {node.module or "" for node in imports(module) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in imports(module) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(name.split(".")[0] in {"rasterio", "pyproj", "odc", "threading", "concurrent"} for name in names)


@pytest.mark.parametrize("module", MODULES)
def test_no_import_inside_a_function(module):
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            assert not [n for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)], function.name


def test_one_place_opens_rasters_for_reading_and_one_for_writing():
    opening = {m for m in MODULES if "rasterio.open(" in (ROOT / (m.replace(".", "/") + ".py")).read_text()}
    assert opening == {"raster", "geotiff"}


def test_public_names_survive_the_import_of_their_modules():
    code = "import georeg.align, georeg.fit, georeg; from georeg import align, fit; assert callable(align) and callable(fit)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert all(getattr(georeg, name) is not None for name in georeg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'aline'"):
        _ = georeg.aline


SELDOM = {"matplotlib", "pyogrio", "pystac", "rich", "scipy", "skimage", "xarray"} | {
    f"georeg.{name}"
    for name in (
        "by_hand",
        "chunks",
        "coordinates",
        "cube",
        "export",
        "gcps",
        "geopackage",
        "images",
        "layers",
        "polygons",
        "report",
        "table",
        "vectors",
        "wkb",
    )
}
"""Modules that a plain alignment does not use."""


def imported_by(code: str) -> set[str]:
    """Modules that are there once ``code`` has run, in a process of its own."""
    code += "\nimport json, sys; print(json.dumps([*sys.modules]), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_a_plain_alignment_imports_only_what_it_uses(shift_pair, tmp_path):
    arguments = ["align", *shift_pair, "-o", str(tmp_path / "aligned.tif")]
    modules = imported_by(f"from georeg.cli import main; assert main({arguments!r}) == 0")
    assert not modules & SELDOM
    assert "georeg.search" in modules


def test_a_fit_needs_no_scipy(tmp_path):
    rng = np.random.default_rng(0)
    tgt_xy = rng.uniform(0, 5000, (200, 2)) + (500_000, 5_600_000)
    points = TiePoints(
        ref_xy=tgt_xy + (37, -53) + rng.normal(0, 0.5, (200, 2)),
        tgt_xy=tgt_xy,
        cov=np.tile(0.25 * np.eye(2), (200, 1, 1)),
        score=np.ones(200),
        status=np.zeros(200),
        inputs=Inputs("reference.tif", "target.tif"),
        crs="",
        gsd=10.0,
        window_px=16,
        search_px=20.0,
        chance=0.001,
    )
    path = tmp_path / "points.json"
    path.write_text(json.dumps(points_to_dict(points)))
    modules = imported_by(
        "import json; from georeg.accuracy import is_null, verify; from georeg.fit import fit\n"
        "from georeg.interchange import points_from_dict\n"
        f"fitted = fit(points_from_dict(json.load(open({str(path)!r}))))\n"
        "assert 'local' in {c.kind for c in fitted.candidates} and verify(fitted) and not is_null(fitted)"
    )
    assert "scipy" not in {name.split(".")[0] for name in modules}
