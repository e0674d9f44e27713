"""`daf run` and `daf submit`: each job type is a command whose arguments come from its dataclass."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click
from click.shell_completion import CompletionItem

from .. import params, plugins
from ..errors import BadParameters, DafError, JobFailed
from ..job import Job
from .connect import COORDINATOR, connect
from .options import JobCommand, given, parameters
from .sizes import Limit


class JobTypes(click.Group):
    """A group with one command for each job type; a type can be named, or be in a file: file.py or file.py:Class."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.running: list[click.Parameter] = []
        self.body: Any = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return plugins.names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        name = _in_file(cmd_name) if ".py" in cmd_name else cmd_name
        cls = plugins.load(name)
        options = parameters(cls)
        for option in options:
            option.of_job = True  # type: ignore[attr-defined]

        def body(**values: Any) -> None:
            self.body(
                cls, given(cls, values), {option.name or "": values[option.name or ""] for option in self.running}
            )

        help = (cls.__doc__ or "").strip()
        if help.startswith(f"{cls.__name__}("):
            help = ""  # what @dataclass writes when there is no docstring
        return JobCommand(cmd_name, params=options + self.running, callback=body, help=help)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        command = self.get_command(ctx, args[0])
        return args[0], command, args[1:]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(p.name, help=p.doc) for p in plugins.known().values() if p.name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Job types"):
            formatter.write_dl([(plugin.name, plugin.doc) for plugin in plugins.known().values()])


def _in_file(spec: str) -> str:
    found = plugins.add(spec)
    if len(found) > 1:
        raise BadParameters(f"{spec} has {len(found)} job types: add :CLASS of one of {', '.join(found)}")
    return found[0]


@click.command(cls=JobTypes, subcommand_metavar="JOBTYPE [ARGS]...")
def run() -> None:
    """Run a job and wait for its result.

    JOBTYPE is one of those below or a file of your own: file.py, or file.py:Class. daf run JOBTYPE --help shows what it
    takes.
    """


run.running = [
    click.Option(
        ["--engine"], default="local", envvar="DAF_ENGINE", show_default=True, metavar="[inline|local|tcp://HOST:PORT]",
        help="Where to run: in this process, in worker processes of this machine, on a cluster.",
    ),
    click.Option(["--workers"], type=click.IntRange(1, 1024), help="Worker processes of the local engine."),
    click.Option(
        ["--state"], type=click.Path(file_okay=False),
        help="Folder in which the local engine keeps an unfinished job; the same command goes on with it.",
    ),
    click.Option(["--seed"], type=click.IntRange(0, 2**63 - 1), help="Seed of all that is random in the job."),
    click.Option(["--priority"], type=int, default=0, help="On a cluster: jobs of higher priority go first."),
    click.Option(
        ["--skip-bad"], type=click.IntRange(0, 1000), default=0, metavar="N",
        help="Set up to N splits aside whose task fails for good, instead of failing the job; the end lists them.",
    ),
    click.Option(
        ["--limit"], multiple=True, type=Limit(), metavar="NAME=VALUE",
        help="What one task may take in the local engine: memory, output, file-size (as 800M), seconds, cpu (seconds "
        "of a processor), processes, files (open at once). daf-worker --help tells the defaults; 0: no limit.",
    ),
    click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object: status, value, artifacts and more."),
    click.Option(["--quiet", "-q"], is_flag=True, help="No progress."),
]  # fmt: skip


def _run(cls: type[Job], values: dict[str, Any], running: dict[str, Any]) -> None:
    from ..engines import run as run_job
    from . import output, progress

    engine, seed = running["engine"], running["seed"]
    if seed is not None and "seed" in {field.name for field in params.fields(cls)}:
        values, seed = values | {"seed": seed}, None
    job = params.validate(cls, values, lax=True)
    options: dict[str, Any] = {"skip_bad": running["skip_bad"]}
    if "://" in engine:
        options["priority"] = running["priority"]
    says = "stopping; the same command goes on from here" if running["state"] else "cancelling"
    with interruptible(says), progress.display(cls.name, quiet=running["quiet"]) as shown:
        try:
            result = run_job(
                job,
                engine,
                workers=running["workers"],
                seed=seed,
                on_update=shown.update,
                state=running["state"],
                limits=dict(running["limit"]),
                **options,
            )
        except (DafError, KeyboardInterrupt):
            raise
        except Exception as error:
            if isinstance(error, BrokenPipeError):  # of the engine's: stdout is not written yet
                raise DafError(f"the {engine} engine broke off: {error}") from error
            if engine != "inline":
                raise
            from ..working.failure import of_exception

            raise JobFailed.of(of_exception(error), type=cls.name) from error
    output.result(result, as_json=running["as_json"], quiet=running["quiet"])


run.body = _run


@click.command(cls=JobTypes, subcommand_metavar="JOBTYPE [ARGS]...")
def submit() -> None:
    """Give a job to a coordinator and print its number.

    The coordinator is the one of --coordinator or of the variable DAF_COORDINATOR. daf watch NUMBER follows the job.
    """


submit.running = [COORDINATOR, *(o for o in run.running if o.name in ("seed", "priority", "skip_bad", "as_json"))]


def _submit(cls: type[Job], values: dict[str, Any], running: dict[str, Any]) -> None:
    from .output import emit

    seed = running["seed"]
    if seed is not None and "seed" in {field.name for field in params.fields(cls)}:
        values = values | {"seed": seed}
    job = params.validate(cls, values, lax=True)
    with connect(running["coordinator"]) as client:
        number = client.submit(
            cls.name,
            params.pack(job),
            version=plugins.version(cls.name),
            seed=job.seed if seed is None else seed,
            priority=running["priority"],
            skip_bad=running["skip_bad"],
        )
    emit({"job": number, "status": "submitted"}) if running["as_json"] else click.echo(number)


submit.body = _submit


@contextmanager
def interruptible(says: str = "cancelling") -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) raises KeyboardInterrupt, so that the engine cancels what runs; a later one ends at
    once. What comes within half a second is the same one again: `timeout` and other wrappers deliver it twice."""
    asked = 0.0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        now = time.monotonic()
        if not asked:
            asked = now
            click.echo(f"\ndaf: {says}; Ctrl-C again leaves at once", err=True)
            raise KeyboardInterrupt
        if now - asked > 0.5:
            os.write(2, b"\x1b[?25h\n" if os.isatty(2) else b"")
            os._exit(128 + number)

    before = {name: signal.signal(name, handle) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
