"""Change a column of an Arrow stream on its way from one library to another, a batch at a time and in place.

The structures are those of Arrow's C stream interface (https://arrow.apache.org/docs/format/CStreamInterface.html), by which
GDAL hands over a layer with every type that it knows.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Edit = Callable[[NDArray[np.uint8], NDArray[np.intp]], None]
"""Called with the bytes of a batch and where each value that is there begins; it changes the bytes in place."""


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    # functions as addresses: a field of a function type would follow the one that is put in its place
    _fields_ = [(name, ctypes.c_void_p) for name in ("get_schema", "get_next", "get_last_error", "release", "private")]


_GET_SCHEMA = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Schema))
_GET_NEXT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Array))
_RELEASE_SCHEMA = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))

_Schema._fields_ = [
    ("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_void_p), ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.c_void_p), ("release", _RELEASE_SCHEMA), ("private", ctypes.c_void_p),
]  # fmt: skip
_Array._fields_ = [
    ("length", ctypes.c_int64), ("null_count", ctypes.c_int64), ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64), ("n_children", ctypes.c_int64), ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))), ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p), ("private", ctypes.c_void_p),
]  # fmt: skip
_OFFSETS: dict[bytes, np.dtype[Any]] = {b"z": np.dtype(np.int32), b"Z": np.dtype(np.int64)}
"""Types of the offsets of a column of bytes, by Arrow's name of its format."""


class EditedStream:
    """An Arrow stream whose column ``name`` is changed by ``edit`` while another library reads it.

    Parameters
    ----------
    stream
        An object with ``__arrow_c_stream__``, such as pyogrio's; its batches belong to this stream alone.
    name
        Of a column of bytes.
    """

    def __init__(self, stream: Any, name: str, edit: Edit) -> None:
        self._stream, self._name, self._edit = stream, name.encode(), edit
        self.error: BaseException | None = None
        """What stopped the stream: whoever reads it learns no more than that it stopped."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        capsule = self._stream.__arrow_c_stream__(requested_schema)
        address = _pointer(capsule, b"arrow_array_stream")
        stream = _Stream.from_address(address)
        self._column, self._offsets = _find(stream, address, self._name)
        self._get_next = _GET_NEXT(stream.get_next)
        self._get_edited = _GET_NEXT(self._next)  # kept as long as this object, which outlives its reader
        stream.get_next = ctypes.cast(self._get_edited, ctypes.c_void_p).value
        return capsule

    def _next(self, stream: int, batch: Any) -> int:
        try:
            code = self._get_next(stream, batch)
            if code == 0 and batch.contents.release:
                self._change(batch.contents)
            return int(code)
        except BaseException as exc:  # noqa: BLE001 - C carries no exception: it is raised once the reader has stopped
            self.error = exc
            return errno.EIO

    def _change(self, batch: _Array) -> None:
        column = batch.children[self._column].contents
        if not batch.length:
            return
        _, offsets_at, data_at = column.buffers[:3]
        begin = (batch.offset + column.offset) * self._offsets.itemsize
        offsets = _view(offsets_at + begin, (batch.length + 1) * self._offsets.itemsize).view(self._offsets)
        if offsets[-1] > 0:
            present = np.diff(offsets) > 0
            self._edit(_view(data_at, int(offsets[-1])), offsets[:-1][present].astype(np.intp))


def _find(stream: _Stream, address: int, name: bytes) -> tuple[int, np.dtype[Any]]:
    """Number of the column of that name, and the type of its offsets."""
    schema = _Schema()
    code = _GET_SCHEMA(stream.get_schema)(address, ctypes.byref(schema))
    assert code == 0, f"the schema cannot be read: error {code}"
    children = [schema.children[k].contents for k in range(schema.n_children)]
    column = [child.name for child in children].index(name)
    offsets: np.dtype[Any] = _OFFSETS[children[column].format]
    schema.release(ctypes.byref(schema))
    return column, offsets


def _pointer(capsule: Any, name: bytes) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(get(capsule, name))


def _view(address: int, size: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
