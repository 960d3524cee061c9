"""georeg puts a raster where it belongs, proves it, and says so when it cannot.

>>> import georeg
>>> callable(georeg.align)
True
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from georeg.accuracy import Accuracy as Accuracy
    from georeg.align import align as align
    from georeg.align import assess as assess
    from georeg.align import match as match
    from georeg.alignment import Alignment as Alignment
    from georeg.apply import apply as apply
    from georeg.apply import apply_all as apply_all
    from georeg.bands import BandAlignment as BandAlignment
    from georeg.bands import align_bands as align_bands
    from georeg.batch import align_all as align_all
    from georeg.by_hand import fit_by_hand as fit_by_hand
    from georeg.errors import GeoregError as GeoregError
    from georeg.export import export as export
    from georeg.fit import Fit as Fit
    from georeg.fit import fit as fit
    from georeg.gcps import read_points as read_points
    from georeg.in_place import undo as undo
    from georeg.options import BandsOptions as BandsOptions
    from georeg.options import BatchOptions as BatchOptions
    from georeg.options import FitOptions as FitOptions
    from georeg.options import HandOptions as HandOptions
    from georeg.options import InputOptions as InputOptions
    from georeg.options import LimitOptions as LimitOptions
    from georeg.options import MatchOptions as MatchOptions
    from georeg.options import PlaceOptions as PlaceOptions
    from georeg.options import StackOptions as StackOptions
    from georeg.options import StacOptions as StacOptions
    from georeg.options import WriteOptions as WriteOptions
    from georeg.remote import metered as metered
    from georeg.report.stack_page import write_stack_report as write_stack_report
    from georeg.report.write import write_report as write_report
    from georeg.scene import Scene as Scene
    from georeg.snap import snap as snap
    from georeg.snap import with_tie_point as with_tie_point
    from georeg.stac import StacScene as StacScene
    from georeg.stac import read_items as read_items
    from georeg.stac_items import corrected_item as corrected_item
    from georeg.stac_items import write_item as write_item
    from georeg.stack import align_stack as align_stack
    from georeg.stack import write_stack as write_stack
    from georeg.stack_result import Stack as Stack
    from georeg.tie_points import TiePoints as TiePoints

_HOME = {
    "Accuracy": "accuracy",
    "Alignment": "alignment",
    "BandAlignment": "bands",
    "BandsOptions": "options",
    "BatchOptions": "options",
    "Fit": "fit",
    "FitOptions": "options",
    "GeoregError": "errors",
    "HandOptions": "options",
    "InputOptions": "options",
    "LimitOptions": "options",
    "MatchOptions": "options",
    "PlaceOptions": "options",
    "Scene": "scene",
    "Stack": "stack_result",
    "StacOptions": "options",
    "StacScene": "stac",
    "StackOptions": "options",
    "TiePoints": "tie_points",
    "WriteOptions": "options",
    "align": "align",
    "align_all": "batch",
    "align_bands": "bands",
    "align_stack": "stack",
    "apply": "apply",
    "apply_all": "apply",
    "assess": "align",
    "corrected_item": "stac_items",
    "export": "export",
    "fit": "fit",
    "fit_by_hand": "by_hand",
    "match": "align",
    "metered": "remote",
    "read_items": "stac",
    "read_points": "gcps",
    "snap": "snap",
    "undo": "in_place",
    "with_tie_point": "snap",
    "write_item": "stac_items",
    "write_report": "report.write",
    "write_stack": "stack",
    "write_stack_report": "report.stack_page",
}
__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    """Import what is asked for on first use, so that ``import georeg`` and ``georeg --help`` cost nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'georeg' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"georeg.{_HOME[name]}"), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Keeps ``georeg.align`` the function: importing the module ``georeg.align`` would put itself in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
