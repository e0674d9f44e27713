"""Every error that DAF raises on purpose, each with the exit code that the command line ends with.

| code | class | meaning |
|---|---|---|
| 0 | | the command did what was asked |
| 1 | `DafError` | something failed that has no code of its own |
| 2 | `BadParameters`, `UnknownJobType` | the command was wrong: a parameter, an option, the name of a job type |
| 3 | `BadInput`, `JobFailed` for that reason | what the user brought (a file, a data set) cannot be used |
| 4 | `JobFailed` | the job ran and failed |
| 5 | `JobCancelled` | the job was cancelled |
| 6 | `Refused`, `Overloaded`, `UnknownJob` | the coordinator answered no |
| 7 | `Unreachable` | no coordinator answered in time |
| 8 | `StoreError` | the durable store cannot be opened, read or written |
| 9 | `BrokenPlugin` | a job type was found but cannot be loaded |
| 10 | `Insecure` | refused to start in a way that would let strangers in |
| 11 | `TimedOut` | the wait ended before the job did; the job runs on |
| 130 | | ended by Ctrl-C |
| 141 | | nobody reads the output any more |

An error's text names the thing, says what is wrong with it and what to do next. Everything else that escapes is a bug
of ours."""

from __future__ import annotations

from typing import Any, ClassVar

_ROWS = [[cell.strip() for cell in line.split("|")] for line in (__doc__ or "").splitlines()]
EXIT_CODES = {int(row[1]): row[3] for row in _ROWS if len(row) == 5 and row[1].isdigit()}
"""The table above: exit code to meaning."""


class DafError(Exception):
    """Base of all errors that DAF raises on purpose."""

    exit_code: ClassVar[int] = 1


class BadParameters(DafError, ValueError):
    """A parameter of a job or an option of a command is missing, unknown, or of the wrong type or range."""

    exit_code = 2


class UnknownJobType(BadParameters):
    """No plugin of that name is installed (or no worker of the cluster has it)."""


class BadInput(DafError, ValueError):
    """A file or data set that the user brought cannot be used: missing, truncated, malformed, out of range."""

    exit_code = 3


class JobFailed(DafError):
    """The job ended as failed.

    Attributes:
        job: its number, 0 for the inline engine.
        error: why; has the fields of `mapreduce.scheduler.model.TaskError` (kind, type, message, traceback, worker,
            input, exit_code, signal, peak_memory, log), or None when the coordinator gave no more than a sentence.
    """

    exit_code = 4

    def __init__(self, message: str, *, job: int = 0, error: Any = None):
        super().__init__(message)
        self.job = job
        self.error = error

    @classmethod
    def of(cls, error: Any, *, job: int = 0, type: str = "", task: str = "") -> JobFailed:
        """The failure as people want to read it: what was raised and where, the user's own frames, then what the worker
        knew. Input that cannot be used is told as such and no more, with the exit code of `BadInput`, wherever it was
        noticed."""
        if error.kind == "bad-input":
            failed = cls(error.message, job=job, error=error)
            failed.exit_code = BadInput.exit_code  # type: ignore[misc]
            return failed
        what = f"{error.type}: {error.message}" if error.type else error.message or error.kind
        head = f"job {job} ({type}) failed" if type else f"job {job} failed"
        lines = [f"{head}{f' in {task}' if task else ''}: {what}"]
        if error.traceback:
            lines.append(error.traceback.rstrip())
        for name, value in (
            ("input", error.input),
            ("worker", error.worker),
            ("exit code", error.exit_code),
            ("signal", error.signal),
            ("peak memory", f"{error.peak_memory / 2**20:.0f} MiB" if error.peak_memory else ""),
        ):
            if value not in (None, ""):
                lines.append(f"  {name}: {value}")
        if error.log:
            lines.append("  last words of the worker:")
            lines.extend(f"    {line}" for line in error.log.rstrip().splitlines()[-20:])
        return cls("\n".join(lines), job=job, error=error)


class JobCancelled(DafError):
    """The job was cancelled, by someone or by a refused submission."""

    exit_code = 5

    def __init__(self, message: str, *, job: int = 0):
        super().__init__(message)
        self.job = job


class Refused(DafError):
    """The coordinator does not accept this peer or this request; the text says the difference."""

    exit_code = 6


class Overloaded(Refused):
    """The coordinator takes no more for now. `retry_after` is in seconds, 0 when it cannot say."""

    def __init__(self, message: str, *, retry_after: float = 0.0):
        super().__init__(message)
        self.retry_after = retry_after


class UnknownJob(Refused):
    """The coordinator has no job of that number."""


class EngineFailed(DafError):
    """The processes of a local engine cannot be kept running; the message has the last words of the one that ends."""


class Unreachable(DafError, ConnectionError):
    """No coordinator answers at the endpoint."""

    exit_code = 7


class StoreError(DafError):
    """The durable store cannot be opened, read or written: corrupt, locked by another coordinator, of a newer version,
    disk full."""

    exit_code = 8


class BrokenPlugin(DafError):
    """A job type's module raised on import, or what its entry point names is not a Job."""

    exit_code = 9


class Insecure(DafError):
    """A way to start that would let strangers in."""

    exit_code = 10


class TimedOut(DafError, TimeoutError):
    """The wait for a job ended before the job did. The job runs on."""

    exit_code = 11


class WireError(DafError, ValueError):
    """A frame that is not a message of the protocol: too large, malformed, of a wrong type, or with a field out of
    range."""
