"""What can be asked of an avatar, whether one is made or many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from mapreduce import Param


@dataclass(kw_only=True)
class AvatarOptions:
    """Parameters that `nerf` and `nerf-batch` share."""

    preset: Annotated[Literal["draft", "standard", "fine"], Param(description="time against quality")] = "standard"
    effort: Annotated[float, Param(gt=0, le=100, description="times the preset's rays")] = 1.0
    scale: Annotated[
        float, Param(ge=0, le=1, description="of the photos' sides; 0: halved until none has over 1.1 megapixels")
    ] = 0.0
    exposure: Annotated[
        Literal["auto", "on", "off"],
        Param(description="even out the photos' exposure; auto: photos without masks only"),
    ] = "auto"
    harmonics: Annotated[
        Literal["auto", "0", "1", "2"],
        Param(description="degree of colour's harmonics; 0: the same from all sides; auto: the preset's"),
    ] = "auto"
    shards: Annotated[
        int, Param(ge=1, le=4096, description="map tasks of a round of training: so many workers can share one")
    ] = 4
    faces: Annotated[int, Param(ge=100, le=10_000_000, description="most triangles of a mesh")] = 100_000
    texture: Annotated[int, Param(ge=64, le=8192, description="texels along a side of a texture")] = 1024
    resolution: Annotated[int, Param(ge=16, le=1024, description="cubes along the longest side of a surface")] = 256
    turntable: Annotated[int, Param(ge=0, le=720, description="frames of a turntable; 0: none")] = 36
    seed: Annotated[int, Param(ge=0, le=2**31 - 1, description="seed of all that is drawn")] = 0
