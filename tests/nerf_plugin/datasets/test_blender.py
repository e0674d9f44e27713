"""The Blender convention: what is read, and that each thing a capture can have wrong is refused with its name."""

import json
import math

import captures
import numpy as np
import pytest
from PIL import Image

from nerf_plugin.datasets import DatasetError, View, load


@pytest.fixture
def scene(tmp_path):
    return captures.blender(tmp_path / "scene")


def refusal(path, split="train"):
    with pytest.raises(DatasetError) as caught:
        load(path, split)
    assert caught.value.advice, "a refusal says what to do"
    return caught.value


def test_cameras_and_pixels_are_those_of_the_files(scene):
    found = load(scene)
    assert (len(found), found.dialect, found.has_alpha) == (10, "blender", True)
    assert len(load(scene, "test")) == 2 and len(load(scene, "val")) == 2 and len(load(scene, "all")) == 12
    for view, pose in zip(found.views, captures.poses(10), strict=True):
        np.testing.assert_allclose(view.camera.matrix, pose, atol=1e-12)
        assert view.camera.fx == view.camera.fy == pytest.approx(12 / math.tan(0.35))
        assert (view.camera.cx, view.camera.cy) == (12, 8)
    np.testing.assert_array_equal(found.views[3].image(), captures.picture(3))
    assert (found.bounds[0] < 0).all() and (found.bounds[1] > 0).all()


def test_without_a_test_split_every_eighth_frame_is_held_out(tmp_path):
    scene = captures.blender(tmp_path / "scene", count=10, test=0)
    train, test = load(scene), load(scene, "test")
    assert [view.name for view in test.views] == ["train/r_0", "train/r_8"]
    assert {view.name for view in train.views}.isdisjoint(view.name for view in test.views)
    assert len(train) + len(test) == 10


def test_a_view_survives_a_message_and_its_fingerprint_follows_its_content(scene):
    view = load(scene).views[0]
    again = View.from_plain(json.loads(json.dumps(view.to_plain())))
    assert again.fingerprint == view.fingerprint
    np.testing.assert_array_equal(again.image(), view.image())
    assert view.scaled(0.5).fingerprint != view.fingerprint
    pixels = captures.picture(0)
    pixels[0, 0, 0] ^= 1
    before = view.fingerprint
    Image.fromarray(pixels).save(view.path)
    assert view.fingerprint != before


def test_scaling_weights_colour_by_alpha(scene):
    small = load(scene).views[0].scaled(0.25).image()
    full = captures.picture(0).astype(float)
    block = full[:4, :4]
    assert small.shape == (4, 6, 4)
    expected = (block[..., :3] * block[..., 3:]).sum((0, 1)) / block[..., 3].sum()
    np.testing.assert_allclose(small[0, 0, :3], expected, atol=1)
    assert (small[:, 3:, 3] == 0).all() and (small[:, :3, 3] == 255).all()


def test_a_missing_folder_and_a_missing_transforms_file(scene, tmp_path):
    assert "does not exist" in str(refusal(tmp_path / "nowhere"))
    (scene / "transforms_train.json").unlink()
    assert "transforms_train.json" in str(refusal(scene))
    assert "without camera poses" in str(refusal(scene / "train"))


def test_a_missing_image(scene):
    (scene / "train" / "r_4.png").unlink()
    error = refusal(scene)
    assert error.file.endswith("r_4.png") and error.frame == 4 and error.field == "file_path"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m[0].__setitem__(3, float("nan")), "NaN"),
        (lambda m: m[1].__setitem__(1, float("inf")), "NaN"),
        (lambda m: [row.__setitem__(0, 2 * row[0]) for row in m[:3]], "not rigid"),
        (lambda m: [row.__setitem__(0, -row[0]) for row in m[:3]], "mirrors"),
        (lambda m: m.__delitem__(slice(2, None)), "shape"),
        (lambda m: m[0].__setitem__(0, "x"), "not a matrix"),
    ],
)
def test_poses_that_are_none(scene, change, says):
    captures.edit(scene / "transforms_train.json", lambda head: change(head["frames"][7]["transform_matrix"]))
    error = refusal(scene)
    assert says in str(error) and error.frame == 7 and error.field == "transform_matrix"


def test_a_truncated_png_is_found_at_loading(scene):
    path = scene / "train" / "r_2.png"
    path.write_bytes(path.read_bytes()[:-40])
    error = refusal(scene)
    assert "r_2.png" in error.file and "truncated" in str(error)


def test_damage_inside_an_image_is_found_at_first_use(scene):
    path = scene / "train" / "r_2.png"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 30] = bytes(30)
    path.write_bytes(raw)
    with pytest.raises(DatasetError, match=r"r_2\.png.*damaged"):
        load(scene).views[2].image()


def test_an_image_of_another_size(scene):
    Image.fromarray(captures.picture(0, 12, 16)).save(scene / "train" / "r_5.png")
    error = refusal(scene)
    assert error.frame == 5 and "12x16" in str(error) and "24x16" in str(error)


def test_declared_sizes_must_have_the_photos_shape(scene):
    captures.edit(scene / "transforms_train.json", lambda head: head.update(w=24, h=24))
    assert "24x16" in str(refusal(scene)) and "24x24" in str(refusal(scene))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda head: head.update(frames=[]), "no frames"),
        (lambda head: head.pop("frames"), "no list of frames"),
        (lambda head: head.pop("camera_angle_x"), "no focal length"),
        (lambda head: head.update(camera_angle_x=0), "must be positive"),
        (lambda head: head.update(camera_angle_x=40), "no field of view in radians"),
        (lambda head: head.update(camera_angle_x="wide"), "no finite number"),
        (lambda head: head["frames"][0].pop("file_path"), "file_path"),
        (lambda head: head["frames"].insert(0, 3), "not an object"),
    ],
)
def test_heads_that_cannot_be(scene, change, says):
    captures.edit(scene / "transforms_train.json", change)
    assert says in str(refusal(scene))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "nonsense", "[" * 100_000])
def test_what_is_no_json_object(scene, text):
    (scene / "transforms_train.json").write_text(text)
    assert "JSON" in str(refusal(scene))


def test_an_image_that_claims_gigapixels_is_refused_before_decoding(scene):
    path = scene / "train" / "r_1.png"
    raw = bytearray(path.read_bytes())
    raw[16:24] = (30_000).to_bytes(4, "big") * 2
    import zlib

    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    path.write_bytes(raw)
    assert "r_1.png" in str(refusal(scene)) and "pixels" in str(refusal(scene))


def test_a_file_of_another_format_under_an_images_name(scene):
    Image.fromarray(captures.picture(0, channels=3)).save(scene / "train" / "r_1.png", format="TIFF")
    assert "not a PNG, JPEG or WebP" in str(refusal(scene))
