"""A raster as map tiles, as web maps are handed out: EPSG:3857, 256 pixels wide, named zoom/column/row.png."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from PIL import Image
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

EDGE = math.pi * 6378137.0
"""Of the web's map, metres."""
SIDE = 256


def write_tiles(path: str | Path, folder: Path, zooms: range) -> None:
    """Write the tiles that show a raster of one band; what it does not cover is transparent."""
    with rasterio.open(path) as source:
        low, high = np.percentile(source.read(1), (0.5, 99.5))
        for zoom in zooms:
            size = 2 * EDGE / (SIDE * 2**zoom)
            left, bottom, right, top = transform_bounds(source.crs, "EPSG:3857", *source.bounds)
            columns = range(int((left + EDGE) // (size * SIDE)), int((right + EDGE) // (size * SIDE)) + 1)
            rows = range(int((EDGE - top) // (size * SIDE)), int((EDGE - bottom) // (size * SIDE)) + 1)
            grid = Affine(size, 0, columns[0] * SIDE * size - EDGE, 0, -size, EDGE - rows[0] * SIDE * size)
            shape = {"width": len(columns) * SIDE, "height": len(rows) * SIDE}
            how = {"crs": "EPSG:3857", "transform": grid, "resampling": Resampling.cubic, "add_alpha": True}
            with WarpedVRT(source, **shape, **how) as warped:
                grey, alpha = warped.read(1).astype(float), warped.read(2)
            grey = np.clip(255 * (grey - low) / (high - low), 0, 255).astype("uint8")
            picture = np.dstack([grey, grey, grey, np.where(alpha > 0, 255, 0).astype("uint8")])
            for i, column in enumerate(columns):
                for j, row in enumerate(rows):
                    tile = folder / str(zoom) / str(column) / f"{row}.png"
                    tile.parent.mkdir(parents=True, exist_ok=True)
                    part = picture[j * SIDE : (j + 1) * SIDE, i * SIDE : (i + 1) * SIDE]
                    Image.fromarray(np.ascontiguousarray(part)).save(tile)
