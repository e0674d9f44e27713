"""Failures as plain data: what an exception says, and what can be said about a process that died.

A traceback is cut to the frames that belong to the user: those of this package are left out at the top, so the first
line that people read is theirs. A dead process gets its exit code or signal by name, peak memory, the dump that
faulthandler wrote, and its last lines of output.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import threading
import traceback
from pathlib import Path
from types import TracebackType

from ..blobs import BlobLost, BlobWrong
from ..errors import BadInput, DafError
from ..wire.messages import Error
from ..wire.typed import clip
from .settings import DATA_DIR

_OWN = str(Path(__file__).resolve().parent.parent)
_THREADING = f'File "{threading.__file__}"'
MESSAGE = 8_000
TRACEBACK = 64_000
LOG = 16_000
_LIMITS = {
    "timeout": ("TimeLimit", "the task ran longer than its limit of {}", "seconds"),
    "cpu": ("CpuLimit", "the task, with what it started, took more processor time than its limit of {}", "cpu"),
    "memory": ("MemoryLimit", "the task used more memory than its limit of {}", "memory"),
    "processes": ("ProcessLimit", "the task had more processes running than its limit of {}", "processes"),
}
"""Why a worker killed a task's process: the error's type, what it says, and what the limit is called."""


def of_exception(error: BaseException, *, worker: str = "", text: str = "", peak: int = 0, log: str = "") -> Error:
    """The Error message for an exception that a task raised. `text` describes the task's input. A `BadInput` says in
    its own words what is wrong with what the user brought; where the code noticed is nothing to them."""
    kind = "exception"
    if isinstance(error, MemoryError):
        kind = "memory"
    elif isinstance(error, BlobLost):
        kind = "input-wrong" if isinstance(error, BlobWrong) else "input-lost"
    elif isinstance(error, BadInput):
        kind = "bad-input"
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
    """The traceback from the first frame outside this package on. Where there is none: all of it, or nothing for an
    error that this package raises for people to read."""
    first: TracebackType | None = error.__traceback__
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OWN):
        first = first.tb_next
    if first is None and isinstance(error, DafError):
        return ""
    shown = error.with_traceback(first) if first is not None else error
    try:
        lines = traceback.format_exception(shown, limit=-40)
    except Exception as trouble:  # an exception whose __str__ or __notes__ raise
        lines = [f"{_type_name(error)} (its text cannot be shown: {type(trouble).__name__})"]
    return "".join(lines)


def _raised_by(name: str) -> str:
    """Where people say how much it may be."""
    flag = name if name == "file-size" else f"task-{name}"
    return f"--{flag} of daf-worker, or --limit {name}=... of daf run, says how much"


def exhausted(error: BaseException) -> bool:
    """Whether a task took all memory, or all descriptors, that its process may have: what it left may keep them."""
    return isinstance(error, MemoryError) or errno.EMFILE in _numbers(error)


def advice(error: BaseException, blobs: str, memory: int) -> str:
    """What to do about an error whose text does not say it, for one that a full disk or a limit of ours raised; else
    nothing. `blobs` is in the data directory, `memory` the limit in bytes (0: none)."""
    numbers = _numbers(error)
    if isinstance(error, MemoryError) and memory > 0:
        return f"A task may take {memory >> 20} MiB of memory ({_raised_by('memory')})."
    if numbers & {errno.ENOSPC, errno.EDQUOT} and getattr(error, "filename", None) is None:
        state = os.statvfs(blobs)
        return (
            f"The data directory {blobs} has {state.f_bavail * state.f_frsize >> 20} MiB left; --data-dir, or the "
            f"variable {DATA_DIR}, names another."
        )
    if errno.EMFILE in numbers:
        count = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"A task may have {count} files open at once ({_raised_by('files')}): close those that are read."
    if errno.EFBIG in numbers:
        size = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        return f"A task may write {size} bytes into one file ({_raised_by('file-size')})."
    return ""


def _numbers(error: BaseException) -> set[int]:
    """The error numbers of an exception, and of those that it came of."""
    found: set[int] = set()
    at: BaseException | None = error
    for _ in range(8):
        if isinstance(at, OSError) and at.errno is not None:
            found.add(at.errno)
        at = at and (at.__cause__ or at.__context__)
    return found


def of_death(
    status: int, *, why: str = "", peak: int, dump: str, log: str, worker: str, text: str, limit: str = ""
) -> Error:
    """The Error for an attempt whose process died. `status` is as `os.wait4` gives it; `why` is one of `_LIMITS`,
    or "protocol", when the worker killed it; `limit` then says which."""
    killed = -status if status < 0 else None
    name = _signal_name(killed) if killed else ""
    if why in _LIMITS:
        message = f"{_LIMITS[why][1].format(limit)} and was stopped ({_raised_by(_LIMITS[why][2])})"
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
        type=_LIMITS[why][0] if why in _LIMITS else "ProtocolError" if why == "protocol" else name or "ProcessExit",
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
    """A faulthandler dump without the frames of this package, and without threads of which only the library's ends are
    left then."""
    kept: list[str] = []
    for block in re.split(r"^(?=Thread |Current thread )", dump, flags=re.MULTILINE):
        lines = [line for line in block.splitlines() if not _is_own(line)]
        frames = [line for line in lines if line.startswith("  ")]
        if frames and all(_THREADING in line for line in frames):
            continue
        if frames or not block.startswith(("Thread ", "Current thread ")):
            kept += lines
    return "\n".join(kept).strip()


def _is_own(line: str) -> bool:
    return line.startswith((f'  File "{_OWN}', "Extension modules:")) or "<frozen runpy>" in line


def _message(error: BaseException) -> str:
    try:
        return str(error) or ("no memory was left" if isinstance(error, MemoryError) else "")
    except Exception as trouble:
        return f"(its text cannot be shown: {type(trouble).__name__})"


def _type_name(error: BaseException) -> str:
    kind = type(error)
    own = kind.__module__ == "builtins" or issubclass(kind, DafError)
    return kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}"


def _signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number).name  # type: ignore[arg-type]
    except ValueError:
        return f"signal {number}"


def _clip(text: str, limit: int) -> str:
    return clip(text.encode("utf-8", "replace").decode("utf-8"), limit)
