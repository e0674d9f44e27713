"""Roots: the folders outside which a worker's jobs have no business.

Declared by the worker's operator (`daf-worker --roots DIR`), not by the job. A path is inside when it still is after
every symbolic link on the way has been resolved, so neither `..` nor a link that somebody left in a root leads out.

What is checked: every path among a job's parameters, before any of its code runs on the worker with them, and every
artifact when it is opened. What a job type does with other paths is its own affair: whether to trust its code is
decided by what is installed and by `daf-worker --types`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from .errors import BadInput


class Roots:
    """Some folders. No folders: everything is inside.

    Raises:
        BadInput: one of them is not a folder.
    """

    def __init__(self, folders: tuple[str | Path, ...] = ()):
        for folder in folders:
            if not Path(folder).is_dir():
                raise BadInput(f"the root {folder} is not a folder on this worker")
        self.folders = tuple(Path(folder).resolve() for folder in folders)

    def check(self, path: str | Path, what: str) -> None:
        """Raise BadInput, which begins with `what`, unless `path` is inside."""
        if not self.folders:
            return
        try:
            real = Path(path).resolve()
        except (OSError, RuntimeError) as error:  # a loop of links, or a name that is too long
            raise BadInput(f"{what} {path} cannot be resolved: {error}") from error
        if not any(real.is_relative_to(folder) for folder in self.folders):
            shown = f"{path}" if str(path) == str(real) else f"{path} (which is {real})"
            raise BadInput(
                f"{what} {shown} is outside the folders that this worker lets jobs use, which are "
                f"{', '.join(map(str, self.folders))}; put the file there, or start the worker with another --roots"
            )

    def check_parameters(self, job: Any) -> None:
        """Raise BadInput, naming the parameter, for the first path of a job that is outside."""
        if not self.folders:
            return
        for field in dataclasses.fields(job):
            for path in _paths(getattr(job, field.name)):
                self.check(path, f"parameter {field.name!r} of {type(job).name}:")


def _paths(value: Any) -> Iterator[Path]:
    """All paths in a parameter's value, however deep."""
    if isinstance(value, PurePath):
        yield Path(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _paths(key)
            yield from _paths(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _paths(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _paths(getattr(value, field.name))
    elif hasattr(type(value), "__struct_fields__"):
        for name in type(value).__struct_fields__:
            yield from _paths(getattr(value, name))
