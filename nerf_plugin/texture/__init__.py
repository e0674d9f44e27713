"""A texture for a mesh: its atlas, the bake from the photos, and pictures of the result."""

from nerf_plugin.texture.atlas import Atlas, atlas_chunks, chart_chunk, pack_charts
from nerf_plugin.texture.bake import assemble, bake_band, bake_bands, photo_view
from nerf_plugin.texture.polish import polish, polish_groups, polish_part
from nerf_plugin.texture.render import render_mesh

__all__ = [
    "Atlas",
    "assemble",
    "atlas_chunks",
    "bake_band",
    "bake_bands",
    "chart_chunk",
    "pack_charts",
    "photo_view",
    "polish",
    "polish_groups",
    "polish_part",
    "render_mesh",
]
