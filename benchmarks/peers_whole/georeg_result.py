"""What `georeg assess --json` found, in the form of the other scripts: RESULT"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from georeg import Alignment
from georeg.raster import open_raster


def main() -> None:
    alignment = Alignment.from_json(Path(sys.argv[1]).read_text())
    points, target = alignment.points, open_raster(alignment.points.inputs.target)
    height, width = target.shape
    corners = [target.transform @ (x * width, y * height) for x, y in ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5))]
    model = alignment.model(np.array(corners)) - corners
    tie = (points.ref_xy - points.tgt_xy)[points.kept]
    print(json.dumps({"tie": tie.tolist(), "model": model.tolist()}))


if __name__ == "__main__":
    main()
