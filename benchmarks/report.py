"""Tables (Markdown) and plots (SVG) of one run, and the comparison with an earlier one."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

from .cases import CASES, Figure
from .harness import Row
from .measure import PEERS


def markdown(rows: list[Row], about: dict[str, Any]) -> str:
    """One table a case: medians, spread, versions; failed and missing peers are named."""
    lines = [
        f"Measured {about['date']} on {about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB, "
        f"{about['system']}, Python {about['python']}; load before {about['load_before']}. "
        "Median (smallest to largest).",
        "",
    ]
    for name in dict.fromkeys(row.case for row in rows):
        case, group = CASES[name], [row for row in rows if row.case == name]
        params = ", ".join(f"{key} {value}" for key, value in group[0].params.items() if key != "data")
        lines += [f"### {case.title}", "", f"`{name}`{f' ({params})' if params else ''}", ""]
        shown = {
            key: figure for key, figure in case.figures.items() if any(row.spread(key) for row in group)
        } or case.figures
        lines.append(
            "| peer | "
            + " | ".join(f"{key}, {figure.unit}" for key, figure in shown.items())
            + " | version | `bin/bench` |"
        )
        lines.append("|---|" + "---|" * (len(shown) + 2))
        first = next(iter(case.figures))
        for row in sorted(group, key=lambda row: _rank(row, first, case.figures[first])):
            if row.status == "ok":
                cells = [_cell(row, figure) for figure in shown]
            else:
                cells = [f"{row.status}: {row.reason[:80]}"] + [""] * (len(shown) - 1)
            command = f"`--case {row.case} --peer {row.peer}`"
            lines.append(f"| {PEERS[row.peer]} | " + " | ".join(cells) + f" | {row.version} | {command} |")
        lines.append("")
    return "\n".join(lines)


def _rank(row: Row, name: str, figure: Figure) -> tuple[int, float]:
    value = row.median(name)
    if row.status != "ok" or value is None:
        return (1, 0.0)
    return (0, -value if figure.better == "more" else value)


def _cell(row: Row, name: str) -> str:
    value, spread = row.median(name), row.spread(name)
    if value is None or spread is None:
        return ""
    return f"**{_number(value)}** ({_number(spread[0])} to {_number(spread[1])})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def plots(rows: list[Row], folder: Path) -> list[Path]:
    """One SVG a case of several rows: the first figure as bars, or as points on a logarithmic scale where figures lie
    far apart, with their spread, ours in colour. Needs matplotlib; without it no plots are made."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "daf"
    from matplotlib import pyplot

    made = []
    for name in dict.fromkeys(row.case for row in rows):
        case = CASES[name]
        label, figure = next(iter(case.figures.items()))
        group = [row for row in rows if row.case == name and row.status == "ok" and row.median(label) is not None]
        if len(group) < 2:
            continue
        group.sort(key=lambda row: _rank(row, label, figure), reverse=True)
        medians = [row.median(label) or 0.0 for row in group]
        spreads = [row.spread(label) or (0.0, 0.0) for row in group]
        errors = [[m - low for m, (low, _) in zip(medians, spreads, strict=True)]]
        errors.append([high - m for m, (_, high) in zip(medians, spreads, strict=True)])
        title = fill(case.title, 90)
        height = 0.45 + 0.15 * len(title.splitlines()) + 0.35 * len(group)
        figure_, axes = pyplot.subplots(figsize=(7, height), layout="constrained")
        colors = ["#1f6f8b" if row.peer.startswith("daf") else "#b9c4c9" for row in group]
        names, scale = [row.peer for row in group], ""
        if min(medians) > 0 and max(medians) > 30 * min(medians):  # points: a bar's length means nothing without a zero
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:,g}")
            axes.errorbar(medians, names, xerr=errors, fmt="none", ecolor="#444444", capsize=2)
            axes.scatter(medians, names, s=60, color=colors, zorder=3)
            axes.grid(axis="x", color="#e3e8ea", zorder=0)
            axes.set_ylim(-0.6, len(group) - 0.4)
            scale = ", logarithmic scale"
        else:
            axes.barh(names, medians, xerr=errors, color=colors, ecolor="#444444", capsize=2)
        for place, (median, (_, high)) in enumerate(zip(medians, spreads, strict=True)):
            axes.annotate(_number(median), (high, place), (7, 0), textcoords="offset points", va="center", fontsize=8)
        axes.margins(x=0.1)
        axes.set_xlabel(f"{label}, {figure.unit} ({figure.better} is better{scale})")
        axes.set_title(title, fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        path = folder / f"{name}.svg"
        figure_.savefig(path, metadata={"Date": None})
        pyplot.close(figure_)
        made.append(path)
    return made


def compare(rows: list[Row], baseline: list[Row]) -> tuple[list[str], bool]:
    """Lines that say what changed since `baseline`, and whether anything became worse.

    A change counts when the ranges of the samples do not overlap and the medians differ by more than 10 %, or by more
    than 30 % where either has fewer than three samples, whose range says little: within one machine's noise nothing is
    called a regression.
    """
    before = {(row.case, row.peer): row for row in baseline}
    lines, worse = [], False
    for row in rows:
        old = before.get((row.case, row.peer))
        if old is None or row.status != "ok" or old.status != "ok" or row.params != old.params:
            continue
        for name, figure in CASES[row.case].figures.items():
            now, then, now_range, then_range = row.median(name), old.median(name), row.spread(name), old.spread(name)
            if not now or not then or now_range is None or then_range is None:
                continue
            apart = now_range[0] > then_range[1] or now_range[1] < then_range[0]
            ratio, few = now / then, min(len(row.samples), len(old.samples)) < 3
            if not apart or max(ratio, 1 / ratio) < (1.3 if few else 1.1):
                continue
            better = (ratio > 1) == (figure.better == "more")
            worse |= not better
            verdict = "better" if better else "WORSE"
            lines.append(
                f"{verdict}: {row.case} {row.peer} {name}: "
                f"{_number(then)} -> {_number(now)} {figure.unit} (x{ratio:.2f})"
            )
    return lines, worse
