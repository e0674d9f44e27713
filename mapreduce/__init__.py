"""DAF: MapReduce in Python with pluggable job types.

The public API is what this package exports: `Job` and its companions for authors of job types, `run` and the engines for those who run
them. Names are loaded on first use, so that importing the package stays light (the coordinator imports neither NumPy nor any plugin).
"""

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
    "run": "engines",
    "Client": "client",
    "DafError": "errors",
    "JobFailed": "errors",
    "BadParameters": "errors",
    "BadInput": "errors",
}

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from .client import Client
    from .engines import run
    from .errors import BadInput, BadParameters, DafError, JobFailed
    from .job import Artifact, Context, History, Job, Outputs, Result, Stage, StageResult
    from .params import Param


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
