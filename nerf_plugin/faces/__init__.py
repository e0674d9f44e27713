"""Generated heads: photographs with exact geometry, from nothing but a seed.

For demonstrations and tests of a radiance field when there is no capture at hand. A person is drawn (`identity`),
sculpted as signed distances (`anatomy`, `sculpt`), meshed and lit (`surface`), painted (`paint`), photographed
(`raster`) and written in the NeRF 'Blender' convention (`capture`). Nothing heavy is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nerf_plugin.faces.capture import face_cameras, generate
    from nerf_plugin.faces.identity import Identity, draw

__all__ = ["Identity", "draw", "face_cameras", "generate"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {"generate": "capture", "face_cameras": "capture", "Identity": "identity", "draw": "identity"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{homes[name]}"), name)
