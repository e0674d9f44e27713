"""instant-ngp, nerfstudio and COLMAP captures of a known world: pixels agree with the world along the rays that are
returned.
"""

import json
import math
import struct

import captures
import numpy as np
import pytest
import worlds
from PIL import Image

from nerf_plugin.datasets import DatasetError, load
from nerf_plugin.datasets.cache import cached_image
from nerf_plugin.datasets.images import lens_map, remap_reference, undistort

BROWN = (0.09, -0.05, 0.002, -0.001)
FISH = (0.04, -0.01, 0.003, 0.0)


def agree(folder, count, limit=4.0):
    found = load(folder, "all")
    assert len(found) == count
    for view in found.views:
        assert worlds.worst(view) < limit, view.name
    return found


def test_ngp_with_distortion_for_all_and_by_frame(tmp_path):
    shots = worlds.cameras(distortion=BROWN)
    found = agree(worlds.write_transforms(tmp_path / "a", shots, {**worlds.intrinsics(shots[0]), "aabb_scale": 4}), 6)
    assert found.dialect == "instant-ngp" and not found.has_alpha
    np.testing.assert_allclose(found.outer_bounds, [[-2 / 0.33] * 3, [2 / 0.33] * 3])
    mixed = [worlds.cameras(6, distortion=(0.02 * i, -0.01 * i, 0, 0), cx=40.0 + i)[i] for i in range(6)]
    folder = worlds.write_transforms(
        tmp_path / "b", mixed, {"aabb_scale": 1}, lambda _, camera: worlds.intrinsics(camera)
    )
    agree(folder, 6)


def test_ngp_field_of_view_is_in_degrees(tmp_path):
    shots = worlds.cameras(fy=80.0, cx=48, cy=36)
    head = {"x_fov": math.degrees(2 * math.atan(48 / 80)), "aabb_scale": 1}
    found = agree(worlds.write_transforms(tmp_path, shots, head, name="images/{}.png"), 6)
    assert found.views[0].camera.fx == pytest.approx(80)


def test_ngp_passes_over_missing_images_and_says_so_but_not_when_most_are_gone(tmp_path):
    folder = worlds.write_transforms(
        tmp_path, shots := worlds.cameras(), {**worlds.intrinsics(shots[0]), "aabb_scale": 1}
    )
    (folder / "images" / "002.png").unlink()
    found = load(folder, "all")
    assert len(found) == 5 and "1 of 6 frames" in found.notes[0]
    for name in ("000", "001", "003"):
        (folder / "images" / f"{name}.png").unlink()
    with pytest.raises(DatasetError, match="only 2 of its 6"):
        load(folder)


@pytest.mark.parametrize(
    ("model", "lens"),
    [("OPENCV", {"distortion": BROWN}), ("OPENCV_FISHEYE", {"distortion": FISH, "fisheye": True}), ("PINHOLE", {})],
)
def test_nerfstudio_lenses(tmp_path, model, lens):
    shots = worlds.cameras(**lens)
    head = {
        "camera_model": model,
        "applied_transform": [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]],
        **worlds.intrinsics(shots[0]),
    }
    found = agree(worlds.write_transforms(tmp_path, shots, head), 6)
    assert found.dialect == "nerfstudio"
    np.testing.assert_allclose(
        found.views[1].camera.position, shots[1].position, err_msg="poses stay in the file's frame"
    )


def test_nerfstudio_splits_masks_and_points(tmp_path):
    shots = worlds.cameras()
    lists = {
        "train_filenames": ["images/000.png", "./images/003.png"],
        "test_filenames": ["images/001.png"],
        "val_filenames": ["images/002.png"],
    }
    head = {"camera_model": "OPENCV", **worlds.intrinsics(shots[0]), **lists, "ply_file_path": "sparse.ply"}
    folder = worlds.write_transforms(tmp_path, shots, head, lambda i, _: {"mask_path": f"masks/{i:03d}.png"})
    mask = np.zeros((worlds.HEIGHT, worlds.WIDTH), np.uint8)
    mask[10:40, 20:50] = 255
    for index in range(6):
        worlds.save(mask, folder / "masks" / f"{index:03d}.png")
    points = np.random.default_rng(5).normal(size=(40, 3)).astype("<f4")
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz") + "property uchar red\nend_header\n"
    record = np.zeros(len(points), [("p", "<f4", 3), ("red", "u1")])
    record["p"] = points
    (folder / "sparse.ply").write_bytes(header.encode() + record.tobytes())
    names = {split: [view.name for view in load(folder, split).views] for split in ("train", "test", "val", "all")}
    assert names["train"] == ["images/000.png", "images/003.png"]
    assert (names["test"], names["val"], len(names["all"])) == (["images/001.png"], ["images/002.png"], 6)
    found = load(folder)
    assert found.has_alpha and found.outer_bounds is None
    np.testing.assert_array_equal(found.views[0].image()[..., 3], mask)
    np.testing.assert_allclose(found.points, points, rtol=1e-6)
    captures.edit(folder / "transforms.json", lambda head: head["train_filenames"].append("images/nine.png"))
    with pytest.raises(DatasetError, match=r"images/nine\.png"):
        load(folder)


