"""The 3D viewer draws the model in a real browser, from the file system, and asks the network for nothing."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from nerf_plugin.export.viewer import viewer_html, write_viewer
from nerf_plugin.mesh import Mesh, MeshError
from tests.nerf_plugin.tools import lacking

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
"""Sides of a cube towards -x, +x, -y, +y, -z, +z."""


def cube():
    """A cube whose side towards -y is red and whose other sides are blue, by texture."""
    faces = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))], np.int32)
    uv = np.array([[0.25, 0.5], [0.75, 0.5]])
    uv_faces = np.ones_like(faces)
    uv_faces[4:6] = 0
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:, :4, 0] = texture[:, 4:, 2] = 255
    return Mesh(CORNERS, faces), {"uv": uv, "uv_faces": uv_faces, "texture": texture}


def test_the_page_holds_all_it_needs_and_escapes_its_title():
    mesh, parts = cube()
    page = viewer_html(mesh, **parts, title="<script>")
    assert "&lt;script&gt;" in page and "<title><script>" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "@DATA@" not in page and "@TITLE@" not in page


def test_a_mesh_without_faces_is_refused():
    with pytest.raises(MeshError, match="nothing to show"):
        viewer_html(Mesh(CORNERS, np.zeros((0, 3), np.int32)))


def test_a_browser_shows_the_side_asked_for(tmp_path):
    try:
        from playwright import sync_api
    except ModuleNotFoundError:
        lacking("browser", "playwright is not installed (extra: dev)")
    mesh, parts = cube()
    assert mesh.volume() == pytest.approx(8)
    path = write_viewer(tmp_path / "viewer.html", mesh, **parts, front=[0, -1, 0])
    with sync_api.sync_playwright() as play:
        try:
            browser = play.chromium.launch(
                executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
                args=["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"],
            )
        except sync_api.Error as error:
            lacking("browser", f"no browser to test with: {str(error).splitlines()[0]}")
        page = browser.new_page(viewport={"width": 320, "height": 240}, reduced_motion="reduce")
        page.set_default_timeout(20_000)
        asked, wrong = [], []
        page.on("request", lambda request: asked.append(request.url[:40]))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=yes]", timeout=40_000)
        front = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        page.focus("canvas")
        for _ in range(31):
            page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        behind = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    assert not wrong
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert front[120, 160].tolist() == [255, 0, 0]
    assert behind[120, 160].tolist() == [0, 0, 255]
