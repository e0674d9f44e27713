"""Photos to a radiance field to a textured mesh, on CPUs, as jobs of the `mapreduce` library.

This package imports nothing heavy by itself, so that finding its job types and commands stays cheap: import the module
you need (`nerf_plugin.cameras`, `nerf_plugin.datasets`, `nerf_plugin.faces`, ...).
"""
