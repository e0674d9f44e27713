"""What a training run does, as data: levels, rates, weights; and the presets that name good choices.

A level trains one grid on one rung of the image pyramid; the next level's grid is finer and starts from it. All numbers
that decide the result are here, none depends on the machine or on how many workers there are. `docs/radiance-fields.md`
keeps the measurements behind them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

LARGE = 131072
"""Rays of a round that is large. A shorter run takes smaller rounds, down to this, before it takes fewer: below some
200 rounds of a level, the number of steps matters more than what they cost. Photos without masks double theirs up to
it."""


@dataclass(frozen=True)
class Level:
    """One grid. resolution: cells along the box's longest side. rounds: optimiser steps. rays: of one round.

    steady: rays of a round up to which rates are right as they are. Those of larger rounds grow with their rays, since
    fewer steps have to go as far and each is surer: the linear scaling rule (Goyal et al. 2017, "Accurate, Large
    Minibatch SGD", section 2.1). 0: there are no larger ones. Short runs lose quality by it, and have none either.
    """

    resolution: int
    rounds: int
    rays: int
    steady: int = 0

    @property
    def stride(self) -> float:
        """How many times as high rates are as in rounds of `steady` rays."""
        return max(1.0, self.rays / self.steady) if self.steady else 1.0

    def scaled(self, factor: float) -> Level:
        """The same level with `factor` times the rays, in one round at least."""
        steady = min(self.rays, self.steady or self.rays)
        wanted = max(steady * factor, self.rays * factor**2, min(LARGE, steady))
        return self.in_rounds_of(min(self.rays, round(wanted)), factor)

    def in_rounds_of(self, rays: int, factor: float = 1.0) -> Level:
        """The same level with `factor` times the rays, so many a round."""
        return replace(self, rounds=max(1, round(self.rounds * factor * self.rays / rays)), rays=rays)


@dataclass(frozen=True)
class Settings:
    """Everything that decides a training run, apart from the photos.

    levels: coarse to fine; a level that repeats the resolution before it prunes and goes on. unmasked: those of photos
        without masks, where they are others. tasks: map tasks of a round (logical shards: fixed by the job, never by
        the number of workers). parts: most reduce tasks of a round.
    step: distance of samples in voxels. stop: transmittance at which a ray ends.
    degree: of the spherical harmonics in which a colour depends on the view, 0 to 2. Those of degree 2 make rows twice
        as large. They come with the last level, after the last pruning, and only if that has no more than `roomy` rows.
    rate_sigma, rate_color: learning rates of raw density and raw colour; rate_sh: of degree-1 harmonics, relative to
        colour, and rate_sh_early before the fraction sh_start of all rays is traced: colours that may depend on the
        view explain a wrong surface as well as the right one, so the surface is found first. rate_sh2: of degree-2
        harmonics, relative to those of degree 1, once the fraction sh2_start (and sh_start) is traced. All but rate_sh
        and rate_sh2 fall by rate_end over the run, geometrically. beta: decay of the second moments.
    damp_sigma, damp_color: how much the curvature of the rays' errors counts against a step (see `kernels.update`; 0:
        RMSprop alone) in the levels of the last resolution, whose rates are `bold` times as high.
    alpha_start: opacity of one voxel of the first grid. reference: density is in units of reference / box side.
    alpha_weight, point_weight, distortion_weight: lambda_a, lambda_p, lambda_d of `kernels.march`; the last counts
        once the fraction distortion_start of all rays is traced.
    smooth: strength of the pull of raw densities to their neighbours' (`kernels.smooth`); it counts once the fraction
        smooth_start of all rays is traced.
    prune_alpha, prune_weight, prune_margin: at the next level a voxel is kept with at least this opacity over one
        voxel, and this fraction of the mean rendering weight; cells at most margin + 1 away from a kept one live on.
    surround, seen_by, near: without masks, the box grows by this factor, and voxels are kept that so many views see,
        not counting those nearer to the camera than this fraction of the distance to the subject.
    pixel, most: the levels of the last resolution have as many cells as make a voxel `pixel` pixels of the photos wide
        at the subject, but no fewer than they name and no more than `most`; pixel 0: as many as they name.
    ring: pixels around masks that are trained on; outside: fraction of all others that is.
    hull_resolution: of the first carving, which finds the box. seed: of everything random.
    raw_shift: what is added to raw density, where a field that is trained on decides it and not alpha_start.
    raw_around: raw density that the grid begins with outside the subject's box.
    shells, shell_side, shell_leap: spheres of texels around the box (0: white all around), their texels a side in the
        first level, and how often these double at the second (see `training.outside`). rate_shell_opacity,
        rate_shell_color: their learning rates.
    exposure: whether each photo has a gain of its own.
    """

    levels: tuple[Level, ...]
    unmasked: tuple[Level, ...] = ()
    tasks: int = 4
    parts: int = 4
    degree: int = 1
    roomy: int = 1 << 30
    step: float = 1.0
    stop: float = 1e-3
    rate_sigma: float = 0.8
    rate_color: float = 0.4
    rate_sh: float = 1.0
    rate_sh_early: float = 0.05
    sh_start: float = 0.25
    rate_sh2: float = 1.0
    sh2_start: float = 0.4
    rate_end: float = 0.1
    beta: float = 0.9
    damp_sigma: float = 0.0
    damp_color: float = 0.0
    bold: float = 1.0
    alpha_start: float = 1e-2
    reference: int = 256
    alpha_weight: float = 0.5
    point_weight: float = 0.01
    distortion_weight: float = 3e-4
    distortion_start: float = 0.2
    smooth: float = 0.0
    smooth_start: float = 0.0
    prune_alpha: float = 0.05
    prune_weight: float = 0.1
    prune_margin: int = 0
    surround: float = 2.5
    seen_by: int = 3
    near: float = 0.3
    pixel: float = 0.0
    most: int = 384
    ring: int = 2
    outside: float = 0.03
    seed: int = 0
    hull_resolution: int = field(default=96)
    raw_shift: float | None = None
    raw_around: float = 0.0
    shells: int = 0
    shell_side: int = 4
    shell_leap: int = 5
    rate_shell_opacity: float = 0.4
    rate_shell_color: float = 0.4
    exposure: bool = False

    @property
    def rounds(self) -> int:
        """Optimiser steps of all levels."""
        return sum(level.rounds for level in self.levels)

    @property
    def rays(self) -> int:
        """Rays of all rounds (the number traced differs by a few percent: batches are whole tiles of pixels)."""
        return sum(level.rounds * level.rays for level in self.levels)

    def stride(self, level: Level) -> float:
        """How many times as high rates are in a level as the run's own."""
        return level.stride * (self.bold if level.resolution == self.levels[-1].resolution else 1.0)

    def degree_at(self, level: int, rows: int) -> int:
        """The degree that the rows of a level have room for, if there are so many."""
        return self.degree if level == len(self.levels) - 1 and rows <= self.roomy else min(self.degree, 1)

    def fitted(self, cells: int) -> Settings:
        """The same run with `cells` cells in the levels of the last resolution (see `levels.finest`)."""
        last = self.levels[-1].resolution
        return replace(
            self,
            levels=tuple(replace(x, resolution=cells) if x.resolution == last else x for x in self.levels),
        )

    def shared_by(self, shards: int) -> Settings:
        """The same run with so many map tasks a round, and as many reduce tasks, but no fewer than there were: each
        holds its range in memory."""
        return replace(self, tasks=shards, parts=max(self.parts, shards))

    def without_masks(self) -> Settings:
        """The same run for photos without masks: rounds of their own, or twice the rays at the coarse levels, where all
        of the picture must be explained, calmer densities and surroundings that begin clear, which keep fog from
        forming, shells for what lies outside the box, which rays need no longer be opaque before, and harmonics from
        the start, of degree 1."""
        doubled = (replace(level, rays=max(level.rays, min(LARGE, 2 * level.rays))) for level in self.levels)
        levels = self.unmasked or tuple(doubled)
        calm = replace(self, levels=levels, rate_sigma=min(self.rate_sigma, 0.8), raw_around=-6.0)
        return replace(calm, sh_start=0.0, degree=min(self.degree, 1), shells=8, alpha_weight=0.0, pixel=0.0)

    def going_on(self, raw_shift: float) -> Settings:
        """The last level alone, for a field that is trained: rates begin at a third of the run's and end, undamped, at
        half of what it ends with, for what is learned is not to be thrown about. Rounds are no larger than is right
        for their rates, and a dozen at least: the first ones of an optimiser without memory cost quality."""
        last = self.levels[-1]
        last = last.in_rounds_of(min(last.rays, last.steady or last.rays))
        return replace(
            self,
            levels=(replace(last, rounds=max(12, last.rounds)),),
            raw_shift=raw_shift,
            damp_sigma=0.0,
            damp_color=0.0,
            bold=1.0,
            rate_sigma=self.rate_sigma * 0.3,
            rate_color=self.rate_color * 0.3,
            rate_end=self.rate_end * self.bold / 0.6,
            sh_start=0.0,
            sh2_start=0.0,
            distortion_start=0.0,
            smooth_start=0.0,
        )

    def scaled(self, factor: float) -> Settings:
        """The same run with `factor` times the rays, in one round a level at least."""
        levels, unmasked = (tuple(x.scaled(factor) for x in some) for some in (self.levels, self.unmasked))
        return replace(self, levels=levels, unmasked=unmasked)


PRESETS: dict[str, Settings] = {
    "draft": Settings((Level(64, 40, 16384), Level(128, 48, 49152)), rate_sigma=1.6),
    "standard": Settings(
        (
            Level(64, 60, 16384),
            Level(128, 80, 49152),
            Level(256, 12, 262144),
            Level(256, 69, 917504, 393216),
        ),
        (Level(64, 100, 32768), Level(128, 136, 98304), Level(256, 12, 262144), Level(256, 150, 393216)),
        sh_start=0.1,
        rate_end=0.008,
        damp_sigma=0.8,
        damp_color=0.25,
        bold=4.0,
        degree=2,
        roomy=1_400_000,
        smooth=3e-6,
        smooth_start=0.25,
        pixel=1.18,
    ),
    "fine": Settings(
        (Level(64, 120, 16384), Level(128, 160, 49152), Level(256, 16, 262144), Level(256, 240, 393216)),
        sh_start=0.15,
        rate_end=0.012,
        damp_sigma=0.8,
        damp_color=0.25,
        bold=4.0,
        degree=2,
        smooth=1e-5,
        smooth_start=0.25,
        pixel=1.0,
        most=448,
    ),
}
"""draft, standard, fine: see `docs/radiance-fields.md` for their time and quality."""
