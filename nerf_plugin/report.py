"""The honest quality report: one HTML page that needs nothing beside it, and the same figures as JSON.

The page shows every held-out photo beside the field's render (and the mesh's, where given) with its own PSNR and
SSIM, the difference made visible, the training curves, the surface's facts and the settings. Pictures are embedded,
curves are drawn as SVG: no script, no network, nothing to install.
"""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nerf_plugin.export.atomic import write_bytes
from nerf_plugin.export.obj import png_bytes
from nerf_plugin.metrics import SSIM_NAME, psnr, ssim

_STYLE = """ :root{color-scheme:light dark;--ink:#1c1f24;--dim:#67707c;--line:#d8dde3;--page:#fbfbfa;--mark:#0b6e99}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--dim:#9aa3ae;--line:#3a4048;--page:#16181b;--mark:#58b7e0}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:1100px;margin:2rem auto;
padding:0 1rem}h1{font-size:1.7rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0
.6rem}p,figcaption,th{color:var(--dim)} .tiles{display:flex;flex-wrap:wrap;gap:2rem;margin:1.2rem 0}.tiles
b{display:block;font-size:1.6rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15rem 1.2rem .15rem 0;text-align:left;
border-bottom:1px solid var(--line);font-weight:400}figure{margin:0 0 1.2rem}figure
div{display:flex;gap:4px;flex-wrap:wrap} figure img{width:calc(25% -
3px);min-width:150px;background:#fff}svg{width:100%;max-width:520px;height:auto} svg text{font:11px
system-ui;fill:var(--dim)}polyline{fill:none;stroke:var(--mark);stroke-width:2} .axis{stroke:var(--line)}
"""


POOR, WORSE = 18.0, 6.0
"""dB of a mesh without masks, and how far behind the field, from which on the report warns."""


