"""`python -m benchmarks`: run the suite; see `bin/bench --help`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from . import harness, report
from .cases import CASES
from .measure import PEERS
from .page import write as write_page


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--case", "cases", multiple=True, type=click.Choice(list(CASES)), help="Only these cases.")
@click.option("--peer", "peers", multiple=True, type=click.Choice(list(PEERS)), help="Only these peers.")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1, 100), help="Samples of each.")
@click.option("--quick", is_flag=True, help="Tiny inputs: shows that everything works, measures nothing.")
@click.option(
    "--out", default="bench-results", show_default=True, type=click.Path(path_type=Path), help="Folder for results."
)
@click.option("--cache", default=Path("~/.cache/daf-bench"), type=click.Path(path_type=Path), help="Folder for inputs.")
@click.option(
    "--compare",
    "baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier results.json.",
)
@click.option("--page", is_flag=True, help="Write docs/benchmarks.md and its plots from this run, too.")
def main(
    cases: tuple[str, ...],
    peers: tuple[str, ...],
    repeat: int,
    quick: bool,
    out: Path,
    cache: Path,
    baseline: Path | None,
    page: bool,
) -> None:
    """Run this library and its peers on the same work, interleaved, and write a table, plots and the raw samples.

    Results are written after each case: what was measured stays, whatever ends the run. A peer that is not installed is
    named as missing. Exit code 1 when a row failed or, with --compare, became worse.
    """
    about = harness.machine()
    out.mkdir(parents=True, exist_ok=True)

    def keep(rows: list[harness.Row]) -> None:
        (out / "results.md").write_text(report.markdown(rows, about))
        temporary = out / "results.json.tmp"
        temporary.write_text(json.dumps(harness.to_json(rows, about), indent=1))
        temporary.replace(out / "results.json")

    rows = harness.run(
        cases or CASES,
        peers or PEERS,
        repeat=1 if quick else repeat,
        quick=quick,
        cache=cache.expanduser(),
        tell=lambda text: click.echo(text, err=True),
        keep=keep,
    )
    keep(rows)
    report.plots(rows, out)
    click.echo(report.markdown(rows, about))
    if page:
        write_page([harness.to_json(rows, about)])
    failed = [row for row in rows if row.status == "failed"]
    for row in failed:
        click.echo(f"failed: {row.case} {row.peer}: {row.reason}\n  {row.command}", err=True)
    worse = False
    if baseline is not None:
        lines, worse = report.compare(rows, harness.from_json(json.loads(baseline.read_text())))
        click.echo("\n".join(lines) or "nothing changed beyond the noise")
    click.echo(f"results in {out}/results.md, results.json and *.svg", err=True)
    sys.exit(1 if failed or worse else 0)


if __name__ == "__main__":
    main()
