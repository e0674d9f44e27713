"""Camera paths are read in the dialects that people have, and a field is rendered along them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mapreduce import BadInput
from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.commands import nerf
from nerf_plugin.field import Field
from nerf_plugin.frames import Frames, color_of, encode, render
from nerf_plugin.grid import Grid
from nerf_plugin.paths import orbit, read_path
from nerf_plugin.shells import Shells
from tests.nerf_plugin.captures import ball
from tests.nerf_plugin.tools import lacking

POSE = look_at((0.0, -6.0, 1.0), (0.0, 0.0, 0.0))


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """A dense reddish block in a blue world."""
    cells = np.zeros((8, 8, 8))
    cells[2:5, 2:5, 2:5] = 1
    grid = Grid.from_cells(cells, np.full(3, -2.0), 0.5, np.full(3, -2.0), 0.5, (2, 2, 2))
    rows = np.zeros((grid.rows, 16), np.float32)
    rows[:, 0], rows[:, 1], rows[:, 2:4] = 20.0, 12.0, -12.0
    sky = np.zeros((1, 2, 2, 4), np.float32)
    sky[..., 1:] = [-9, -9, 9]
    Field(grid, rows, 5.0, 0.0, Shells(np.zeros(3), np.zeros(0), sky)).save(tmp_path / "field.daf")
    return tmp_path / "field.daf"


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def studio(**changes: object) -> dict[str, object]:
    frame = {"camera_to_world": POSE.ravel().tolist(), "fov": 40.0, "aspect": 1.5}
    head = {
        "camera_type": "perspective",
        "render_width": 60,
        "render_height": 40,
        "fps": 12,
        "camera_path": [frame] * 3,
    }
    return head | changes


def daf(*arguments: object) -> str:
    result = CliRunner().invoke(nerf, ["render", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_nerfstudio_path(tmp_path: Path) -> None:
    path = read_path(written(tmp_path / "camera_path.json", studio()))
    camera = path.cameras[1]
    assert (len(path.cameras), path.fps, camera.width, camera.height) == (3, 12.0, 60, 40)
    assert 2 * math.degrees(math.atan(20 / camera.fy)) == pytest.approx(40.0)
    np.testing.assert_allclose(camera.matrix, POSE, atol=1e-12)


def test_what_nerfstudio_moved_is_moved_back(tmp_path: Path) -> None:
    turn = look_at((1.0, 2.0, 3.0), (0.0, 0.5, 0.0))
    moved = turn @ POSE
    moved[:3, 3] *= 0.25
    frame = {"camera_to_world": moved.tolist(), "fov": 40.0}
    path = written(tmp_path / "path.json", studio(camera_path=[frame]))
    move = written(tmp_path / "dataparser_transforms.json", {"transform": turn[:3].tolist(), "scale": 0.25})
    np.testing.assert_allclose(read_path(path, None, move).cameras[0].matrix, POSE, atol=1e-9)


def test_a_transforms_file_without_its_images(tmp_path: Path) -> None:
    frames = [
        {"transform_matrix": POSE.tolist(), "file_path": "gone.png"},
        {"transform_matrix": POSE.tolist(), "w": 30, "h": 20, "fl_x": 25.0, "cx": 14.0},
    ]
    file = written(tmp_path / "transforms.json", {"camera_angle_x": 0.9, "w": 64, "h": 48, "frames": frames})
    wide, own = read_path(file).cameras
    assert (wide.width, wide.height, wide.cx) == (64, 48, 32.0) and wide.fx == pytest.approx(32 / math.tan(0.45))
    assert (own.width, own.fx, own.fy, own.cx, own.cy) == (30, 25.0, 25.0, 14.0, 10.0)
    assert {(c.width, c.height) for c in read_path(file, (128, 96)).cameras} == {(128, 96)}


def test_a_blender_file_has_no_size_of_its_own(tmp_path: Path) -> None:
    file = written(tmp_path / "t.json", {"camera_angle_x": 0.9, "frames": [{"transform_matrix": POSE.tolist()}]})
    assert read_path(file, (50, 50)).cameras[0].fx == pytest.approx(25 / math.tan(0.45))
    with pytest.raises(BadInput, match=r"frame 0.*no size.*--size"):
        read_path(file)


def test_a_capture_is_a_path(tmp_path: Path) -> None:
    assert len(read_path(ball(tmp_path / "ball", views=3, test_views=2)).cameras) == 5


BAD = [
    ("[1]", "no object"),
    ("{", "not valid JSON"),
    ("{}", "neither `camera_path`"),
    (studio(camera_path=[]), "no cameras"),
    (studio(camera_path=[1]), "no list of objects"),
    (studio(camera_type="fisheye"), "fisheye"),
    (studio(render_width=0), "render_width"),
    (studio(camera_path=[{"camera_to_world": [1, 2], "fov": 40}]), "frame 0.*camera_to_world"),
    (studio(camera_path=[{"camera_to_world": [0] * 16, "fov": 40}]), "frame 0.*rotation"),
    (studio(camera_path=[{"camera_to_world": POSE.ravel().tolist()}]), "frame 0.*fov.*missing"),
    (studio(camera_path=[{"camera_to_world": POSE.ravel().tolist(), "fov": "wide"}]), "frame 0.*'wide'"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_a_bad_path_is_refused_by_name(tmp_path: Path, content: object, message: str) -> None:
    file = tmp_path / "path.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(BadInput, match=f"path.json.*{message}"):
        read_path(file)


def test_an_orbit_looks_at_the_box_from_all_around() -> None:
    bounds = np.array([[0.0, 0.0, 0.0], [2.0, 4.0, 4.0]])
    cameras = orbit(bounds, 8, (40, 30), up="y", elevation=30.0, distance=2.0, fov=60.0).cameras
    at = np.array([camera.position for camera in cameras]) - [1, 2, 2]
    np.testing.assert_allclose(np.linalg.norm(at, axis=1), 12.0)
    np.testing.assert_allclose(at[:, 1], 6.0)
    np.testing.assert_allclose(at.sum(0)[[0, 2]], 0.0, atol=1e-9)
    for camera in cameras:
        pixel, depth = camera.project(np.array([[1.0, 2.0, 2.0]]))
        np.testing.assert_allclose(pixel[0], [20, 15], atol=1e-6)
        assert depth[0] > 0 and 2 * math.degrees(math.atan(15 / camera.fy)) == pytest.approx(60.0)


def test_frames_are_what_the_field_shows(field: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "camera_path.json", studio())
    assert "3 frames" in daf(field, "--cameras", path, "--out", tmp_path / "frames", "--samples", 2)
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name for file in files] == ["00000.png", "00001.png", "00002.png"]
    shown = np.asarray(Image.open(files[1]))
    expected = Field.load(field).render(read_path(path).cameras[1], samples=2).rgb
    assert np.abs(shown / 255 - expected).max() < 0.003
    assert shown[20, 30, 0] > 240 and shown[20, 30, 2] < 15 and (shown[0, 0] == [0, 0, 255]).all()


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_an_orbit_as_one_file(field: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"turn{suffix}"
    daf(field, "--orbit", 5, "--size", "48x32", "--fps", 10, "--background", "0,255,0", "--out", out)
    with Image.open(out) as movie:
        assert (movie.n_frames, movie.size) == (5, (48, 32))
        movie.seek(1)
        corner = np.asarray(movie.convert("RGB"))[0, 0].astype(int)
        assert movie.info["duration"] == 100
    assert np.abs(corner - [0, 255, 0]).max() < 30


def test_a_clear_background_is_straight_alpha(field: Path) -> None:
    picture = render(Field.load(field), Camera.from_matrix(POSE, 60, 40, 55.0), "clear", 4)
    assert (picture[0, 0] == 0).all() and picture[20, 30, 3] == 255
    edge = picture[(picture[..., 3] > 60) & (picture[..., 3] < 200)]
    assert len(edge) and (edge[:, 0] > 240).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--cameras FILE or --orbit"),
        (["--orbit", "3", "--size", "big"], "800x600"),
        (["--orbit", "3", "--background", "blue"], "blue.*red,green,blue"),
        (["--orbit", "3", "--background", "clear", "--out", "a.gif"], "no alpha"),
    ],
)
def test_options_that_make_no_sense_are_refused(field: Path, options: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        CliRunner().invoke(nerf, ["render", str(field), *options], catch_exceptions=False)


def test_mp4_needs_ffmpeg(field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nerf_plugin.frames.shutil.which", lambda name: None)
    plain = [Camera.from_matrix(POSE, 60, 40, 55.0).to_plain()]
    with pytest.raises(BadInput, match=r"ffmpeg, which is not installed.*\.webp"):
        Frames(field, plain, tmp_path / "movie.mp4").check()


def test_mp4_by_ffmpeg(tmp_path: Path) -> None:
    import shutil

    if shutil.which("ffmpeg") is None:
        lacking("ffmpeg", "ffmpeg is not installed")
    content = encode([np.full((31, 33, 3), value, np.uint8) for value in (0, 128)], ".mp4", 10.0, tmp_path)
    assert content[4:8] == b"ftyp"


def test_colours() -> None:
    assert color_of("own") is None and color_of("black") == (0, 0, 0) and color_of("0,51,255") == (0, 0.2, 1)
