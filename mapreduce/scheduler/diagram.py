"""Draws the states of jobs and tasks from the tables that the scheduler obeys.

    python -m mapreduce.scheduler.diagram > states.svg

docs/generate.py puts the picture into the docs.
Only the places of the states are chosen by hand. A way that all unended states of a job have in common (failed,
cancelled, rewound) is drawn once, from the frame around them. Every way bends to its left, so there and back do not
lie on each other.
"""

from __future__ import annotations

from collections import defaultdict
from math import hypot
from xml.sax.saxutils import escape

from .model import JobState, TaskState
from .table import ENDED, JOB, TASK

Point = tuple[float, float]

WIDTH, HEIGHT = 900, 880
BOX = (118.0, 38.0)
FRAME = (60.0, 60.0, 780.0, 420.0)  # x, y, width, height around the states of a job that has not ended

JOB_PLACES: dict[JobState, Point] = {
    JobState.PLANNING: (150, 265),
    JobState.MAPPING: (440, 110),
    JobState.REDUCING: (730, 265),
    JobState.FINISHING: (440, 425),
    JobState.DONE: (440, 550),
    JobState.FAILED: (640, 550),
    JobState.CANCELLED: (780, 550),
}
TASK_PLACES: dict[TaskState, Point] = {
    TaskState.WAITING: (130, 740),
    TaskState.READY: (340, 740),
    TaskState.RUNNING: (560, 740),
    TaskState.DONE: (770, 740),
}

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2933;text-anchor:middle}"
    ".state{font-weight:600}.title{font-size:15px;font-weight:600;text-anchor:start}"
    ".way{fill:none;stroke:#52606d;stroke-width:1.4;marker-end:url(#tip)}"
    ".label{font-size:12px;stroke:#fff;stroke-width:5;paint-order:stroke;fill:#3e4c59}"
    ".box{fill:#e3f2ee;stroke:#2a7f6b;stroke-width:1.4}.ended{fill:#eef0f4}"
    ".frame{fill:none;stroke:#9aa5b1;stroke-dasharray:5 4}"
)


def common() -> dict[JobState, list[str]]:
    """What every unended state of a job has in common: target -> events."""
    alive = [ways for state, ways in JOB.items() if state not in ENDED]
    shared = set.intersection(*({(event, target) for event, target in ways.items()} for ways in alive))
    found: dict[JobState, list[str]] = defaultdict(list)
    for event, target in sorted(shared):
        found[target].append(event.value)
    return found


def job_ways() -> dict[tuple[JobState, JobState], list[str]]:
    """(from, to) -> events, without the common ones."""
    shared = common()
    found: dict[tuple[JobState, JobState], list[str]] = defaultdict(list)
    for state, ways in JOB.items():
        for event, target in ways.items():
            if event.value not in shared.get(target, ()):
                found[state, target].append(event.value)
    return found


def task_ways() -> dict[tuple[TaskState, TaskState], list[str]]:
    """(from, to) -> events."""
    found: dict[tuple[TaskState, TaskState], list[str]] = defaultdict(list)
    for state, ways in TASK.items():
        for event, target in ways.items():
            found[state, target].append(event.value)
    return found


def box(name: str, at: Point, ended: bool) -> str:
    (x, y), (w, h) = at, BOX
    kind = "box ended" if ended else "box"
    rect = f'<rect class="{kind}" x="{x - w / 2}" y="{y - h / 2}" width="{w}" height="{h}" rx="9"/>'
    return f'{rect}<text class="state" x="{x}" y="{y + 4.5}">{escape(name)}</text>'


def edge_of_box(at: Point, towards: Point) -> Point:
    """Where the line from a box's middle towards a point leaves the box."""
    dx, dy = towards[0] - at[0], towards[1] - at[1]
    scale = min((BOX[0] / 2 + 2) / abs(dx) if dx else 9e9, (BOX[1] / 2 + 2) / abs(dy) if dy else 9e9)
    return at[0] + dx * scale, at[1] + dy * scale


def way(start: Point, end: Point, events: list[str], bend: float) -> str:
    """A curve from box to box, bent to its left by `bend`, with its events beside it."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = hypot(dx, dy)
    middle = ((start[0] + end[0]) / 2 + dy / length * bend, (start[1] + end[1]) / 2 - dx / length * bend)
    (ax, ay), (bx, by) = edge_of_box(start, middle), edge_of_box(end, middle)
    beside = 10 + 32 * abs(dy) / length * (dx != 0) + 7 * (len(events) - 1)
    at = (ax + 2 * middle[0] + bx) / 4 + dy / length * beside, (ay + 2 * middle[1] + by) / 4 - dx / length * beside
    curve = f'<path class="way" d="M{ax:.1f} {ay:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {bx:.1f} {by:.1f}"/>'
    return curve + label(at[0], at[1], events)


def label(x: float, y: float, events: list[str]) -> str:
    first = y + 4 - 7 * (len(events) - 1)
    return "".join(
        f'<text class="label" x="{x:.1f}" y="{first + 14 * i:.1f}">{escape(e)}</text>' for i, e in enumerate(events)
    )


def from_frame(target: Point, events: list[str]) -> str:
    """A way that begins at the frame: down to a state below it, or to a state within it from the left."""
    x, y, _, height = FRAME
    if target[1] > y + height:
        line = f"M{target[0]} {y + height}L{target[0]} {target[1] - BOX[1] / 2 - 2}"
        return f'<path class="way" d="{line}"/>{label(target[0], (y + height + target[1] - BOX[1] / 2) / 2, events)}'
    line = f"M{x} {target[1] + 60}Q{target[0] - 30} {target[1] + 60} {target[0] - 30} {target[1] + BOX[1] / 2 + 2}"
    return f'<path class="way" d="{line}"/>{label(x + 52, target[1] + 72, events)}'


def svg() -> str:
    """The whole picture."""
    x, y, width, height = FRAME
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>States of jobs and tasks</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#52606d"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        '<text class="title" x="60" y="40">A job</text><text class="title" x="60" y="640">A task</text>',
        f'<rect class="frame" x="{x}" y="{y}" width="{width}" height="{height}" rx="14"/>',
    ]
    for (state, target), events in job_ways().items():
        start, end = JOB_PLACES[state], JOB_PLACES[target]
        parts.append(way(start, end, events, 0 if target in ENDED else 26))
    parts += [from_frame(JOB_PLACES[target], events) for target, events in common().items()]
    for (task, after), events in task_ways().items():
        distance = abs(list(TASK_PLACES).index(after) - list(TASK_PLACES).index(task))
        parts.append(way(TASK_PLACES[task], TASK_PLACES[after], events, 26 if distance == 1 else 66 * distance))
    parts += [box(job.value, at, job in ENDED) for job, at in JOB_PLACES.items()]
    parts += [box(state.name.lower(), at, False) for state, at in TASK_PLACES.items()]
    return "\n".join([*parts, "</svg>"])


if __name__ == "__main__":
    print(svg())
