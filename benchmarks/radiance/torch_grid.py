"""A dense voxel grid trained with torch on CPU, written well: what a user without this library would write, and knows
to write.

Raw density and SH1 colour (13 values a voxel) are interpolated trilinearly and activated afterwards: density by
softplus with a scale fixed in world units across levels, colour by a sigmoid. Adam (0.9, 0.99), epsilon 1e-15, rate 0.1
for everything, x 0.1 over the run. Coarse to fine: 48, 96 and 160 cells along the longest side with 2,048, 4,096 and
8,192 rays a step. Half-voxel steps with jitter; samples only where an occupancy grid (opacity > 5e-3, dilated by one)
says so, which the masks' visual hull begins; the box is tightened at each level. Loss: mean squared error. Rays are
drawn from pixels at most three from the mask, and 3 % of the others.

Interpolation is a sum over the eight corners, whose backward is the scatter that costs a voxel grid in torch its time:
as a product with a sparse matrix whose rows come from a sort it takes less than half of what `embedding_bag` or
`index_add` do. Only voxels beside occupied cells have parameters, so that neither that nor Adam pays for empty space.
Rays that miss the occupied cells cost nothing but their background.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

LEVELS = ((48, 2048, 0.15), (96, 4096, 0.25), (160, 8192, 0.6))
"""(cells along the longest side, rays a step, part of the time)"""
ALPHA_START, SOLID, FIXED_STEP = 1e-3, 5e-3, 160
SETTLED = 64
"""Steps of the first level before its occupancy is believed; till then the masks' visual hull counts."""
RATE, RATE_END, BETAS, EPSILON = 0.1, 0.1, (0.9, 0.99), 1e-15
SH0, SH1 = 0.28209479177387814, 0.4886025119029199


