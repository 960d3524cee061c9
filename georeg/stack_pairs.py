"""The pairs of a stack, measured: tie points of each, fitted and proven by themselves, and kept in a file as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from georeg.align import assess, match_onto
from georeg.errors import GeoregError, InputError
from georeg.execution import available_threads, run_ordered, silent
from georeg.files import read_text
from georeg.fit import Fit, fit
from georeg.graph import Link
from georeg.interchange import fit_from_dict, fit_to_dict
from georeg.manifest import fingerprint
from georeg.options import DeviceKind, FitOptions, InputOptions, MatchOptions, words
from georeg.raster import Raster
from georeg.reader import Reader
from georeg.remote import without_secrets

KEPT_BYTES = 128 * 10**6
"""Decoded pixels of a scene that are kept while the pairs that it is the reference of are matched."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What a pair of scenes says by itself."""

    link: Link
    """Numbers of the two scenes; the first was the reference."""
    fitted: Fit | None
    """None where it was refused."""
    error: str | None = None
    """Why it was refused."""
    error_type: str | None = None


@dataclass(frozen=True)
class Measuring:
    """How pairs are measured: everything but which."""

    scenes: tuple[Raster, ...]
    inputs: InputOptions
    """Of a pair of scenes, each of which is read by what is said of the target."""
    anchor: InputOptions | None
    """Of a pair whose reference is the first scene, if that is the reference of all."""
    matching: MatchOptions
    fitting: FitOptions
    executor: Executor | None
    device: DeviceKind

    def of(self, links: Sequence[Link]) -> Iterator[Measured]:
        """Each pair, in the order of the links, which must be sorted."""
        n_threads = self.matching.threads or available_threads()
        for first, group in groupby(links, key=lambda link: link[0]):
            mine = list(group)
            at_once = 1 if self.executor is not None else min(n_threads, len(mine))
            matching = self.matching
            if self.executor is None:
                matching = replace(matching, threads=max(1, n_threads // at_once))
            made = replace(self, matching=matching)
            with ExitStack() as stack:
                reader = stack.enter_context(Reader(self.scenes[first], kept_bytes=KEPT_BYTES))
                if self.executor is not None:
                    yield from (made.one(reader, link) for link in mine)
                    continue
                pool = ThreadPoolExecutor(at_once, thread_name_prefix="georeg-pair")
                stack.callback(pool.shutdown, wait=True, cancel_futures=True)
                yield from run_ordered(lambda link, made=made, reader=reader: made.one(reader, link), mine, pool)  # type: ignore[misc]

    def options(self, link: Link) -> InputOptions:
        """How the two scenes are read."""
        return self.anchor if self.anchor is not None and link[0] == 0 else self.inputs

    def one(self, reader: Reader, link: Link) -> Measured:
        """A pair whose reference is open."""
        try:
            points = match_onto(
                reader.raster,
                self.scenes[link[1]],
                self.options(link),
                self.matching,
                silent,
                self.executor,
                reader,
                self.device,
            )
            fitted = fit(points, self.fitting)
            assess(fitted)  # whatever is not proven by itself has no say
        except GeoregError as exc:
            return Measured(link, None, str(exc), type(exc).__name__)
        return Measured(link, fitted)

    def key(self, link: Link) -> dict[str, Any]:
        """By which a measured pair is known again: what was done, and to what."""
        files = [self.scenes[k].path for k in link]
        return {
            "files": [[os.path.abspath(path) if os.path.exists(path) else without_secrets(path)] for path in files],
            "fingerprints": [fingerprint(path) for path in files],
            "options": list(words(self.options(link), replace(self.matching, threads=None), self.fitting)),
        }


class Store:
    """Measured pairs in a file, a line of JSON for each, written as they come; the last line may be cut off."""

    def __init__(self, path: str | None) -> None:
        self.path, self._known = path, dict[str, str]()
        if path is None or not os.path.exists(path):
            return
        for line in read_text(path).splitlines():
            try:
                self._known[json.dumps(json.loads(line)["key"], sort_keys=True)] = line
            except (ValueError, KeyError, TypeError) as exc:
                if line.startswith('{"key": ') or '{"key": '.startswith(line):
                    continue  # was being written when a run was cut off
                raise InputError(f"{path} does not hold pairs of a stack; give --pairs another file") from exc

    def find(self, link: Link, key: dict[str, Any]) -> Measured | None:
        """The pair as an earlier run measured it; None if none did, by the same options, or of other files."""
        line = self._known.get(json.dumps(key, sort_keys=True))
        if line is None or None in key["fingerprints"]:
            return None
        values = json.loads(line)
        error = values["error"] or {}
        made = None if values["fit"] is None else fit_from_dict(values["fit"])
        return Measured(link, made, error.get("message"), error.get("type"))

    def add(self, key: dict[str, Any], pair: Measured) -> None:
        """Put a pair on the disk."""
        if self.path is None:
            return
        error = None if pair.fitted is not None else {"type": pair.error_type, "message": pair.error}
        values = {"key": key, "fit": None if pair.fitted is None else fit_to_dict(pair.fitted), "error": error}
        with open(self.path, "a+b") as file:
            if file.tell() and _last_byte(file) != b"\n":
                file.write(b"\n")
            file.write(json.dumps(values).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    last: bytes = file.read(1)
    return last
