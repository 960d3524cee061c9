"""The verb that writes the STAC Item of a corrected raster."""

from __future__ import annotations

import argparse

from georeg.alignment import Alignment
from georeg.errors import InputError
from georeg.options import StacOptions
from georeg.stac import read_item
from georeg.stac_items import corrected_item, write_item
from georeg.terminal import TOLD
from georeg.verb_parts import check_file, chosen, load, say


def stac(arguments: argparse.Namespace) -> None:
    options: StacOptions = chosen(arguments, StacOptions)
    if options.corrected is None:
        raise InputError("no corrected raster is given; give --corrected, what georeg align or apply wrote")
    check_file(arguments, (arguments.result, arguments.item, options.corrected))
    alignment = Alignment.from_dict(load(arguments.result))
    item = corrected_item(read_item(arguments.item), alignment, options.corrected, asset_key=options.asset)
    written = write_item(item, arguments.output)
    sentence = f"{arguments.output}: Item {item.id}, {', '.join(item.assets)} corrected"
    TOLD.info(sentence)
    say(written if arguments.json else sentence)
