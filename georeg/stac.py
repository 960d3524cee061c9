"""STAC Items: which raster of an Item to read.

STAC is the SpatioTemporal Asset Catalog (https://stacspec.org). Only what reads and writes Items needs pystac.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from georeg.errors import InputError
from georeg.files import read_text

if TYPE_CHECKING:
    import pystac

_FOR_EYES = {"thumbnail", "overview", "visual", "metadata"}
"""Roles of assets that are not taken for a band."""


@dataclass(frozen=True)
class StacScene:
    """A raster that an Item names."""

    item_id: str
    datetime: dt.datetime
    """When it was taken, in UTC; the middle of an interval."""
    path: str
    """Of the raster: a file, or an address that GDAL reads."""
    band: int
    """1-based."""


def read_items(path_or_items: Any, asset: str | None = None) -> tuple[StacScene, ...]:
    """The rasters that Items name.

    Parameters
    ----------
    path_or_items
        Path of a JSON file of an Item or an ItemCollection; or a pystac Item, an ItemCollection, or several Items.
    asset
        Key of an asset, whose first band is meant; or the name or common name of a band, or the role of an asset, where one
        alone has it. None: the only asset that is data.

    Raises
    ------
    InputError
        pystac is not installed, the file holds no Items, or one of them has no such asset, several, or no date.

    Examples
    --------
    >>> [(scene.item_id, scene.path) for scene in read_items("search.json", "red")]  # doctest: +SKIP
    [('S2A_33UUU_20230601', 'https://…/B04.tif')]
    """
    if isinstance(path_or_items, str | os.PathLike):
        file = os.path.abspath(os.fspath(path_or_items))
        items = _of_file(file)
    else:
        stac = pystac_module()
        file, items = None, [path_or_items] if isinstance(path_or_items, stac.Item) else list(path_or_items)
    if not items:
        raise InputError(f"{file or 'the collection'} holds no Items; give at least one")
    return tuple(_scene(item, asset, file) for item in items)


def read_item(path: str | os.PathLike[str]) -> pystac.Item:
    """The only Item of a JSON file, which knows its address: its own one, or that of the file.

    Raises
    ------
    InputError
        As `read_items`, or there are several.
    """
    file = os.path.abspath(os.fspath(path))
    items = _of_file(file)
    if len(items) != 1:
        raise InputError(f"{file} holds {len(items)} Items, one is needed; give a file of one Item")
    item = items[0]
    if "://" not in str(item.get_self_href()):
        item.set_self_href(file)
    return item


def pystac_module() -> Any:
    """pystac; raises InputError where it is not installed."""
    try:
        return importlib.import_module("pystac")
    except ImportError as exc:
        raise InputError(
            f'STAC Items need pystac, which is not installed ({exc}); run pip install "georeg[stac]"'
        ) from exc


def _of_file(path: str) -> list[pystac.Item]:
    stac, text = pystac_module(), read_text(path)
    try:
        values = json.loads(text)
        kind = values.get("type") if isinstance(values, dict) else None
        if kind not in ("Feature", "FeatureCollection"):
            raise InputError(
                f"{path} is no STAC Item and no ItemCollection, its type is {kind!r}; give a file of one of these"
            )
        found = [values] if kind == "Feature" else values["features"]
        return [stac.Item.from_dict(one, preserve_dict=False, migrate=False) for one in found]
    except (ValueError, KeyError, TypeError, AttributeError, stac.STACError, stac.STACTypeError) as exc:
        raise InputError(
            f"{path} is no STAC Item and no ItemCollection ({exc!r}); give a file of one of these"
        ) from exc


def _scene(item: pystac.Item, asset: str | None, file: str | None) -> StacScene:
    key, band = found_asset(item, asset)
    return StacScene(item.id, _date(item), _path(item, key, file), band)


def _date(item: pystac.Item) -> dt.datetime:
    """When an Item was taken; the middle of an interval."""
    taken = item.datetime
    if taken is None:
        first, last = item.common_metadata.start_datetime, item.common_metadata.end_datetime
        if first is None or last is None:
            raise InputError(f"the Item {item.id} has no datetime; give it one, or start_datetime and end_datetime")
        taken = first + (last - first) / 2
    return taken.replace(tzinfo=dt.UTC) if taken.tzinfo is None else taken.astimezone(dt.UTC)


def _path(item: pystac.Item, key: str, file: str | None) -> str:
    """Where an asset lies: beside ``file``, and where nothing does, as the Item itself says."""
    href = str(item.assets[key].href)
    if href.startswith("file:"):
        return url2pathname(urlparse(href).path)
    if is_absolute(href):
        return href
    beside = None if file is None else os.path.normpath(os.path.join(os.path.dirname(file), href))
    if beside is not None and os.path.exists(beside):
        return beside
    own = item.assets[key].get_absolute_href() if is_absolute(item.get_self_href()) else None
    if own is not None:
        return str(own)
    if beside is not None:
        return beside
    raise InputError(
        f"asset {key} of the Item {item.id} lies at {href}, relative to an Item that has no address; call its set_self_href"
    )


def is_absolute(href: str | None) -> bool:
    """Whether an address needs no other to be relative to."""
    return href is not None and ("://" in href or href.startswith("/vsi") or os.path.isabs(href))


def found_asset(item: pystac.Item, asset: str | None) -> tuple[str, int]:
    """Key of the asset that is asked for, and the number of the band."""
    if asset is not None and asset in item.assets:
        return asset, 1
    seen = {key: one for key, one in item.assets.items() if not _FOR_EYES & set(one.roles or ())}
    if asset is None:
        data = [(key, 1) for key, one in seen.items() if "data" in (one.roles or ())]
        found = data or [(key, 1) for key in seen]
    else:
        bands = {key: band_names(one.extra_fields) for key, one in seen.items()}
        by_band = [
            (len(names), key, k) for key, names in bands.items() for k, name in enumerate(names, 1) if asset in name
        ]
        alone = [one for one in by_band if one[0] == 1]  # rather than one of many in a file
        found = [(key, k) for _, key, k in alone or by_band]
        found = found or [(key, 1) for key, one in item.assets.items() if asset in (one.roles or ())]
    if len(found) == 1:
        return found[0]
    what = "that is data" if asset is None else f"for {asset}"
    many = ", ".join(key for key, _ in found)
    told = f"has several assets {what}: {many}" if found else f"has no asset {what}"
    raise InputError(f"the Item {item.id} {told}; {offered(item)}")


def offered(item: pystac.Item) -> str:
    """What to do where an asset was not found."""
    told = []
    for key, one in item.assets.items():
        names = [name for names in band_names(one.extra_fields) for name in names if name != key]
        told.append(f"{key} ({', '.join(dict.fromkeys(names))})" if names else key)
    return f"choose one of its assets {', '.join(told)}" if told else "give an Item with assets"


def band_names(fields: Mapping[str, Any]) -> list[list[str]]:
    """Name and common name of each band of an asset, as STAC 1.1 has them or the eo extension before it."""
    bands = fields.get("bands") or fields.get("eo:bands") or []
    keys = ("name", "eo:common_name", "common_name")
    own = [[str(band[key]) for key in keys if key in band] for band in bands if isinstance(band, dict)]
    common = fields.get("eo:common_name")  # of an asset of one band, STAC 1.1 may say it once for all
    if common is not None and len(own) <= 1:
        return [[*(own[0] if own else []), str(common)]]
    return own
