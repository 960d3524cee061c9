"""Arrays as rasters: what the engine reads from files it reads from them, a part at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.windows import Window

from georeg.decoded import PART_PX, Bands
from georeg.errors import InputError
from georeg.raster import ARRAY, Raster, Source

PART_SHAPE = (PART_PX, PART_PX)
"""Whatever chunks an array has, it is looked at in these parts, like a file of tiles: figures shall not depend on chunks."""


@dataclass(frozen=True, eq=False)
class Held:
    """A window of a raster, in memory."""

    values: NDArray[Any]
    """(bands, height, width)"""
    corner_px: tuple[int, int] = (0, 0)
    """(row, column) of its first pixel in the raster."""
    part_shape: tuple[int, int] = PART_SHAPE

    def read(self, window: Window, bands: Bands) -> NDArray[Any]:
        """The pixels themselves where the bands are all there are, else a copy; those of bool as 0 and 1."""
        row, col = int(window.row_off) - self.corner_px[0], int(window.col_off) - self.corner_px[1]
        assert min(row, col) >= 0, "a window that is not held"
        inside = self.values[:, row : row + int(window.height), col : col + int(window.width)]
        assert inside.shape[1:] == (window.height, window.width), "a window that is not held"
        chosen = inside if bands == tuple(range(1, len(inside) + 1)) else inside[[band - 1 for band in bands]]
        return np.asarray(chosen.view(np.uint8) if chosen.dtype == bool else chosen)


def array_raster(
    values: NDArray[Any] | Source,
    grid: GeoBox,
    *,
    nodata: float | None = None,
    name: str = "",
    dtypes: tuple[str, ...] | None = None,
) -> Raster:
    """Describe an array as a raster, which `georeg.align.match_onto` and `georeg.reader.Reader` take like one of a file.

    Parameters
    ----------
    values
        (bands, height, width) of numbers or bool, on ``grid``; or what they are read from, with ``dtypes`` of the bands.
    grid
        With a CRS, and without GCPs.
    nodata
        Pixel value that says nothing of the ground. What is not finite never does.
    name
        For messages.

    Raises
    ------
    InputError
        The pixels are no numbers, or the array is empty.

    >>> import numpy as np
    >>> from affine import Affine
    >>> grid = GeoBox((5, 10), Affine(10, 0, 300000, 0, -10, 5800050), "EPSG:32633")
    >>> array_raster(np.zeros((2, 5, 10), np.uint8), grid).dtypes
    ('uint8', 'uint8')
    """
    source: Source
    if isinstance(values, np.ndarray):
        check_numbers(values.dtype, name)
        assert values.shape[1:] == grid.shape, "as many pixels as the grid"
        dtypes, source = (values.dtype.name,) * len(values), Held(values)
    else:
        source = values
    assert dtypes is not None
    told = f"{ARRAY}{name}"
    height, width = (int(n) for n in grid.shape)
    if not (dtypes and height and width):
        raise InputError(f"{told} has {len(dtypes)} bands of {height} × {width} pixels; give one that is not empty")
    return Raster(
        path=told,
        driver="",
        crs=CRS.from_user_input(str(grid.crs)),
        transform=grid.affine,
        shape=(height, width),
        dtypes=tuple("uint8" if dtype == "bool" else dtype for dtype in dtypes),
        nodata=nodata,
        nodata_given=False,
        alpha_bands=(),
        has_mask=nodata is not None,
        classes=tuple(band for band, dtype in enumerate(dtypes, start=1) if dtype == "bool"),
        block_shape=source.part_shape,
        source=source,
    )


def check_numbers(dtype: np.dtype[Any], name: str) -> None:
    """Raise for pixels that are no numbers."""
    if dtype.kind not in "buifc":
        raise InputError(f"{ARRAY}{name} holds {dtype}, which are no pixels; give an array of numbers")
