"""Photographs of a mesh with a colour at every vertex: a z-buffer with sixteen samples a pixel.

Triangles are about the size of a sample's cell, so nothing cleverer than bounding boxes pays. Samples lie on a regular
4 x 4 grid inside the pixel; depth is interpolated as 1/z (exact), colour linearly in the image (within a triangle of
under a pixel its error is below the rounding to eight bits). A pixel's alpha is the covered share of its samples and
its colour their mean (straight alpha). Ties in depth go to the triangle that comes first: the same bits everywhere.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.cameras import Camera
from nerf_plugin.kernels import kernel

SIDE = 4


@kernel
def _project(vertices, rotation, position, fx, fy, cx, cy, side, out):
    for n in range(len(vertices)):
        x, y, z = vertices[n, 0] - position[0], vertices[n, 1] - position[1], vertices[n, 2] - position[2]
        u = x * rotation[0, 0] + y * rotation[1, 0] + z * rotation[2, 0]
        v = x * rotation[0, 1] + y * rotation[1, 1] + z * rotation[2, 1]
        w = 1.0 / -(x * rotation[0, 2] + y * rotation[1, 2] + z * rotation[2, 2])
        out[n, 0] = (u * w * fx + cx) * side - 0.5
        out[n, 1] = (-v * w * fy + cy) * side - 0.5
        out[n, 2] = w


@kernel
def _fill(screen, faces, colours, nearness, rgb):
    height, width = nearness.shape
    hidden = False
    for n in range(len(faces)):
        if n % 4 == 0:
            a, b, c = faces[n, 0], faces[n + 1, 1], faces[n + 2, 2]
            ax, ay = screen[a, 0], screen[a, 1]
            hidden = (screen[b, 0] - ax) * (screen[c, 1] - ay) >= (screen[b, 1] - ay) * (screen[c, 0] - ax)
        if hidden:  # the whole triangle looks away, so its quarters do
            continue
        a, b, c = faces[n, 0], faces[n, 1], faces[n, 2]
        ax, ay, aw = screen[a, 0], screen[a, 1], screen[a, 2]
        bx, by, bw = screen[b, 0], screen[b, 1], screen[b, 2]
        cx, cy, cw = screen[c, 0], screen[c, 1], screen[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0.0:  # rows run downward, so what faces the camera turns the other way
            continue
        left, right = max(int(np.ceil(min(ax, min(bx, cx)))), 0), min(int(np.floor(max(ax, max(bx, cx)))), width - 1)
        top, bottom = max(int(np.ceil(min(ay, min(by, cy)))), 0), min(int(np.floor(max(ay, max(by, cy)))), height - 1)
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                p = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
                q = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
                r = 1.0 - p - q
                if p < 0.0 or q < 0.0 or r < 0.0:
                    continue
                w = p * aw + q * bw + r * cw
                if w > nearness[y, x]:
                    nearness[y, x] = w
                    for i in range(3):
                        value = p * colours[a, i] + q * colours[b, i] + r * colours[c, i]
                        rgb[y, x, i] = np.uint8(min(max(value + 0.5, 0.0), 255.0))


@kernel
def _resolve(nearness, rgb, side, image, depth):
    height, width = image.shape[:2]
    for y in range(height):
        for x in range(width):
            count, r, g, b, inner, total = 0, 0, 0, 0, 0, 0.0
            for j in range(side):
                for i in range(side):
                    w = nearness[y * side + j, x * side + i]
                    if w <= 0.0:
                        continue
                    count += 1
                    r += rgb[y * side + j, x * side + i, 0]
                    g += rgb[y * side + j, x * side + i, 1]
                    b += rgb[y * side + j, x * side + i, 2]
                    if 0 < i < side - 1 and 0 < j < side - 1:
                        inner += 1
                        total += 1.0 / w
            if count > 0:
                image[y, x, 0] = (r + count // 2) // count
                image[y, x, 1] = (g + count // 2) // count
                image[y, x, 2] = (b + count // 2) // count
                image[y, x, 3] = (255 * count + side * side // 2) // (side * side)
            depth[y, x] = total / inner if 2 * inner >= (side - 2) * (side - 2) else 0.0


@kernel
def _count_seen(points, normals, rotation, position, fx, fy, cx, cy, side, nearness, seen):
    height, width = nearness.shape
    for n in range(len(points)):
        x, y, z = points[n, 0] - position[0], points[n, 1] - position[1], points[n, 2] - position[2]
        if x * normals[n, 0] + y * normals[n, 1] + z * normals[n, 2] >= 0.0:
            continue
        u = x * rotation[0, 0] + y * rotation[1, 0] + z * rotation[2, 0]
        v = x * rotation[0, 1] + y * rotation[1, 1] + z * rotation[2, 1]
        depth = -(x * rotation[0, 2] + y * rotation[1, 2] + z * rotation[2, 2])
        i, j = int(np.floor((u / depth * fx + cx) * side)), int(np.floor((-v / depth * fy + cy) * side))
        if 0 <= i < width and 0 <= j < height and nearness[j, i] > 0.0 and depth < 1.0 / nearness[j, i] + 0.01:
            seen[n] += 1


class Studio:
    """A mesh with painted vertices, ready to be photographed.

    `vertices` (V, 3) float64 world, `faces` (4 F, 3) int32 looking outward in fours as
    `surface.split` makes them, `colours` (V, 3) float32 sRGB 0..255.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray) -> None:
        self.vertices, self.faces, self.colours = vertices, faces, np.ascontiguousarray(colours, np.float32)
        self._screen = np.empty((len(vertices), 3))
        self._nearness = np.empty((0, 0), np.float32)
        self._rgb = np.empty((0, 0, 3), np.uint8)

    def photograph(self, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 4) uint8 RGBA with straight alpha, and (H, W) float32 depth along -z (0 where under half is
        covered).
        """
        shape = (camera.height * SIDE, camera.width * SIDE)
        if self._nearness.shape != shape:
            self._nearness, self._rgb = np.empty(shape, np.float32), np.empty((*shape, 3), np.uint8)
        self._nearness.fill(0)
        lens = (camera.fx, camera.fy, camera.cx, camera.cy)
        _project(self.vertices, camera.rotation, camera.position, *lens, SIDE, self._screen)
        _fill(self._screen, self.faces, self.colours, self._nearness, self._rgb)
        image = np.zeros((camera.height, camera.width, 4), np.uint8)
        depth = np.zeros((camera.height, camera.width), np.float32)
        _resolve(self._nearness, self._rgb, SIDE, image, depth)
        return image, depth

    def count_seen(self, camera: Camera, points: np.ndarray, normals: np.ndarray, seen: np.ndarray) -> None:
        """Adds one to `seen` (N,) int16 where the last photograph, taken by `camera`, shows the point (N, 3)."""
        lens = (camera.fx, camera.fy, camera.cx, camera.cy)
        _count_seen(points, normals, camera.rotation, camera.position, *lens, SIDE, self._nearness, seen)
