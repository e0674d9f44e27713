"""The report holds the figures it shows, needs nothing beside it, and escapes what it is given."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from nerf_plugin.export.atomic import ExportError
from nerf_plugin.report import compare_views, write_report


def views(count=3, size=16):
    rng = np.random.default_rng(5)
    for i in range(count):
        photo = rng.integers(0, 230, (size, size, 3), np.uint8)
        yield {"name": f"view {i}", "photo": photo, "render": photo / 255 + 0.1, "mesh": photo}


def test_figures_of_views_are_those_of_the_images():
    rows = compare_views(list(views()))
    assert rows[0]["psnr"] == pytest.approx(20.0, abs=0.2) and rows[0]["mesh_psnr"] == 99.0


def test_without_masks_a_mesh_is_held_against_the_subject_alone_and_a_poor_one_is_called_so(tmp_path):
    [view] = views(1)
    cut = view["photo"].copy()
    cut[:, :8] = 255
    given = view | {"cut": cut, "subject": cut / 255 + 0.05, "mesh": cut}
    [row] = compare_views([given])
    assert row["mesh_psnr"] == 99.0 and row["subject_psnr"] == pytest.approx(26, abs=3) != row["psnr"]
    assert "warning" not in write_report(tmp_path, "well", [given])["summary"]
    poor = write_report(tmp_path, "poor", [given | {"mesh": 255 - cut}])
    assert "could not be told from its surroundings" in poor["summary"]["warning"]
    assert poor["summary"]["warning"] in (tmp_path / "report.html").read_text()


def test_the_page_stands_alone_and_the_json_agrees(tmp_path):
    data = write_report(
        tmp_path,
        "A <head> & more",
        list(views(5)),
        curves={"loss": [(0, 1.0), (1, 0.5), (2, float("inf"))][:2]},
        rounds={"round_megabytes": 12.34},
        settings={"preset": "draft"},
        surface={"faces": 12345},
        timings={"train": 10.0, "mesh": 2.5},
        shown=2,
    )
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(data))
    page = (tmp_path / "report.html").read_text()
    assert "A &lt;head&gt; &amp; more" in page and "<head>" not in page.split("<style>")[0]
    assert page.count("<figure><div>") == 2 and len(data["views"]) == 5
    sources = re.findall(r"(?:src|href)='([^']{0,20})", page)
    assert sources and all(s.startswith("data:image/png") for s in sources)
    assert f"{data['summary']['psnr']:.2f} dB" in page and "12,345" in page
    assert "round_megabytes" in page and "12.34" in page


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(ExportError, match="cannot write"):
        write_report(tmp_path / "x", "t", [])
