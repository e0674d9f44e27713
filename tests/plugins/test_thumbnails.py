"""Thumbnails: sizes, names, and files that are no images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mapreduce import BadInput, run
from plugins.thumbnails import Thumbnails


def draw(path: Path, width: int = 40, height: int = 20, **options: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (250, 0, 0)
    Image.fromarray(pixels).save(path, **options)
    return path


def test_the_longest_side_is_bounded_and_small_images_stay(tmp_path: Path) -> None:
    paths = [draw(tmp_path / "wide.png"), draw(tmp_path / "tiny.png", 5, 9)]
    run(Thumbnails(paths, tmp_path / "out", size=10), "inline")
    assert Image.open(tmp_path / "out" / "wide.jpg").size == (10, 5)
    assert Image.open(tmp_path / "out" / "tiny.jpg").size == (5, 9)


def test_the_camera_was_held_upright_after_all(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = draw(tmp_path / "turned.jpg", exif=exif)
    run(Thumbnails([path], tmp_path / "out", size=20, format="png"), "inline")
    with Image.open(tmp_path / "out" / "turned.png") as image:
        assert image.size == (10, 20)
        assert image.convert("RGB").getpixel((5, 2))[0] > 200 > image.convert("RGB").getpixel((5, 18))[0]


def test_equal_names_do_not_overwrite_each_other(tmp_path: Path) -> None:
    paths = [draw(tmp_path / "a" / "same.png", 10, 10), draw(tmp_path / "b" / "same.png", 10, 20)]
    paths.append(draw(tmp_path / "c" / "same-2.png", 10, 30))
    result = run(Thumbnails(paths, tmp_path / "out", format="png"), "inline")
    heights = {Image.open(artifact.path).height for artifact in result.artifacts}
    assert len(result.artifacts) == len({artifact.path for artifact in result.artifacts}) == 3
    assert heights == {10, 20, 30}


def test_an_image_of_too_many_pixels_is_named_and_not_decoded(tmp_path: Path) -> None:
    paths = [draw(tmp_path / "big.png", 100, 100), draw(tmp_path / "small.png", 10, 10)]
    result = run(Thumbnails(paths, tmp_path / "out", max_pixels=999), "inline")
    assert result.value["made"] == 1
    assert "100 x 100 pixels are more than 999" in result.value["unreadable"][str(paths[0])]


def test_other_formats_are_not_even_tried(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    draw(tmp_path / "tiff.tiff").rename(tmp_path / "b.png")
    result = run(Thumbnails([tmp_path], tmp_path / "out"), "inline")
    assert result.value["made"] == 0 and len(result.value["unreadable"]) == 2
    assert not (tmp_path / "out").exists()


def test_a_truncated_image_leaves_no_thumbnail(tmp_path: Path) -> None:
    path = draw(tmp_path / "torn.png", 300, 300)
    path.write_bytes(path.read_bytes()[:-60])
    result = run(Thumbnails([path], tmp_path / "out"), "inline")
    assert "torn.png" in next(iter(result.value["unreadable"]))
    assert result.artifacts == [] and not (tmp_path / "out").exists()


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no images \(.jpg"):
        run(Thumbnails([tmp_path], tmp_path / "out"), "inline")
    with pytest.raises(BadInput, match="there is no file or folder"):
        run(Thumbnails([tmp_path / "nix"], tmp_path / "out"), "inline")