def test_masks_of_a_folder_beside_the_photos(tmp_path):
    folder = worlds.write_transforms(tmp_path, shots := worlds.cameras(), worlds.intrinsics(shots[0]))
    mask = np.full((worlds.HEIGHT, worlds.WIDTH), 255, np.uint8)
    mask[:, :30] = 0
    for index in range(6):
        worlds.save(mask, folder / "masks" / f"{index:03d}.png")
    found = load(folder)
    assert found.has_alpha
    np.testing.assert_array_equal(found.views[0].image()[..., 3], mask)
    worlds.save(mask[:10], folder / "masks" / "000.png")
    with pytest.raises(DatasetError, match="mask of 96x10"):
        load(folder, "all").views[0].image()


LENSES = {
    "SIMPLE_PINHOLE": {"fy": 80.0}, "PINHOLE": {}, "SIMPLE_RADIAL": {"fy": 80.0, "distortion": (0.07, 0.0, 0.0, 0.0)},
    "RADIAL": {"fy": 80.0, "distortion": (0.07, -0.03, 0.0, 0.0)}, "OPENCV": {"distortion": BROWN},
    "OPENCV_FISHEYE": {"distortion": FISH, "fisheye": True},
    "FULL_OPENCV": {"distortion": (0.09, -0.02, 0.001, 0.001, 0.01, 0.05, 0.01, 0.0)},
    "SIMPLE_RADIAL_FISHEYE": {"fy": 80.0, "distortion": (0.05, 0.0, 0.0, 0.0), "fisheye": True},
    "RADIAL_FISHEYE": {"fy": 80.0, "distortion": (0.05, -0.01, 0.0, 0.0), "fisheye": True},
}  # fmt: skip


@pytest.mark.parametrize("binary", [True, False], ids=["bin", "txt"])
@pytest.mark.parametrize("model", LENSES)
def test_colmap_lenses(tmp_path, model, binary):
    shots = worlds.cameras(9, **LENSES[model])
    names = [f"cam/p {i}.png" for i in range(9)]
    for camera, name in zip(shots, names):
        worlds.save(worlds.shoot(camera), tmp_path / "images" / name)
    points = np.random.default_rng(2).normal(size=(50, 3)) * 0.4
    worlds.write_colmap(tmp_path / "sparse" / "0", shots, model, binary, names, points)
    found = agree(tmp_path, 9)
    np.testing.assert_allclose(found.points, points)
    for view, camera in zip(found.views, shots):
        np.testing.assert_allclose(view.camera.matrix, camera.matrix, atol=1e-9)
    assert [view.name for view in load(tmp_path, "test").views] == [names[0], names[8]]
    assert (found.bounds[0] > -2).all() and (found.bounds[1] < 2).all(), "the box follows the points"


def test_colmap_takes_the_largest_model_and_scaled_photos(tmp_path):
    shots = worlds.cameras(8)
    names = [f"{i}.jpg" for i in range(8)]
    for camera, name in zip(shots, names):
        worlds.save(worlds.shoot(camera.scaled(0.5)), tmp_path / "images" / name, quality=97)
    worlds.write_colmap(tmp_path / "sparse" / "0", shots[:3], "PINHOLE", True, names[:3])
    worlds.write_colmap(tmp_path / "sparse" / "1", shots, "PINHOLE", False, names)
    found = agree(tmp_path, 8, limit=14)
    assert "sparse/1 is the largest with 8 images" in found.notes[0]
    assert (found.views[0].camera.width, found.views[0].camera.fx) == (48, 40.0)


def test_broken_colmap_models_are_refused(tmp_path):
    shots, names = worlds.cameras(3), ["a.png", "b.png", "c.png"]
    model = worlds.write_colmap(tmp_path / "sparse" / "0", shots, "PINHOLE", True, names)
    with pytest.raises(DatasetError, match=r"a\.png.*does not exist"):
        load(tmp_path)
    for camera, name in zip(shots, names):
        worlds.save(worlds.shoot(camera), tmp_path / "images" / name)
    assert len(load(tmp_path, "all")) == 3
    for part in ("cameras.bin", "images.bin"):
        whole = (model / part).read_bytes()
        for cut in range(0, len(whole), 7):
            (model / part).write_bytes(whole[:cut])
            with pytest.raises(DatasetError):
                load(tmp_path)
        (model / part).write_bytes(struct.pack("<Q", 1 << 60) + whole[8:])
        with pytest.raises(DatasetError, match="room"):
            load(tmp_path)
        (model / part).write_bytes(whole)
    worlds.write_colmap(model, shots, "FOV", True, names)
    with pytest.raises(DatasetError, match="FOV"):
        load(tmp_path)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_rotation_is_applied(tmp_path, orientation):
    shots = worlds.cameras()
    folder = worlds.write_transforms(tmp_path, shots, worlds.intrinsics(shots[0]), name="images/{}.jpg")
    undo = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[
        orientation
    ]
    for index, camera in enumerate(shots):
        image = Image.fromarray(worlds.shoot(camera))
        image = image.transpose(undo) if undo is not None else image
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(folder / "images" / f"{index:03d}.jpg", exif=exif, quality=97, subsampling=0)
    agree(folder, 6, limit=16)


