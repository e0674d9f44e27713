"""What is wrong with a capture, in plain words: `daf nerf check`.

Three kinds of finding. A *problem* makes the capture unusable (exit code 1). A *warning* costs quality and says what to
do. A *note* is worth knowing. Measures are in `judge`, the picture in `sheet`; here are the thresholds and the
sentences.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nerf_plugin.datasets import judge, load, sheet
from nerf_plugin.datasets.model import Dataset, DatasetError

PROBLEM, WARNING, NOTE = "problem", "warning", "note"
FEWEST, ENOUGH = 3, 20
BLACK, BURNT = 50, 0.25


@dataclass(frozen=True)
class Finding:
    """One sentence about the capture, and the names of the views it is about (none: all of it)."""

    level: str
    kind: str
    text: str
    views: tuple[str, ...] = ()


@dataclass
class Report:
    """All findings, worst first, and the figures behind them."""

    path: Path
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    sheet: Path | None = None

    @property
    def usable(self) -> bool:
        return not any(finding.level == PROBLEM for finding in self.findings)

    def add(self, level: str, kind: str, text: str, views: Any = ()) -> None:
        names = tuple(views)
        if names:
            text += f" ({', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''})"
        self.findings.append(Finding(level, kind, text, names))

    def text(self) -> str:
        """For people."""
        facts = ", ".join(f"{key} {value}" for key, value in self.facts.items() if not isinstance(value, (list, dict)))
        lines = [f"{self.path}: {facts}" if facts else str(self.path)]
        lines += [f"  {finding.level:8} {finding.text}" for finding in self.findings]
        warned = any(finding.level == WARNING for finding in self.findings)
        verdict = "can be used, with the reservations above" if warned else "looks good"
        lines.append(f"This capture {verdict if self.usable else 'cannot be used as it is'}.")
        if self.sheet:
            lines.append(f"Contact sheet: {self.sheet}")
        return "\n".join(lines)

    def to_plain(self) -> dict[str, Any]:
        """For programs."""
        findings = [{"level": f.level, "kind": f.kind, "text": f.text, "views": list(f.views)} for f in self.findings]
        plain = {"path": str(self.path), "usable": self.usable, "findings": findings, "facts": self.facts}
        return {**plain, "sheet": str(self.sheet) if self.sheet else None}


def check_capture(path: Path | str, picture: Path | None = None) -> Report:
    """Reads a capture with all its views and judges it; writes a contact sheet to `picture`. Never raises for a bad
    capture.
    """
    report = Report(Path(path))
    try:
        dataset = load(path, "all")
    except DatasetError as error:
        report.add(PROBLEM, "files", str(error))
        return report
    for note in dataset.notes:
        report.add(NOTE, "files", note)
    looks, broken = [], []
    for view in dataset.views:
        try:
            looks.append(judge.look(view))
        except DatasetError as error:
            broken.append(view.name)
            report.add(PROBLEM, "files", str(error))
    report.facts.update(views=len(dataset), convention=dataset.dialect, masks="yes" if dataset.has_alpha else "no")
    if looks:
        _sizes(report, looks)
        _blur(report, looks)
        _exposure(report, looks)
        _twins(report, looks)
        if dataset.has_alpha:
            _masks(report, looks)
        _coverage(report, looks)
        _poses(report, dataset, looks)
    rank = {PROBLEM: 0, WARNING: 1, NOTE: 2}
    report.findings.sort(key=lambda finding: rank[finding.level])
    if picture is not None and looks:
        marks = {name: finding for finding in reversed(report.findings) for name in finding.views}
        report.sheet = sheet.draw(picture, looks, {name: (f.level, f.kind) for name, f in marks.items()})
    return report


def _photos(count: Any, one: str, many: str) -> str:
    return f"1 photo {one}" if count == 1 else f"{count} photos {many}"


def _names(looks: list[judge.Look], which: Any) -> list[str]:
    return [one.view.name for one, chosen in zip(looks, which) if chosen]


def _sizes(report: Report, looks: list[judge.Look]) -> None:
    sizes = sorted({(one.view.camera.width, one.view.camera.height) for one in looks})
    report.facts["size"] = ", ".join(f"{w}x{h}" for w, h in sizes[:3])
    if len(looks) < FEWEST:
        text = f"only {len(looks)} photos: depth needs at least {FEWEST}; take 40 to 100 around the subject"
        report.add(PROBLEM, "count", text)
    elif len(looks) < ENOUGH:
        report.add(
            WARNING, "count", f"only {len(looks)} photos: expect holes and blobs; 40 to 100 around the subject are good"
        )


def _blur(report: Report, looks: list[judge.Look]) -> None:
    blur = np.array([one.blur for one in looks])
    middle = float(np.median(blur))
    report.facts["blur"] = f"{middle:.2f}"
    lit = np.array([one.clipped <= BURNT and one.brightest >= BLACK for one in looks])
    bad = (blur > max(middle + 0.12, 1.25 * middle)) & lit
    if bad.any():
        text = f"{_photos(bad.sum(), 'is', 'are')} blurred against the rest: leave out or take again"
        report.add(WARNING, "blurred", text, _names(looks, bad))
    if middle > 0.62:
        text = "the photos as a whole are soft (out of focus, shaken or scaled up): details will be lost"
        report.add(WARNING, "blurred", text)


def _exposure(report: Report, looks: list[judge.Look]) -> None:
    light = np.array([max(one.light, 1.0) for one in looks])
    clipped = np.array([one.clipped for one in looks])
    around = judge.nearest([one.camera for one in looks], 4)
    stops = 2.2 * np.log2(light / np.median(light[around], axis=1)) if len(looks) > 4 else np.zeros(len(looks))
    dark, bright = np.array([one.brightest < BLACK and one.cover > 0 for one in looks]), clipped > BURNT
    if dark.any():
        text = f"{_photos(dark.sum(), 'is', 'are')} nearly black: use more light or a longer exposure"
        report.add(WARNING, "dark", text, _names(looks, dark))
    if bright.any():
        text = (
            f"{_photos(bright.sum(), 'is', 'are')} burnt out (more than a quarter of the subject is white): expose less"
        )
        report.add(WARNING, "burnt out", text, _names(looks, bright))
    uneven = (np.abs(stops) > 1.6) & ~dark & ~bright & (light > 12)
    if uneven.any():
        text = f"{_photos(uneven.sum(), 'is', 'are')} much lighter or darker than those beside: lock the exposure"
        report.add(WARNING, "exposure", text, _names(looks, uneven))
    report.facts["exposure_spread_stops"] = f"{float(np.std(stops)):.1f}"


def _twins(report: Report, looks: list[judge.Look]) -> None:
    seen: dict[bytes, str] = {}
    same = []
    for one in looks:
        key = one.pixels.tobytes()
        if key in seen:
            same.append(one.view.name)
        seen.setdefault(key, one.view.name)
    if len(same) * 2 > len(looks):
        report.add(PROBLEM, "twins", "most photos are the same picture: were the files copied over each other?", same)
    elif same:
        report.add(WARNING, "twins", f"{_photos(len(same), 'is a copy of another', 'are copies of others')}", same)


def _masks(report: Report, looks: list[judge.Look]) -> None:
    empty = np.array([one.cover == 0 for one in looks])
    if empty.all():
        report.add(PROBLEM, "mask", "all masks are empty: nothing is marked as subject")
    elif empty.any():
        report.add(WARNING, "mask", f"{empty.sum()} masks are empty", _names(looks, empty))
    cut = np.array([one.cut for one in looks])
    if cut.mean() > 0.25:
        text = (
            f"the subject runs over the picture's border in {cut.sum()} photos: what lies outside is not reconstructed"
        )
        report.add(NOTE, "cut", text)


def _coverage(report: Report, looks: list[judge.Look]) -> None:
    found = judge.coverage([one.camera for one in looks])
    low, high = float(found.elevation.min()), float(found.elevation.max())
    report.facts.update(
        azimuth_gap=f"{found.gap:.0f} degrees",
        elevation=f"{low:.0f} to {high:.0f} degrees",
        parallax=f"{found.parallax:.2f}",
    )
    if found.parallax < 0.05:
        text = "the camera hardly moved (it turned on the spot): depth cannot be told; walk around the subject"
        report.add(PROBLEM, "parallax", text)
        return
    if found.gap > 100:
        seen = 360 - found.gap
        text = f"the photos cover {seen:.0f} of 360 degrees around the subject: the far side will be a guess"
        report.add(WARNING, "coverage", text)
    elif found.gap > 45:
        report.add(
            WARNING, "coverage", f"a sector of {found.gap:.0f} degrees around the subject has no photo: take some there"
        )
    if high - low < 15 and len(looks) >= FEWEST:
        text = "all photos are from about one height: add some from above and below, for the crown and under the chin"
        report.add(NOTE, "coverage", text)


def _poses(report: Report, dataset: Dataset, looks: list[judge.Look]) -> None:
    distance = np.array([np.linalg.norm(one.camera.position - np.mean(dataset.bounds, axis=0)) for one in looks])
    far = distance > 4 * np.median(distance)
    if far.any():
        report.add(
            WARNING,
            "pose",
            f"{_photos(far.sum(), 'was', 'were')} taken from far away of all others, going by the pose",
            _names(looks, far),
        )
    if len(looks) < 6:
        return
    if dataset.has_alpha and dataset.bounds is not None:
        agreement, least = judge.silhouette_agreement(looks, dataset.bounds), 0.75
    else:
        agreement, least = judge.epipolar_agreement(looks), 0.45
    known = ~np.isnan(agreement)
    if known.sum() < 4:
        report.add(NOTE, "pose", "too little texture to check poses against each other")
        return
    middle = float(np.median(agreement[known]))
    report.facts["pose_agreement"] = f"{middle:.2f}"
    with np.errstate(invalid="ignore"):
        off = known & (agreement < least * middle)
    if middle < 0.3:
        text = "the poses contradict the photos: wrong axes, wrong focal length, or photos and poses mixed up"
        report.add(PROBLEM, "pose", text)
    elif off.any():
        text = f"{_photos(off.sum(), 'does', 'do')} not fit the pose given: leave out, or estimate poses again"
        report.add(WARNING, "pose", text, _names(looks, off))
