"""How bugs are planted: `bug` registers what returns a patch, `swap` and `without` make patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from mapreduce.scheduler.state import State

Plant = Callable[[], Any]
BUGS: dict[str, Plant] = {}


def bug(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a bug; its docstring says what is broken."""
    BUGS[function.__name__] = function
    return function


def swap(owner: Any, name: str, make: Callable[[Any], Any]) -> Any:
    """A patch that replaces an attribute by what `make` builds from the original."""
    return patch.object(owner, name, make(owner.__dict__[name]))


def without(*kinds: type) -> Any:
    """The journal misses records of these kinds."""

    def make(persist: Any) -> Any:
        def wrapped(self: State, record: Any) -> None:
            if not isinstance(record, kinds):
                persist(self, record)

        return wrapped

    return swap(State, "persist", make)


def nothing(*_: Any, **__: Any) -> None:
    return None
