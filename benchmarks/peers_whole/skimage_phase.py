"""scikit-image: phase correlation to a hundredth of a pixel, then an affine map by least squares. REFERENCE TARGET N"""

from __future__ import annotations

import windows
from skimage.registration import phase_cross_correlation


def find(ref: windows.Image, tgt: windows.Image) -> tuple[float, float]:
    shift, _, _ = phase_cross_correlation(ref, tgt, upsample_factor=100)
    return -float(shift[1]), -float(shift[0])


if __name__ == "__main__":
    windows.main(find, windows.least_squares)
