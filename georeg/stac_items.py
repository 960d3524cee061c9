"""The STAC Item of a corrected raster: where it lies now, how accurately, and what it was made of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from georeg.alignment import Alignment
from georeg.errors import InputError, OutputError
from georeg.files import write_bytes
from georeg.initial import PIXELS
from georeg.provenance import provenance
from georeg.raster import Raster, open_raster
from georeg.remote import without_secrets
from georeg.stac import found_asset, is_absolute, offered, pystac_module
from georeg.stac_fields import accuracy_fields, footprint_fields, projection_fields

if TYPE_CHECKING:
    import pystac

PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
ACCURACY = "https://stac-extensions.github.io/accuracy/v1.0.0-beta.1/schema.json"
SUFFIX = "_georeg"
"""What the id of a corrected Item ends in."""
_STRUCTURE = {"self", "root", "parent", "collection", "item", "child"}
"""Links that hold for the Item in its own catalog alone."""
_OF_THE_FILE = ("proj:", "accuracy:", "file:", "storage:", "alternate", "checksum", "created", "updated")
"""Fields that hold for the uncorrected file alone begin so."""
_OF_FILES = ("projection", "accuracy", "file", "storage", "alternate-assets")
"""Extensions that they are of."""


def corrected_item(
    item: pystac.Item,
    alignment: Alignment,
    corrected: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    *,
    asset_key: str | None = None,
    item_id: str | None = None,
) -> pystac.Item:
    """An Item of corrected rasters, derived from the Item of the uncorrected ones.

    It has the corrected assets alone, under the keys of the uncorrected ones and with what is said of their bands; its
    geometry is that of the first of them. Each asset has the fields of the extensions projection and accuracy; the Item has
    those of processing, a link to ``item``, where that knows its own address, and figures of the check points that no
    extension has, under ``georeg:``. ``item`` is not changed.

    Parameters
    ----------
    corrected
        The corrected raster, or those of several assets by their keys.
    asset_key
        Key of the asset that was corrected, where there is one alone; None: the only one that is data.
    item_id
        Of the new Item; by default that of ``item`` and `SUFFIX`.

    Raises
    ------
    InputError
        pystac is not installed, there is no such asset, a raster cannot be read or has no geotransform, or says itself that it
        was corrected otherwise; or pictures without a map were aligned.
    """
    stac = pystac_module()
    if alignment.crs == PIXELS:
        raise InputError(
            "plain pictures were aligned, and an Item has to say where on Earth it lies; georeference them first"
        )
    paths = corrected if isinstance(corrected, Mapping) else {found_asset(item, asset_key)[0]: corrected}
    for key in paths:
        if key not in item.assets:
            raise InputError(f"the Item {item.id} has no asset {key}; {offered(item)}")
    rasters = {key: _corrected_raster(path, alignment) for key, path in paths.items()}
    geometry, bbox = footprint_fields(next(iter(rasters.values())))
    made: pystac.Item = stac.Item(
        item_id or f"{item.id}{SUFFIX}",
        geometry,
        bbox,
        item.datetime,
        _properties(item, alignment),
        stac_extensions=_extensions(item.stac_extensions),
    )
    for key, raster in rasters.items():
        made.add_asset(key, _asset(item.assets[key], raster, alignment))
    made.add_links(
        [link.clone() for link in item.links if link.rel not in _STRUCTURE and is_absolute(link.get_target_str())]
    )
    if item.get_self_href():
        made.add_link(stac.Link(stac.RelType.DERIVED_FROM, item.get_self_href(), stac.MediaType.GEOJSON))
    return made


def write_item(item: pystac.Item, path: str | os.PathLike[str]) -> str:
    """Write an Item as JSON, which is returned, with the addresses of files relative to its own; ``item`` is not changed.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    stac, file = pystac_module(), os.path.abspath(os.fspath(path))
    item = item.clone()
    item.set_self_href(file)
    item.make_asset_hrefs_relative()
    for link in item.get_links(stac.RelType.DERIVED_FROM):
        link.target = stac.utils.make_relative_href(link.get_target_str(), file)
    try:
        text = json.dumps(item.to_dict(include_self_link=False), indent=1, ensure_ascii=False)
    except (TypeError, ValueError) as exc:
        raise OutputError(f"the Item {item.id} cannot be written as JSON ({exc}); correct its fields") from exc
    write_bytes((text + "\n").encode(), file)
    return text


def _corrected_raster(path: str | os.PathLike[str], alignment: Alignment) -> Raster:
    raster = open_raster(path)
    said = dict(raster.provenance).get("CORRECTION")
    if said is not None and said != provenance(alignment)["CORRECTION"]:
        raise InputError(
            f"{raster.name} says that it was corrected otherwise than by this result; give the file that it made"
        )
    return raster


def _properties(item: pystac.Item, alignment: Alignment) -> dict[str, Any]:
    """Those of the Item, but what holds for uncorrected files, with the processing."""
    values = {name: value for name, value in item.properties.items() if not name.startswith(_OF_THE_FILE)}
    reference = os.path.basename(without_secrets(alignment.points.inputs.reference))
    lineage = f"Aligned to {reference} by georeg {alignment.version}: {alignment.summary()}."
    earlier = values.get("processing:lineage")
    return {
        **values,
        "processing:software": {**values.get("processing:software", {}), "georeg": alignment.version},
        "processing:lineage": f"{earlier}\n\n{lineage}" if earlier else lineage,
        "georeg:reference": reference,
        "georeg:verdict": alignment.verdict,
        "georeg:model": alignment.model.kind,
    }


def _extensions(uris: list[str]) -> list[str]:
    """Those of the Item and ours; of what is said of processing in its own version, of projection in ours."""
    kept = [uri for uri in uris if not any(f"/{name}/" in uri for name in _OF_FILES)]
    processing = [] if any("/processing/" in uri for uri in kept) else [PROCESSING]
    return [*kept, *processing, PROJECTION, ACCURACY]


def _asset(uncorrected: pystac.Asset, raster: Raster, alignment: Alignment) -> pystac.Asset:
    stac = pystac_module()
    kept = {name: value for name, value in uncorrected.extra_fields.items() if not name.startswith(_OF_THE_FILE)}
    kinds = {"GTiff": stac.MediaType.COG if raster.cog else stac.MediaType.GEOTIFF, "VRT": "application/vrt"}
    made: pystac.Asset = stac.Asset(
        raster.path if is_absolute(raster.path) else os.path.abspath(raster.path),
        uncorrected.title,
        uncorrected.description,
        kinds.get(raster.driver),
        uncorrected.roles or ["data"],
        {**kept, **projection_fields(raster), **accuracy_fields(alignment)},
    )
    return made
