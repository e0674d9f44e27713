"""A seeded simulator that drives the real scheduler through disasters: `python -m tests.sim --seed N` replays a
schedule.
"""
