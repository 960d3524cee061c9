"""Pairs with a truth of their authors': `srif-subset`, `cfog-multimodal` and `micasense-orchard`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from optics import data_folder
from robustness_ground import Floats, Trial, apply, corners, opened

from georeg import MatchOptions

_DENSE = MatchOptions(max_points=3000)
_LIDAR, _MAP, _SAR, _INFRARED = "optical-LiDAR/", "optical-Map/", "visible-SAR/", "visible-infrared/"
_CFOG = (
    ("optical-SAR", "optical_ref.png", "SAR_sen.png", "OpticaltoSAR_CP.txt"),
    ("visible-SAR 1", _SAR + "visible1_ref.tif", _SAR + "SAR1_sen.tif", _SAR + "visibleToSAR1_CP.txt"),
    ("visible-infrared", "visible_ref.tif", "infrared_sen.tif", "VisibletoInfrared_CP.txt"),
    ("LiDAR depth-optical", "LidarDepth_ref.png", "optical1_sen.png", "LidartoOptical_CP.txt"),
    ("LiDAR 1", _LIDAR + "visible1_ref.tif", _LIDAR + "LiDARintensity1_sen.tif", _LIDAR + "LiDARToVisible1.txt"),
    ("LiDAR 2", _LIDAR + "visible2_ref.png", _LIDAR + "LiDARintensity2_sen.png", _LIDAR + "LiDARToVisible2.txt"),
    ("map 1", _MAP + "optical1_ref.tif", _MAP + "map1_sen.tif", _MAP + "opticalToMap1_CP.txt"),
    ("map 2", _MAP + "optical2_ref.tif", _MAP + "map2_sen.tif", _MAP + "opticalToMap2_CP.txt"),
    ("Stest3, georeferenced", "Stest3_ref.tif", "Stest3_sen.tif", "Stest3gcp.pts"),
    ("test6, georeferenced", _INFRARED + "test6_ref.tif", _INFRARED + "test6_sen.tif", _INFRARED + "VisibletoInfrared_CP.txt"),
)  # fmt: skip


@lru_cache(maxsize=1)
def _srif() -> Sequence[tuple[str, int]]:
    folder = data_folder() / "srif-subset"
    return sorted((path.parent.name, int(path.stem.removeprefix("gt_"))) for path in folder.glob("*/gt_*.txt"))


def srif_count() -> int:
    return len(_srif())


def srif(number: int) -> Trial:
    """The four corners of pair_1, by a truth in pixels whose first centre is (1, 1): good to 3 px, optical to optical."""
    modality, pair = _srif()[number]
    folder = data_folder() / "srif-subset" / modality
    ref, tgt = (folder / f"pair{pair}_{k}.jpg" for k in (2, 1))
    truth = np.eye(3)
    truth[:2] = np.loadtxt(folder / f"gt_{pair}.txt")
    tgt_px = corners(_shape(tgt))
    labels = {"modality": modality, "pair": f"{modality} {pair}"}
    ref_px = apply(truth, tgt_px + 0.5) - 0.5
    return Trial(ref, tgt, tgt_px, ref_px, labels, measure="median_px", solved_px=5.0, wrong_px=5.0)


def cfog_count() -> int:
    return len(_CFOG) if (data_folder() / "cfog-multimodal").exists() else 0


def cfog(number: int) -> Trial:
    """The authors' check points, which are good to 2 px."""
    name, ref, tgt, points = _CFOG[number]
    folder = data_folder() / "cfog-multimodal"
    px = np.split(np.loadtxt(folder / points) - 0.5, 2, axis=1)  # first centre (1, 1)
    ref_px, tgt_px = reversed(px) if points.startswith(_LIDAR) else px  # "LiDAR to visible": the target's columns first
    return Trial(
        folder / ref,
        folder / tgt,
        tgt_px,
        ref_px,
        {"pair": name},
        solved_px=3.0,
        matching=_DENSE if name.endswith("georeferenced") else MatchOptions(),
    )


def micasense_count() -> int:
    return 4 if (data_folder() / "micasense-orchard").exists() else 0


def micasense(number: int) -> Trial:
    """The four corners of bands 2 to 5, by stored homographies of keypoints, whose first centre is (0, 0)."""
    band, folder = number + 2, data_folder() / "micasense-orchard"
    truth = json.loads((data_folder() / "truth/micasense-orchard.json").read_text())["IMG_0001"][f"band{band}"]
    ref, tgt = (folder / f"IMG_0001_{k}.tif" for k in (1, band))
    tgt_px = corners(_shape(tgt))
    ref_px = _project(np.array(truth["H_band_to_band1"]), tgt_px - 0.5) + 0.5
    return Trial(ref, tgt, tgt_px, ref_px, {"pair": f"band {band} onto 1"}, measure="max_px")


def _project(homography: Floats, px: Floats) -> Floats:
    moved = np.column_stack([px, np.ones(len(px))]) @ homography.T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def _shape(path: Path) -> tuple[int, int]:
    with opened(path) as raster:
        return int(raster.height), int(raster.width)
