"""DAF: MapReduce in Python with pluggable job types.

The public API is what this package exports: `Job` and its companions for authors of job types, `run` and the engines
for those who run them. Names are loaded on first use, so that importing the package stays light (the coordinator
imports neither NumPy nor any plugin)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Job": "job",
    "Stage": "job",
    "Context": "job",
    "History": "job",
    "StageResult": "job",
    "Outputs": "job",
    "Result": "job",
    "Artifact": "job",
    "Param": "params",
    "open_artifact": "artifacts",
    "FileRange": "inputs",
    "LINE": "inputs",
    "WORD": "inputs",
    "check_files": "inputs",
    "check_output": "inputs",
    "file_ranges": "inputs",
    "map_range": "inputs",
    "read_range": "inputs",
    "let_go": "pages",
    "run": "engines",
    "Client": "client",
    "DafError": "errors",
    "JobFailed": "errors",
    "BadParameters": "errors",
    "BadInput": "errors",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the keys are names

if TYPE_CHECKING:  # what __getattr__ finds, for type checkers and editors
    from .artifacts import open_artifact as open_artifact
    from .client import Client as Client
    from .engines import run as run
    from .errors import BadInput as BadInput
    from .errors import BadParameters as BadParameters
    from .errors import DafError as DafError
    from .errors import JobFailed as JobFailed
    from .inputs import LINE as LINE
    from .inputs import WORD as WORD
    from .inputs import FileRange as FileRange
    from .inputs import check_files as check_files
    from .inputs import check_output as check_output
    from .inputs import file_ranges as file_ranges
    from .inputs import map_range as map_range
    from .inputs import read_range as read_range
    from .job import Artifact as Artifact
    from .job import Context as Context
    from .job import History as History
    from .job import Job as Job
    from .job import Outputs as Outputs
    from .job import Result as Result
    from .job import Stage as Stage
    from .job import StageResult as StageResult
    from .pages import let_go as let_go
    from .params import Param as Param


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
