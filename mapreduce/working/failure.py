"""Failures as plain data: what an exception says, and what can be said about a process that died.

A traceback is cut to the frames that belong to the user: those of this package are left out at the top, so the first
line that people read is theirs. A dead process gets its exit code or signal by name, peak memory, the dump that
faulthandler wrote, and its last lines of output.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from ..blobs import BlobLost, BlobWrong
from ..errors import BadInput
from ..wire.messages import Error
from ..wire.typed import clip

_OWN = str(Path(__file__).resolve().parent.parent)
MESSAGE = 8_000
TRACEBACK = 64_000
LOG = 16_000
_LIMITS = {"timeout": "TimeLimit", "memory": "MemoryLimit", "protocol": "ProtocolError"}


def of_exception(error: BaseException, *, worker: str = "", text: str = "", peak: int = 0, log: str = "") -> Error:
    """The Error message for an exception that a task raised. `text` describes the task's input. A `BadInput` says in
    its own words what is wrong with what the user brought; where the code noticed is nothing to them."""
    kind = "exception"
    if isinstance(error, MemoryError):
        kind = "memory"
    elif isinstance(error, BlobLost):
        kind = "input-wrong" if isinstance(error, BlobWrong) else "input-lost"
    return Error(
        kind=kind,
        type=_type_name(error)[:255],
        message=_clip(_message(error), MESSAGE),
        traceback="" if isinstance(error, BadInput) else _clip(user_traceback(error), TRACEBACK),
        worker=worker,
        input=_clip(text, MESSAGE),
        peak_memory=peak,
        log=_clip(log, LOG),
    )


def user_traceback(error: BaseException) -> str:
    """The traceback from the first frame outside this package on; all of it when there is none."""
    first: TracebackType | None = error.__traceback__
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OWN):
        first = first.tb_next
    shown = error.with_traceback(first) if first is not None else error
    try:
        lines = traceback.format_exception(shown, limit=-40)
    except Exception as trouble:  # an exception whose __str__ or __notes__ raise
        lines = [f"{_type_name(error)} (its text cannot be shown: {type(trouble).__name__})"]
    return "".join(lines)


def of_death(
    status: int, *, why: str = "", peak: int, dump: str, log: str, worker: str, text: str, limit: str = ""
) -> Error:
    """The Error for an attempt whose process died. `status` is as `os.wait4` gives it; `why` is "timeout", "memory"
    or "protocol" when the worker killed it, `limit` then says which."""
    killed = -status if status < 0 else None
    name = _signal_name(killed) if killed else ""
    if why == "timeout":
        message = f"the task ran longer than its limit of {limit} and was stopped"
    elif why == "memory":
        message = f"the task used more memory than its limit of {limit} and was stopped"
    elif why == "protocol":
        message = "the task's process wrote something that is no answer where its answers go, and was stopped"
    elif killed == signal.SIGKILL:
        message = (
            "the task's process was killed (SIGKILL) from outside; when memory is short, that is what the kernel does"
        )
    elif killed:
        message = f"the task's process died of {name}"
    else:
        message = f"the task ended its process with exit code {status}"
    return Error(
        kind=why or "crash",
        type=_LIMITS.get(why, name or "ProcessExit"),
        message=message,
        traceback=_clip(_user_dump(dump), TRACEBACK),
        worker=worker,
        input=_clip(text, MESSAGE),
        exit_code=None if killed else status,
        signal=killed,
        peak_memory=peak,
        log=_clip(log, LOG),
    )


def _user_dump(dump: str) -> str:
    """A faulthandler dump without the frames of this package at the bottom of each thread."""
    lines = [line for line in dump.splitlines() if not (line.startswith(f'  File "{_OWN}') or "<frozen runpy>" in line)]
    return "\n".join(_without_empty_threads(lines)).strip()


def _without_empty_threads(lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        follows = lines[number + 1] if number + 1 < len(lines) else ""
        if line.startswith(("Thread ", "Current thread ")) and not follows.startswith("  "):
            continue
        yield line


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as trouble:
        return f"(its text cannot be shown: {type(trouble).__name__})"


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number).name  # type: ignore[arg-type]
    except ValueError:
        return f"signal {number}"


def _clip(text: str, limit: int) -> str:
    return clip(text.encode("utf-8", "replace").decode("utf-8"), limit)
