"""The stages of the job, by what they make: `training` the field (its tasks are in `rounds`), `surface` the mesh,
`evaluation` the held-out figures.

Each is a mixin of the job type in `nerf_plugin.job`: methods that plan a stage, and the map and reduce methods that run
it. A stage finds what earlier ones made in `ctx.shared`; nothing is written to disk before the job's last step.
"""
