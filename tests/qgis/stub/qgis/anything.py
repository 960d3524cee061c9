"""What answers to everything, and knows nothing."""

from __future__ import annotations

from typing import Any


class _Open(type):
    """Classes whose every attribute is there: a member of an enumeration, or another class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Open(name, (Anything,), {})

    def __or__(cls, other: Any) -> Any:
        return cls


class Anything(metaclass=_Open):
    """Takes any arguments; its methods return another of its kind."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: Anything()

    def __iter__(self) -> Any:
        return iter(())

    def __bool__(self) -> bool:
        return False

    def __float__(self) -> float:
        return 1.0

    def __int__(self) -> int:
        return 1


def lookup(module: dict[str, Any], name: str) -> Any:
    """A class for a name that a module does not define, the same each time."""
    if name.startswith("__"):
        raise AttributeError(name)
    return module.setdefault(name, _Open(name, (Anything,), {}))
