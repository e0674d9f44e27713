"""From a field to a clean closed surface: pure functions, blocks as map tasks, one merge as reduce."""

from nerf_plugin.mesh.blocks import block_points, blocks, extract_block, extract_samples, iso_level, merge
from nerf_plugin.mesh.colors import color_vertices, surface_colors
from nerf_plugin.mesh.decimate import decimate
from nerf_plugin.mesh.smooth import taubin
from nerf_plugin.mesh.surface import FieldLike, Mesh, MeshError
from nerf_plugin.mesh.topology import check, keep_components, require_solid

__all__ = [
    "FieldLike",
    "Mesh",
    "MeshError",
    "block_points",
    "blocks",
    "check",
    "color_vertices",
    "decimate",
    "extract_block",
    "extract_samples",
    "iso_level",
    "keep_components",
    "merge",
    "require_solid",
    "surface_colors",
    "taubin",
]
