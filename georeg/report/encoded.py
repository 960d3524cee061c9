"""Pictures as text that a page holds by itself."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

_QUALITY, _FINE_QUALITY = 82, 92
_LARGEST_PNG = 100_000


def data_uri(picture: NDArray[np.uint8], *, exact: bool = False) -> str:
    """A grey picture (h, w) for an img; one that shall be ``exact`` is a PNG where that is not large.

    >>> import numpy as np
    >>> data_uri(np.zeros((8, 8), np.uint8), exact=True)[:22]
    'data:image/png;base64,'
    """
    kind, encoded = "png", cv2.imencode(".png", picture)[1].tobytes() if exact else b""
    if not 0 < len(encoded) <= _LARGEST_PNG:
        quality = _FINE_QUALITY if exact else _QUALITY
        kind, encoded = "jpeg", cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"