def _float_image(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    return image.astype(np.float64) / 255 if image.dtype == np.uint8 else np.clip(image.astype(np.float64), 0, 1)


def compare_views(views: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Figures of held-out views.

    Each view: name; photo, render and perhaps mesh: (H,W,3) uint8 or floats in 0..1, on the same background. Where the
    photo shows surroundings that the mesh has not, also cut: the photo of the subject alone, and subject: the field's
    render of it. Returns for each {name, psnr, ssim}, {mesh_psnr, mesh_ssim} where there is a mesh and {subject_psnr,
    subject_ssim} where there is a subject, the last two against the cut; dB of values rounded to 8 bits.
    """
    results = []
    for view in views:
        photo = _float_image(view["photo"])
        cut = photo if view.get("cut") is None else _float_image(view["cut"])
        row: dict[str, Any] = {"name": str(view["name"])}
        for key, prefix, truth in (("render", "", photo), ("subject", "subject_", cut), ("mesh", "mesh_", cut)):
            if view.get(key) is not None:
                image = np.rint(_float_image(view[key]) * 255) / 255
                row[prefix + "psnr"] = psnr(image, truth)
                row[prefix + "ssim"] = ssim(image, truth)
        results.append(row)
    return results


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over views (mean of the per-image figures, as the literature has it), and the number of views."""
    kinds = ("", "subject_", "mesh_")
    names = [k + unit for k in kinds for unit in ("psnr", "ssim") if rows and all(k + unit in row for row in rows)]
    means = {"views": len(rows), **{name: float(np.mean([row[name] for row in rows])) for name in names}}
    behind = means.get("subject_psnr", 0.0) - means.get("mesh_psnr", 0.0)
    if "subject_psnr" in means and (behind > WORSE or means["mesh_psnr"] < POOR):
        means["warning"] = (
            f"the mesh shows the subject at {means['mesh_psnr']:.1f} dB only (the field at "
            f"{means['subject_psnr']:.1f}): it could not be told from its surroundings. Let `daf nerf masks` look for "
            "masks, give them (a folder `masks` beside the photos, or alpha), install the extra rembg, which makes "
            "them, or take more photos, from all around"
        )
    return means


def data_uri(image: np.ndarray) -> str:
    """A PNG of (H,W,3|4) as a data: URI."""
    if image.dtype != np.uint8:
        image = np.rint(_float_image(image) * 255).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode()


def _curve(name: str, points: Sequence[Sequence[float]]) -> str:
    xy = np.array([p for p in points if np.isfinite(p).all()], np.float64).reshape(-1, 2)
    if len(xy) < 2:
        return ""
    low, high = xy.min(axis=0), xy.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    place = [50, 10] + (xy - low) / span * [440, 180]
    line = " ".join(f"{x:.1f},{200 - y:.1f}" for x, y in place)
    return (
        f"<figure><svg viewBox='0 0 500 225' role='img' aria-label='{html.escape(name)}'>"
        f"<line class='axis' x1='50' x2='490' y1='190' y2='190'/><line class='axis' x1='50' x2='50' y1='10' y2='190'/>"
        f"<polyline points='{line}'/><text x='46' y='194' text-anchor='end'>{low[1]:.4g}</text>"
        f"<text x='46' y='18' text-anchor='end'>{high[1]:.4g}</text><text x='50' y='208'>{low[0]:.4g}</text>"
        f"<text x='490' y='208' text-anchor='end'>{high[0]:.4g}</text></svg>"
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
    )


def _table(values: Mapping[str, Any]) -> str:
    def show(value: Any) -> str:
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    rows = "".join(f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(show(v))}</td></tr>" for k, v in values.items())
    return f"<table>{rows}</table>"


def _view(view: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    photo = _float_image(view["photo"])
    render = _float_image(view["render"]) if view.get("render") is not None else None
    pictures = [("photo", photo)]
    if render is not None:
        pictures.append(("field", render))
    if view.get("mesh") is not None:
        pictures.append(("mesh", _float_image(view["mesh"])))
    if render is not None:
        pictures.append(("difference of field and photo, five times", np.clip(1 - 5 * np.abs(render - photo), 0, 1)))
    images = "".join(f"<img src='{data_uri(image)}' alt='{name}' title='{name}'>" for name, image in pictures)
    kinds = (("field", "psnr"), ("subject alone", "subject_psnr"), ("mesh", "mesh_psnr"))
    figures = [f"{name} {row[key]:.2f} dB" for name, key in kinds if key in row]
    figures += [f"SSIM {row['ssim']:.4f}"] if "ssim" in row else []
    caption = html.escape(f"{row['name']}: {', '.join(figures)} · {' | '.join(name for name, _ in pictures)}")
    return f"<figure><div>{images}</div><figcaption>{caption}</figcaption></figure>"


def chosen(count: int, shown: int = 12) -> set[int]:
    """Which of `count` views get pictures on the page: at most `shown`, evenly spread."""
    return {round(i) for i in np.linspace(0, count - 1, min(shown, count))} if count else set()


def measured(view: Mapping[str, Any], shown: bool = True) -> dict[str, Any]:
    """What the report needs of one view as `compare_views` takes it, for whoever measures them side by side: name, row
    (figures), figure (HTML with its pictures; "" unless `shown`)."""
    [row] = compare_views([view])
    return {"name": str(view["name"]), "row": row, "figure": _view(view, row) if shown else ""}


def report_files(
    title: str,
    views: Sequence[Mapping[str, Any]],
    *,
    curves: Mapping[str, Sequence[Sequence[float]]] | None = None,
    rounds: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    surface: Mapping[str, Any] | None = None,
    timings: Mapping[str, float] | None = None,
    shown: int = 12,
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """({"report.html": bytes, "report.json": bytes}, what report.json holds).

    views as for `compare_views`, or as `measured` returns them (all are measured; `shown` of them, evenly spread, get
    pictures on the page); curves: name to (x, y) points; rounds: what travelled in a round of training; the rest: plain
    values by name.
    """
    pictured = chosen(len(views), shown)
    told = [view if "row" in view else measured(view, i in pictured) for i, view in enumerate(views)]
    rows = [view["row"] for view in told]
    data = {
        "title": title,
        "summary": summary(rows),
        "views": rows,
        "surface": dict(surface or {}),
        "timings": dict(timings or {}),
        "rounds": dict(rounds or {}),
        "settings": dict(settings or {}),
        "curves": {name: [list(map(float, p)) for p in points] for name, points in (curves or {}).items()},
        "ssim": SSIM_NAME,
    }
    tiles = [
        (f"{data['summary'][k]:.2f} dB", n)
        for k, n in (
            ("psnr", "field, held-out PSNR"),
            ("subject_psnr", "field, subject alone"),
            ("mesh_psnr", "mesh, held-out PSNR"),
        )
        if k in data["summary"]
    ]
    if "ssim" in data["summary"]:
        tiles.append((f"{data['summary']['ssim']:.4f}", "field, held-out SSIM"))
    if "faces" in data["surface"]:
        tiles.append((f"{data['surface']['faces']:,}", "faces"))
    if timings:
        tiles.append((f"{sum(timings.values()):.0f} s", "in all stages"))
    sections = [
        f"<h1>{html.escape(title)}</h1><div class='tiles'>"
        + "".join(f"<div><b>{html.escape(value)}</b>{html.escape(name)}</div>" for value, name in tiles)
        + "</div>",
        f"<p><strong>Warning:</strong> {html.escape(data['summary']['warning'])}.</p>"
        if "warning" in data["summary"]
        else "",
        f"<h2>Photos that training never saw</h2><p>{len(rows)} views; {len(pictured)} shown.</p>" if rows else "",
        *(told[i]["figure"] for i in sorted(pictured)),
        "<h2>Training</h2>" if curves else "",
        *(_curve(name, points) for name, points in (curves or {}).items()),
    ]
    for name, values in (
        ("What a round sent", rounds),
        ("Surface", surface),
        ("Time in seconds", timings),
        ("Settings", settings),
    ):
        if values:
            sections.append(f"<h2>{name}</h2>{_table(values)}")
    if "subject_psnr" in data["summary"]:
        sections.append(
            "<p>The photos have no masks. Figures of the mesh, and of the subject alone, are over white and of the "
            "part of each photo in which the field or the mesh shows the subject.</p>"
        )
    sections.append(f"<p>PSNR: mean over images of −10·log10(MSE), 8-bit values. SSIM: {html.escape(SSIM_NAME)}.</p>")
    page = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><body>{''.join(sections)}</body></html>\n"
    )
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return {"report.html": page.encode(), "report.json": text.encode()}, data


def write_report(
    folder: str | os.PathLike[str], title: str, views: Sequence[Mapping[str, Any]], **parts: Any
) -> dict[str, Any]:
    """`report_files` into `folder`; returns what report.json holds. Raises ExportError where the folder cannot be
    written."""
    files, data = report_files(title, views, **parts)
    for name, content in files.items():
        write_bytes(Path(folder) / name, content)
    return data
