"""Whatever a transforms.json says, reading it ends in a capture or in a DatasetError: never in another exception."""

import copy
import json
import random

import pytest
import worlds

from nerf_plugin.datasets import DatasetError, load

TEXTS = ["", "x", "../..", "\0", "é" * 300]
JUNK = [None, True, 0, -1, 1e308, float("nan"), 10**400, [], {}, [[]], [1, 2, 3], {"a": 1}, *TEXTS]


def places(value, path=()):
    """Every path to a value inside a JSON document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


@pytest.mark.parametrize("seed", range(8))
def test_any_value_may_be_junk(tmp_path, seed):
    rng = random.Random(seed)
    shots = worlds.cameras(3, distortion=(0.01, 0.0, 0.0, 0.0))
    head = {
        **worlds.intrinsics(shots[0]),
        "camera_model": "OPENCV",
        "aabb_scale": 4,
        "scale": 0.33,
        "offset": [0.5, 0.5, 0.5],
        "train_filenames": ["images/000.png", "images/001.png"],
        "test_filenames": ["images/002.png"],
        "applied_transform": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
    }
    folder = worlds.write_transforms(tmp_path, shots, head)
    file = folder / "transforms.json"
    document = json.loads(file.read_text())
    for key in ("mask_path", "is_fisheye", "x_fov"):
        document["frames"][0].setdefault(key, None)
    everywhere = [path for path in places(document) if path]
    refused = 0
    for _ in range(150):
        broken = copy.deepcopy(document)
        target = rng.choice(everywhere)
        inner = broken
        for key in target[:-1]:
            inner = inner[key]
        junk = rng.choice(JUNK)
        if rng.random() < 0.15:
            del inner[target[-1]]
        else:
            inner[target[-1]] = junk
        file.write_text(json.dumps(broken))
        try:
            found = load(folder, rng.choice(["train", "test", "all"]))
            assert len(found) <= 3
        except DatasetError as error:
            refused += 1
            assert error.problem and error.advice
        except Exception as error:
            raise AssertionError(f"seed {seed}: {target} = {junk!r} gave {error!r}") from error
    assert refused > 20
