"""KARIOS: its matcher with its own configuration, without reports. REFERENCE TARGET N

It compares pixels of the same column and row and wants one geotransform for both: the target is given the reference's in a
VRT, and what that takes off is added again. It chooses its points itself and fits no model: that is the mean.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import karios
import numpy as np
from karios.api import KariosAPI, RuntimeConfiguration
from karios.core.configuration import ProcessingConfiguration
from osgeo import gdal


def main() -> None:
    reference, target = sys.argv[1:3]
    right, wrong = (gdal.Open(path).GetGeoTransform() for path in (reference, target))
    settings = Path(karios.__file__).parent / "configuration" / "processing_configuration.json"
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        moved = f"{folder}/target.vrt"
        copy = gdal.Translate(moved, target, format="VRT")
        copy.SetGeoTransform(right)
        copy = None  # which writes it
        runtime = RuntimeConfiguration(
            output_directory=folder,
            gen_kp_mask=False,
            gen_delta_raster=False,
            generate_kp_chips=False,
            enable_large_shift_detection=False,
        )
        api = KariosAPI(ProcessingConfiguration.from_file(str(settings)), runtime)
        points = api.match_images(Path(moved), Path(reference)).points
    # dx, dy: where a point of the reference lies in the target, columns and rows
    tgt_px = points[["dx", "dy"]].to_numpy(float)
    tie = np.array([right[0] - wrong[0], right[3] - wrong[3]]) - tgt_px * (right[1], right[5])
    print(json.dumps({"tie": tie.tolist(), "model": [tie.mean(axis=0).tolist()]}))


if __name__ == "__main__":
    main()