@dataclass
class Photos:
    """Pixels of all views: (N, H*W, 4) float32 premultiplied in uint8 precision, and cameras."""

    pixels: torch.Tensor
    cameras: list[Any]
    width: int
    worth: list[torch.Tensor]
    """Of each view, the pixels that rays are drawn from."""

    @classmethod
    def of(cls, views: Sequence[Any]) -> Photos:
        images = torch.stack([torch.from_numpy(view.image()) for view in views])
        count, _, width, _ = images.shape
        near = torch.nn.functional.max_pool2d((images[..., 3] > 0).float()[:, None], 7, 1, 3).reshape(count, -1) > 0
        near |= torch.rand(near.shape, generator=torch.Generator().manual_seed(0)) < 0.03
        worth = [one.nonzero()[:, 0] for one in near]
        return cls(images.reshape(count, -1, 4), [view.camera for view in views], width, worth)

    def draw(self, view: int, count: int) -> torch.Tensor:
        """Random pixels of a view that are worth a ray."""
        worth = self.worth[view]
        return worth[torch.randint(len(worth), (count,))]

    def rays(self, view: int, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Origins and unit directions (R, 3), world."""
        xs, ys = (pixels % self.width).numpy(), (pixels // self.width).numpy()
        origin, directions = self.cameras[view].rays(xs, ys)
        directions = torch.from_numpy(np.ascontiguousarray(directions, np.float32))
        return torch.from_numpy(np.asarray(origin, np.float32)).expand_as(directions), directions

    def colours(self, view: int, pixels: torch.Tensor) -> torch.Tensor:
        """(R, 3) over white."""
        found = self.pixels[view, pixels].float() / 255
        return found[:, :3] * found[:, 3:] + 1 - found[:, 3:]


class Corners(torch.autograd.Function):
    """Weighted sums (S, 13) of eight rows each of (R, 13)."""

    @staticmethod
    def forward(ctx: Any, params: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.count = len(params)
        return torch.nn.functional.embedding_bag(rows, params, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        rows, weights = ctx.saved_tensors
        ordered, order = rows.reshape(-1).int().sort()
        starts = torch.searchsorted(ordered, torch.arange(ctx.count + 1, dtype=torch.int32), out_int32=True)
        size = (ctx.count, len(rows))
        columns = (order // 8).int()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sparse tensors are announced as new
            matrix = torch.sparse_csr_tensor(starts, columns, weights.reshape(-1)[order], size, check_invariants=False)
        return matrix @ grads[0], None, None


class Grid:
    """One level: which cells of a box are occupied, and parameters (rows, 13) of the voxels beside them; row 0 stands
    for all others."""

    def __init__(self, lo: torch.Tensor, hi: torch.Tensor, resolution: int, unit: float):
        self.voxel = float((hi - lo).max()) / (resolution - 1)
        self.shape = ((hi - lo) / self.voxel).ceil().long() + 1
        self.lo, self.hi = lo, lo + (self.shape - 1) * self.voxel
        self.unit, self.step = unit, 0.5 * self.voxel
        self.shift = math.log(math.expm1(-math.log1p(-ALPHA_START)))
        x, y, z = self.shape.tolist()
        self.strides = torch.tensor([y * z, z, 1])
        self.corners = torch.tensor([i * y * z + j * z + k for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        self.occupied = torch.ones(x * y * z, dtype=torch.bool)
        self.settle()

    def settle(self) -> None:
        """Give the voxels beside occupied cells a row of parameters, all zero."""
        self.voxels = self.widened(self.occupied).nonzero()[:, 0]
        self.row = torch.zeros(len(self.occupied), dtype=torch.long)
        self.row[self.voxels] = torch.arange(1, len(self.voxels) + 1)
        self.params = torch.nn.Parameter(torch.zeros(len(self.voxels) + 1, 13))

    def widened(self, cells: torch.Tensor) -> torch.Tensor:
        """Cells that are set or beside one that is."""
        dense = cells.reshape(1, 1, *self.shape.tolist()).float()
        return torch.nn.functional.max_pool3d(dense, 3, 1, 1).reshape(-1) > 0

    def depth(self, raw: torch.Tensor, length: float) -> torch.Tensor:
        """Optical depth of `length`, for raw densities."""
        return torch.nn.functional.softplus(raw + self.shift) * (length / self.unit)

    @torch.no_grad()
    def look_around(self) -> None:
        """Occupancy from the parameters: opaque over a step, or beside such a voxel."""
        solid = 1 - torch.exp(-self.depth(self.params[1:, 0], self.step)) > SOLID
        cells = torch.zeros(len(self.occupied), dtype=torch.bool)
        cells[self.voxels[solid]] = True
        self.occupied = self.widened(cells) & (self.row > 0)

    @torch.no_grad()
    def carve(self, photos: Photos) -> None:
        """Occupancy from the masks: what some photo sees outside its mask, widened by a voxel, is empty."""
        points = self.points().numpy()
        for pixels, camera in zip(photos.pixels[::4], photos.cameras[::4], strict=True):
            mask = (pixels[:, 3] > 0).float().reshape(1, 1, -1, photos.width)
            at, depth = camera.project(points)
            reach = math.ceil(camera.fx * self.voxel / float(np.median(depth)))
            mask = torch.nn.functional.max_pool2d(mask, 2 * reach + 1, 1, reach)[0, 0].numpy()
            u, v = np.floor(at).astype(np.int64).T
            seen = (depth > 0) & (u >= 0) & (v >= 0) & (u < photos.width) & (v < mask.shape[0])
            outside = seen.copy()
            outside[seen] = mask[v[seen], u[seen]] == 0
            self.occupied &= torch.from_numpy(~outside)
        self.settle()

    def points(self) -> torch.Tensor:
        """World positions of all voxels, in row order."""
        axes = [torch.arange(n) for n in self.shape.tolist()]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3) * self.voxel + self.lo

    def finer(self, resolution: int, settled: bool = True) -> Grid:
        """The next level: a box around what is occupied, values interpolated."""
        with torch.no_grad():
            if settled:
                self.look_around()
            at = self.occupied.reshape(self.shape.tolist()).nonzero()
            if len(at) == 0:
                at = torch.stack([torch.zeros(3).long(), self.shape - 1])
            lo = self.lo + (at.amin(0) - 1).clamp(min=0) * self.voxel
            hi = self.lo + torch.minimum(at.amax(0) + 1, self.shape - 1) * self.voxel
            new = Grid(lo, hi, resolution, self.unit)
            points = new.points()
            nearest = torch.minimum(((points - self.lo) / self.voxel).round().long(), self.shape - 1)
            new.occupied = self.occupied[(nearest * self.strides).sum(1)]
            new.settle()
            for part, into in zip(points[new.voxels].split(1 << 18), new.params.data[1:].split(1 << 18), strict=True):
                rows, weights = self.neighbours(part)
                into.copy_(torch.nn.functional.embedding_bag(rows, self.params, per_sample_weights=weights, mode="sum"))
        return new

    def neighbours(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (S, 8) of the corners around world points, and their trilinear weights."""
        at = (points - self.lo) / self.voxel
        cell = torch.minimum(at.floor().long().clamp(min=0), self.shape - 2)
        part = (at - cell).clamp(0, 1)
        rows = self.row[(cell * self.strides).sum(1, keepdim=True) + self.corners]
        other = 1 - part
        x, y, z = (torch.stack([other[:, axis], part[:, axis]], 1) for axis in range(3))
        weights = (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).reshape(-1, 8)
        return rows, weights

    def render(self, origins: torch.Tensor, directions: torch.Tensor, jitter: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Colours (R, 3) over white, and the number of samples that were evaluated."""
        inverse = 1 / torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
        a, b = (self.lo - origins) * inverse, (self.hi - origins) * inverse
        near, far = torch.minimum(a, b).amax(1).clamp(min=0), torch.maximum(a, b).amin(1)
        hit = (far > near).nonzero()[:, 0]
        white = torch.ones(len(origins), 3)
        if len(hit) == 0:
            return white, 0
        count = ((far - near)[hit].amax() / self.step).ceil().int()
        t = near[hit, None] + (torch.arange(int(count)) + jitter[hit, None]) * self.step
        inside = t < far[hit, None]
        ray, index = inside.nonzero(as_tuple=True)
        points = origins[hit][ray] + t[ray, index, None] * directions[hit][ray]
        nearest = ((points - self.lo) / self.voxel).round().long()
        alive = self.occupied[(torch.minimum(nearest.clamp(min=0), self.shape - 1) * self.strides).sum(1)]
        ray, points = ray[alive], points[alive]
        if len(ray) == 0:
            return white, 0
        rows, weights = self.neighbours(points)
        raw = Corners.apply(self.params, rows, weights)
        weight, through = self.weigh(self.depth(raw[:, 0], self.step), ray, len(hit))
        d = directions[hit][ray]
        colour = torch.sigmoid(SH0 * raw[:, 1:4] + SH1 * (raw[:, 4:].reshape(-1, 3, 3) * d[:, :, None]).sum(1))
        sums = torch.zeros(len(hit), 3).index_add(0, ray, weight[:, None] * colour)
        return white.index_copy(0, hit, sums + through[:, None]), len(points)

    def weigh(self, depth: torch.Tensor, ray: torch.Tensor, rays: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of samples that lie ray by ray, front to back; and what each ray lets through."""
        total = torch.zeros(rays).index_add(0, ray, depth)
        before = depth.double().cumsum(0) - depth
        start = total.double().cumsum(0) - total
        ahead = (before - start[ray]).float()
        return torch.exp(-ahead) * (1 - torch.exp(-depth)), torch.exp(-total)


def train(photos: Photos, bounds: np.ndarray, seconds: float, seed: int = 0) -> Iterator[tuple[float, Grid, dict]]:
    """Train for `seconds`; yields (seconds so far, grid, {"rays", "samples"}) every few of them.

    The consumer's time between two yields does not count.
    """
    torch.manual_seed(seed)
    lo, hi = (torch.from_numpy(np.asarray(b, np.float32)) for b in bounds)
    unit = float((hi - lo).max()) / FIXED_STEP
    grid: Grid | None = None
    spent, step, done = 0.0, 0, {"rays": 0, "samples": 0}
    limits = np.cumsum([part for *_, part in LEVELS]) * seconds
    views = len(photos.pixels)
    for (resolution, batch, _), limit in zip(LEVELS, limits, strict=True):
        begin = time.perf_counter()
        if grid is None:
            grid = Grid(lo, hi, resolution, unit)
            grid.carve(photos)
        else:
            grid = grid.finer(resolution, step >= SETTLED)
        optimiser = torch.optim.Adam([grid.params], lr=RATE, betas=BETAS, eps=EPSILON, fused=True)
        step, shown = 0, spent
        while True:
            now = spent + time.perf_counter() - begin
            if now >= limit or now - shown >= seconds / 40:
                spent = shown = now
                yield spent, grid, done
                begin = time.perf_counter()
                if spent >= limit:
                    break
            for group in optimiser.param_groups:
                group["lr"] = RATE * RATE_END ** (now / seconds)
            picked = torch.randint(views, (4,))
            chosen = [(int(v), photos.draw(int(v), batch // 4)) for v in picked]
            rays = [photos.rays(*one) for one in chosen]
            origins, directions = (torch.cat([ray[i] for ray in rays]) for i in (0, 1))
            target = torch.cat([photos.colours(*one) for one in chosen])
            colours, samples = grid.render(origins, directions, torch.rand(batch))
            optimiser.zero_grad(set_to_none=True)
            if samples:
                torch.nn.functional.mse_loss(colours, target).backward()
                optimiser.step()
            step += 1
            done["rays"] += batch
            done["samples"] += samples
            if step % 16 == 0 and (resolution > LEVELS[0][0] or step >= SETTLED):
                grid.look_around()


@torch.no_grad()
def psnr(grid: Grid, photos: Photos, share: int = 16) -> float:
    """Mean over the photos, white background, of every `share`-th pixel in a fixed order."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randperm(photos.pixels.shape[1], generator=generator)[:: max(1, share)]
    found = []
    for view in range(len(photos.cameras)):
        colours, _ = grid.render(*photos.rays(view, pixels), torch.full((len(pixels),), 0.5))
        error = float(((colours.clamp(0, 1) - photos.colours(view, pixels)) ** 2).mean())
        found.append(-10 * math.log10(max(1e-10, error)))
    return sum(found) / len(found)
