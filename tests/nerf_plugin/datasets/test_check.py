"""`daf nerf check`: each thing that can be wrong with a capture is found, named, and nothing is found in a good one."""

import json

import captures
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFilter

from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.commands import nerf
from nerf_plugin.datasets.check import check_capture
from nerf_plugin.datasets.judge import coverage

SIZE = 96


def ball(camera: Camera, alpha: bool) -> np.ndarray:
    """(H, W, 4) uint8: a coloured, lopsided pair of balls in front of a patterned far wall (or cut out)."""
    xs, ys = (grid.ravel() for grid in np.meshgrid(np.arange(camera.width), np.arange(camera.height)))
    origin, directions = camera.rays(xs, ys)
    origin, directions = origin.astype(float), directions.astype(float)
    picture = np.zeros((len(xs), 4))
    nearest = np.full(len(xs), np.inf)
    rng = np.random.default_rng(9)
    for centre, radius in ((np.array([0.3, 0.1, 0.0]), 0.7), (np.array([-0.5, 0.0, 0.55]), 0.4)):
        b = directions @ (origin - centre)
        det = b * b - ((origin - centre) @ (origin - centre) - radius**2)
        hit = det > 0
        t = np.where(hit, -b - np.sqrt(np.maximum(det, 0)), np.inf)
        hit &= t < nearest
        points = origin + np.where(hit, t, 0)[:, None] * directions
        cells = np.floor(points[hit] * 7).astype(int) % 8
        palette = rng.integers(40, 230, (8, 8, 8, 3))
        picture[hit, :3] = palette[cells[:, 0], cells[:, 1], cells[:, 2]]
        picture[hit, 3] = 255
        nearest[hit] = t[hit]
    if not alpha:
        wall = np.floor(directions * 16).astype(int) % 8
        palette = rng.integers(40, 230, (8, 8, 8, 3))
        empty = picture[:, 3] == 0
        picture[empty, :3] = palette[wall[empty, 0], wall[empty, 1], wall[empty, 2]]
        picture[:, 3] = 255
    return picture.reshape(camera.height, camera.width, 4).astype(np.uint8)


def capture(folder, count=36, alpha=True, arc=2 * np.pi, size=SIZE):
    """A Blender-convention capture with a test split of three."""
    focal = 0.5 * size / np.tan(0.35)
    for split, number in (("train", count), ("test", 3)):
        (folder / split).mkdir(parents=True)
        frames = []
        for index in range(number):
            azimuth = arc * (index + 0.3 * (split == "test")) / number
            height = (0.0, 0.9, 1.8)[index % 3] if split == "train" else 0.5
            pose = look_at(np.array([4 * np.cos(azimuth), 4 * np.sin(azimuth), height]), np.zeros(3))
            pixels = ball(Camera.from_matrix(pose, size, size, focal), alpha)
            Image.fromarray(pixels).save(folder / split / f"r_{index}.png")
            frames.append({"file_path": f"{split}/r_{index}", "transform_matrix": pose.tolist()})
        (folder / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames}))
    return folder


@pytest.fixture
def scene(tmp_path):
    return capture(tmp_path / "scene")


def kinds(report):
    return {(finding.level, finding.kind) for finding in report.findings}


def views(report, kind):
    return sorted({name for finding in report.findings if finding.kind == kind for name in finding.views})


def repaint(scene, index, change):
    path = scene / "train" / f"r_{index}.png"
    image = Image.open(path)
    alpha = image.getchannel("A")
    changed = change(image.convert("RGB"))
    changed.putalpha(alpha)
    changed.save(path)


def test_a_good_capture_has_no_findings_and_a_contact_sheet(scene, tmp_path):
    report = check_capture(scene, tmp_path / "sheet.png")
    assert report.usable and not report.findings, report.text()
    assert "looks good" in report.text()
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 800 and np.asarray(sheet).std() > 20