def test_declared_size_of_the_stored_pixels_keeps_them_unturned(tmp_path):
    shots = worlds.cameras()
    folder = worlds.write_transforms(tmp_path, shots, worlds.intrinsics(shots[0]), name="images/{}.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    for index, camera in enumerate(shots):
        worlds.save(worlds.shoot(camera), folder / "images" / f"{index:03d}.jpg", exif=exif, quality=97, subsampling=0)
    agree(folder, 6, limit=16)


def test_webp_sixteen_bit_grey_and_palette(tmp_path):
    shots = worlds.cameras()
    folder = worlds.write_transforms(tmp_path, shots, {**worlds.intrinsics(shots[0])}, name="images/{}.webp")
    for index, camera in enumerate(shots):
        worlds.save(worlds.shoot(camera), folder / "images" / f"{index:03d}.webp", lossless=True)
    agree(folder, 6)
    grey = (np.arange(worlds.WIDTH * worlds.HEIGHT).reshape(worlds.HEIGHT, worlds.WIDTH) * 9).astype(np.uint16)
    Image.fromarray(grey).save(folder / "images" / "000.png")
    captures.edit(folder / "transforms.json", lambda head: head["frames"][0].update(file_path="images/000.png"))
    seen = next(view for view in load(folder, "all").views if view.name == "images/000.png").image()
    np.testing.assert_array_equal(seen[..., 0], grey >> 8)
    assert (seen[..., 3] == 255).all()
    Image.fromarray(captures.picture(1, worlds.WIDTH, worlds.HEIGHT, 3)).quantize(16).save(
        folder / "images" / "000.png"
    )
    assert load(folder, "all").views[0].image().shape == (worlds.HEIGHT, worlds.WIDTH, 4)


@pytest.mark.parametrize("seed", range(4))
def test_the_resampling_kernel_agrees_with_its_twin(seed):
    rng = np.random.default_rng(seed)
    lens = worlds.cameras(1, distortion=tuple(rng.uniform(-0.05, 0.05, 2)) + (0.001, 0.001))[0]
    pixels = rng.integers(0, 256, (worlds.HEIGHT, worlds.WIDTH, 4), np.uint8)
    flat = lens.pinhole()
    fast, slow = undistort(pixels, lens, flat), remap_reference(pixels, *lens_map(lens, flat, range(flat.height)))
    assert np.abs(fast.astype(int) - slow.astype(int)).max() <= 1
    assert (fast == slow).mean() > 0.999


def test_cached_images_are_maps_of_the_same_pixels(tmp_path):
    view = load(captures.blender(tmp_path / "scene")).views[0]
    mapped = cached_image(view, tmp_path / "cache")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, view.image())
    np.testing.assert_array_equal(cached_image(view.scaled(0.5), tmp_path / "cache"), view.scaled(0.5).image())
    assert len(list((tmp_path / "cache").iterdir())) == 2
    view.path.unlink()
    with pytest.raises(DatasetError, match=r"r_0\.png"):
        cached_image(view, tmp_path / "cache")


def test_ply_in_ascii_and_damaged(tmp_path):
    shots = worlds.cameras()
    folder = worlds.write_transforms(tmp_path, shots, {**worlds.intrinsics(shots[0]), "ply_file_path": "p.ply"})
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    text = f"ply\nformat ascii 1.0\nelement vertex 2\n{axes}end_header\n1 2 3\n4 5 6\n"
    (folder / "p.ply").write_text(text)
    np.testing.assert_array_equal(load(folder).points, [[1, 2, 3], [4, 5, 6]])
    for damaged in (text[:-6], "ply\n", "", text.replace("float z", "float w")):
        (folder / "p.ply").write_text(damaged)
        with pytest.raises(DatasetError, match=r"p\.ply"):
            load(folder)
    (folder / "p.ply").unlink()
    with pytest.raises(DatasetError, match=r"p\.ply"):
        load(folder)


def test_the_fox_photos_where_present(shared_data):
    found, held = load(shared_data("fox")), load(shared_data("fox"), "test")
    assert (len(found), len(held), found.dialect, found.has_alpha) == (43, 7, "instant-ngp", False)
    view = found.scaled(0.25).views[0]
    assert view.image().shape == (480, 270, 4)
    assert json.dumps(view.to_plain())
