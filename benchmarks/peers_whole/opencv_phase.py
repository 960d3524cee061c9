"""A plain script with OpenCV: phase correlation with a Hann window, then an affine map by RANSAC. REFERENCE TARGET N"""

from __future__ import annotations

import cv2
import windows

HANN = cv2.createHanningWindow((windows.WINDOW_PX, windows.WINDOW_PX), cv2.CV_32F)


def find(ref: windows.Image, tgt: windows.Image) -> tuple[float, float]:
    return cv2.phaseCorrelate(ref, tgt, HANN)[0]


def ransac(tgt_xy: windows.Floats, ref_xy: windows.Floats) -> windows.Floats:
    return cv2.estimateAffine2D(tgt_xy, ref_xy, method=cv2.RANSAC, ransacReprojThreshold=3)[0]


if __name__ == "__main__":
    cv2.setRNGSeed(0)
    windows.main(find, ransac)
