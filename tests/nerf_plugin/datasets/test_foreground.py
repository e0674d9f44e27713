"""Foreground without masks: silhouettes that all photos agree on are the true ones, and doubtful ones are not used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from worlds import write_colmap

from nerf_plugin.commands import nerf
from nerf_plugin.datasets import DatasetError, load, silhouettes
from nerf_plugin.datasets.plain import agreed_foreground
from nerf_plugin.foreground.colours import smooth
from nerf_plugin.foreground.outline import draw
from tests.nerf_plugin.captures import ball

SIZE = 96


def wall(size: int, seed: int) -> np.ndarray:
    """(size, size, 3) 0..1: bluish grey, darker to one side, with grain."""
    rng = np.random.default_rng(seed)
    light = 0.45 + 0.25 * np.linspace(0, 1, size)[:, None] * np.ones(size)
    return np.clip(light[..., None] * [0.9, 0.95, 1.1] + 0.01 * rng.normal(size=(size, size, 3)), 0, 1)


def flatten(folder: Path, behind) -> dict[str, np.ndarray]:
    """Put something behind the subject of all photos; returns their alpha, by path below the folder."""
    truth = {}
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        pixels = np.asarray(Image.open(path)) / 255
        alpha = pixels[..., 3:]
        truth[str(path.relative_to(folder))] = alpha[..., 0]
        flat = pixels[..., :3] * alpha + (1 - alpha) * behind(pixels.shape[0], number)
        Image.fromarray(np.rint(255 * flat).astype(np.uint8)).save(path)
    return truth


@pytest.fixture(scope="module")
def unmasked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = ball(tmp_path_factory.mktemp("foreground") / "ball", size=SIZE, views=16, test_views=3)
    return folder, flatten(folder, wall)


@pytest.fixture
def capture(unmasked, tmp_path: Path) -> Path:
    return Path(shutil.copytree(unmasked[0], tmp_path / "ball"))


def overlap(mask: np.ndarray, alpha: np.ndarray) -> float:
    return float(((mask > 127) & (alpha > 0.5)).sum() / ((mask > 127) | (alpha > 0.5)).sum())


def test_a_subject_that_the_photos_cut_off_is_no_foreground(tmp_path: Path) -> None:
    folder = ball(tmp_path / "ball", size=SIZE, views=16)
    flatten(folder, wall)
    for path in folder.rglob("*.png"):
        image = Image.open(path)
        image.crop((18, 18, 78, 78)).resize((SIZE, SIZE)).save(path)
    for path in folder.glob("*.json"):  # ... seen through a longer lens
        path.write_text(path.read_text().replace('"camera_angle_x": 0.7', '"camera_angle_x": 0.4478'))
    assert silhouettes.find_masks(load(folder, "all")).problem is not None


def test_surroundings_in_the_colours_of_the_subject_are_no_foreground(tmp_path: Path) -> None:
    folder = ball(tmp_path / "ball", size=SIZE, views=16)
    rng = np.random.default_rng(3)
    flatten(folder, lambda size, number: 0.5 + 0.45 * np.sin(9 * rng.random((size, size, 3)) + [0, 1, 2]))
    assert silhouettes.find_masks(load(folder, "all")).problem is not None


def test_few_photos_have_no_foreground(tmp_path: Path) -> None:
    folder = ball(tmp_path / "ball", size=24, views=4)
    assert "7 photos, and at least 8" in str(silhouettes.find_masks(load(folder, "all")).problem)


def test_the_guided_filter_leaves_what_follows_the_colours_and_averages_the_rest() -> None:
    rng = np.random.default_rng(5)
    rgb = rng.random((40, 50, 3))
    follows = rgb @ [2.0, -1.0, 0.5] + 3
    np.testing.assert_allclose(smooth(follows, rgb, noise=1e-9), follows, atol=1e-5)
    noise = rng.normal(size=(40, 50))
    assert smooth(noise, np.full((40, 50, 3), 0.5)).std() < 0.25 * noise.std()


def test_an_outline_that_is_off_by_two_pixels_is_drawn_where_it_is() -> None:
    rng = np.random.default_rng(7)
    size, radius = 120, 37.3
    y, x = np.mgrid[:size, :size] + 0.5
    distance = radius - np.hypot(x - 61.2, y - 58.7)
    alpha = np.clip(0.5 + distance, 0, 1)[..., None]
    subject = [0.6, 0.4, 0.3] + 0.04 * rng.normal(size=(size, size, 3))
    rgb = np.clip(alpha * subject + (1 - alpha) * wall(size, 1), 0, 1)
    drawn = draw(rgb, distance > -2, np.zeros((size, size)))
    assert abs(float(drawn.sum() - alpha.sum())) / (2 * np.pi * radius) < 0.2  # in pixels


def test_masks_of_photos_before_a_wall_are_the_subject_and_written_once(
    capture: Path, unmasked, tmp_path: Path
) -> None:
    assert not load(capture, "all").has_alpha
    sheet = tmp_path / "sheet.png"
    result = CliRunner().invoke(nerf, ["masks", str(capture), "--sheet", str(sheet)])
    assert result.exit_code == 0, result.output
    assert "19 masks" in result.output and Image.open(sheet).size[0] > 0
    for split in ("train", "test"):  # whose photos have the same names
        for view in load(capture, split).views:
            assert overlap(view.image()[..., 3], unmasked[1][str(view.path.relative_to(capture))]) > 0.97
    again = CliRunner().invoke(nerf, ["masks", str(capture)])
    assert again.exit_code != 0 and "has masks or alpha already" in str(again.exception)


def test_doubtful_masks_are_not_written(capture: Path, tmp_path: Path) -> None:
    for path in capture.rglob("*.png"):
        Image.new("RGB", (SIZE, SIZE), (90, 90, 90)).save(path)
    result = CliRunner().invoke(nerf, ["masks", str(capture), "--sheet", str(tmp_path / "sheet.png")])
    assert result.exit_code == 1 and "No masks were written" in result.output
    assert not (capture / "masks").exists()


def test_masks_whose_place_is_taken_are_refused_before_any_work(capture: Path) -> None:
    found = load(capture, "all")
    (capture / "masks").write_text("")
    with pytest.raises(DatasetError, match="masks: is there already"):
        silhouettes.check_unmasked(found)


def test_a_capture_of_plain_photos_gets_the_masks_that_they_agree_on(capture: Path, unmasked, tmp_path: Path) -> None:
    shots = load(capture, "train").views
    names = [f"{number:03d}.png" for number in range(len(shots))]
    made = tmp_path / "made"
    write_colmap(made, [view.camera for view in shots], "PINHOLE", True, names)
    (made / "images").mkdir(exist_ok=True)
    for view, name in zip(shots, names):
        Image.open(view.path).convert("RGB").save(made / "images" / name)
    said: list[str] = []
    agreed_foreground(made, said.append)
    assert "the foreground is what the photos agree on" in said[-1]
    assert load(made, "train").has_alpha and len(list((made / "masks").iterdir())) == len(names)
