"""The same from STAC Items to STAC Items.

    python from_stac.py REFERENCE_ITEM.json TARGET_ITEM.json FOLDER

Reads the only asset of each that is data, corrects the target's into ``FOLDER`` and writes the Item of what it has become, with
where it lies now and how well. Needs ``pip install "georeg[stac]"``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pystac
from change_detection import align, compare, told, write_mask

import georeg


def run(reference_item: Path, target_item: Path, folder: Path) -> pystac.Item:
    """The corrected Item, whose file and raster are in the folder, beside the mask of change."""
    folder.mkdir(parents=True, exist_ok=True)
    (reference,), (target,) = georeg.read_items(str(reference_item)), georeg.read_items(str(target_item))
    aligned = folder / f"{target.item_id}_aligned.tif"
    alignment = align(Path(reference.path), Path(target.path), aligned)
    changes = compare(Path(reference.path), Path(target.path), aligned, alignment)
    write_mask(changes, Path(reference.path), folder / f"{target.item_id}_change.tif")
    print(told(alignment, changes))
    item = georeg.corrected_item(pystac.Item.from_file(str(target_item)), alignment, aligned)
    georeg.write_item(item, folder / f"{item.id}.json")
    return item


if __name__ == "__main__":
    run(*map(Path, sys.argv[1:4]))