def test_blurred_dark_and_burnt_out_photos_are_named(scene):
    repaint(scene, 5, lambda image: image.filter(ImageFilter.GaussianBlur(3)))
    repaint(scene, 9, lambda image: image.point(lambda v: v // 9))
    repaint(scene, 14, lambda image: image.point(lambda v: min(255, 5 * v + 60)))
    report = check_capture(scene)
    assert report.usable
    assert views(report, "blurred") == ["train/r_5"]
    assert views(report, "dark") == ["train/r_9"]
    assert views(report, "burnt out") == ["train/r_14"]


def test_an_uneven_exposure_is_found_against_neighbours(scene):
    repaint(scene, 20, lambda image: image.point(lambda v: int(v * 0.45)))
    assert views(check_capture(scene), "exposure") == ["train/r_20"]


def test_poses_that_disagree_with_masks_are_named(scene):
    def swap(head):
        a, b = head["frames"][2], head["frames"][17]
        a["transform_matrix"], b["transform_matrix"] = b["transform_matrix"], a["transform_matrix"]

    captures.edit(scene / "transforms_train.json", swap)
    assert set(views(check_capture(scene), "pose")) & {"train/r_2", "train/r_17"}


def test_coverage_of_directions(tmp_path):
    report = check_capture(capture(tmp_path / "half", count=30, arc=np.pi))
    assert ("warning", "coverage") in kinds(report)
    assert any("of 360 degrees" in finding.text for finding in report.findings)
    ring = [
        Camera.from_matrix(look_at(np.array([np.cos(a), np.sin(a), 0.2]), np.zeros(3)), 8, 8, 8.0) for a in (0, 1, 2, 3)
    ]
    assert coverage(ring).gap == pytest.approx(360 - np.degrees(3), abs=3)


def test_a_camera_that_only_turned_is_unusable(scene):
    def gather(head):
        for frame in head["frames"]:
            for row, value in zip(frame["transform_matrix"], (4.0, 0.0, 0.5)):
                row[3] = value

    captures.edit(scene / "transforms_train.json", gather)
    captures.edit(scene / "transforms_test.json", gather)
    report = check_capture(scene)
    assert ("problem", "parallax") in kinds(report) and not report.usable


def test_copies_empty_masks_and_few_photos(scene, tmp_path):
    (scene / "train" / "r_1.png").write_bytes((scene / "train" / "r_0.png").read_bytes())
    Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0)).save(scene / "train" / "r_3.png")
    report = check_capture(scene)
    assert views(report, "twins") == ["train/r_1"] and views(report, "mask") == ["train/r_3"]
    few = capture(tmp_path / "few", count=6)
    assert ("warning", "count") in kinds(check_capture(few))


def test_unmatched_poses_without_masks(tmp_path):
    scene = capture(tmp_path / "walled", count=27, alpha=False, arc=3.0, size=160)

    def mix(head):
        poses = [frame["transform_matrix"] for frame in head["frames"]]
        for index, frame in enumerate(head["frames"]):
            frame["transform_matrix"] = poses[(index * 7 + 3) % len(poses)]

    good = check_capture(scene)
    before = good.facts.get("pose_agreement")
    assert good.usable
    captures.edit(scene / "transforms_train.json", mix)
    after = check_capture(scene).facts.get("pose_agreement")
    assert before is not None and after is not None and float(after) < 0.6 * float(before)


def test_the_command_prints_and_exits_with_1_when_unusable(scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = CliRunner().invoke(nerf, ["check", str(scene)])
    assert good.exit_code == 0 and "looks good" in good.output
    assert (tmp_path / "scene-check.png").exists()
    (scene / "train" / "r_8.png").unlink()
    bad = CliRunner().invoke(nerf, ["check", str(scene), "--json"])
    assert bad.exit_code == 1
    found = json.loads(bad.output)
    assert not found["usable"] and "r_8.png" in found["findings"][0]["text"]
    nowhere = CliRunner().invoke(nerf, ["check", str(tmp_path / "nowhere")])
    assert nowhere.exit_code == 1 and "does not exist" in nowhere.output


def test_a_damaged_photo_is_a_problem_but_the_rest_is_still_judged(scene):
    path = scene / "train" / "r_4.png"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 40] = bytes(40)
    path.write_bytes(raw)
    repaint(scene, 5, lambda image: image.filter(ImageFilter.GaussianBlur(3)))
    report = check_capture(scene)
    assert not report.usable and "r_4.png" in report.findings[0].text
    assert views(report, "blurred") == ["train/r_5"]
