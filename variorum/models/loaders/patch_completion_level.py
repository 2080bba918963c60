"""One scale of a picture whose hole is filled with its own patches: which patch goes where, and what follows of it.

A patch is known by its centre, an index into the flattened, padded picture. Every centre whose patch touches the hole
is a target; every one whose patch is wholly known and within the picture can be a source.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints, Singles

SIDE = 7
"""Of a patch, in pixels."""
REACH = SIDE // 2
PAD = 8
"""Pixels around the picture, mirrored; as many as the farthest neighbour that is asked."""
AXES = 24
"""Principal axes of the known patches by which patches are compared, in place of their 147 values."""
MOST_SAMPLES = 4000
"""Known patches from which the axes are computed."""
TEXTURE = 7.0
"""Weight of a patch's detail, which keeps texture from being filled by something smooth of the same colour."""
BLUR = (1.5, 0.03)
"""Sigma within which detail is averaged: at least this many pixels, and a share of the short side."""
EXACT = 70 * 70
"""Pixels up to which the nearest source is found by comparing with all of them."""
BLOCK = 256
"""Targets that are compared with all sources at a time."""
GATHERED = 8192
"""Patches whose values lie in memory at a time."""
JUMPS = (8, 4, 2, 1)
"""Distances to the neighbours whose shifts are tried, in pixels."""
LENIENT = 1.5
"""A neighbour's shift is taken over if the difference grows by less than this factor, which keeps regions whole."""
SPREAD = 4.5
"""Squared pixels; the last choice for a pixel prefers patches whose centre is near."""
OFFSETS = tuple((down, right) for down in range(-REACH, REACH + 1) for right in range(-REACH, REACH + 1))
BESIDE = ((0, 1), (0, -1), (1, 0), (-1, 0))
AROUND = tuple(offset for offset in OFFSETS if max(map(abs, offset)) == 1)

Kind = TypeVar("Kind", bound=np.generic)

_blas = ThreadpoolController()
_alone = threading.Lock()  # the number of BLAS threads is one setting for the whole process


def product(left: Singles, right: Singles) -> Singles:
    """The matrix product, computed by one thread: several round otherwise."""
    with _alone, _blas.limit(limits=1, user_api="blas"):
        found: Singles = left @ right
    return found


class Level:
    """One scale of the picture.

    Attributes:
        shape: height and width of the picture.
        sources: number of known patches.
    """

    def __init__(self, colours: Singles, hole: Bools) -> None:
        """A picture `[H, W, 3]`, 0 to 255, with what is known of it, and its hole `[H, W]`."""
        self.shape: tuple[int, int] = (hole.shape[0], hole.shape[1])
        self._hole = hole
        self._width = hole.shape[1] + 2 * PAD
        self._image = cv2.copyMakeBorder(colours, PAD, PAD, PAD, PAD, cv2.BORDER_REFLECT_101)
        inner = np.zeros(hole.shape, np.uint8)
        inner[REACH:-REACH, REACH:-REACH] = 1
        patch = np.ones((SIDE, SIDE), np.uint8)
        near = cv2.dilate(hole.astype(np.uint8), patch)
        self._is_source = _padded((near == 0) & (inner > 0))
        self._is_target = _padded(near > 0)
        self._known_patches = np.flatnonzero(self._is_source)
        self._targets = np.flatnonzero(self._is_target)
        self._pixels = np.flatnonzero(_padded(hole))
        self.sources = len(self._known_patches)
        self._chosen = np.zeros(self._is_target.size, np.int64)  # of each target, its source
        self._gap = np.zeros(len(self._targets), np.float32)  # of each target, the squared distance to it
        self._axes = np.empty((0, 0), np.float32)  # described when they are needed first
        self._mean, self._known_described = self._axes, self._axes

    # ── start ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def peel(self) -> None:
        """Fill the hole from its rim inwards; each pixel is the centre of the source that fits what is known."""
        values = self._patches(self._known_patches)
        squares = np.ascontiguousarray((values**2).T)
        values = np.ascontiguousarray(values.T)
        inside = self._hole.astype(np.uint8)
        while inside.any():
            rim = (inside > 0) & (cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=1) == 0)
            if not rim.any():
                break
            at = np.flatnonzero(_padded(rim))
            known = cv2.copyMakeBorder((1 - inside)[..., None], PAD, PAD, PAD, PAD, cv2.BORDER_REFLECT_101)
            weight = self._gathered(np.repeat(known.reshape(-1, 1), 3, axis=1).astype(np.float32), at)
            cost = product(weight, squares) - 2 * product(weight * self._patches(at), values)
            self._flat[at] = self._flat[self._known_patches[cost.argmin(axis=1)]]
            inside[rim] = 0
            self._mirror()

    def carry(self, coarser: Level) -> None:
        """Take over a coarser level's choice, each source moved to the nearest known patch, and vote for colours."""
        rows, columns = self._coordinates(self._targets)
        scale = [mine / theirs for mine, theirs in zip(self.shape, coarser.shape, strict=True)]
        at = [
            np.clip(((place + 0.5) / ratio).astype(np.int64), 0, side - 1)
            for place, ratio, side in zip((rows, columns), scale, coarser.shape, strict=True)
        ]
        target = coarser._nearest(coarser._is_target)[at[0], at[1]]
        shift = [
            np.rint((there - here) * ratio).astype(np.int64)
            for there, here, ratio in zip(
                coarser._coordinates(coarser._chosen[target]), coarser._coordinates(target), scale, strict=True
            )
        ]
        to = [
            np.clip(place + by, 0, side - 1) for place, by, side in zip((rows, columns), shift, self.shape, strict=True)
        ]
        self._chosen[self._targets] = self._nearest(self._is_source)[to[0], to[1]]
        self._gap[:] = 0
        self.vote()

    # ── rounds ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def search(self) -> None:
        """Find a source for each target that is like it and goes on its neighbours' sources."""
        if self._axes.size == 0:
            self._describe_sources()
        wanted = self._described(self._targets, self._texture(np.ones(self.shape, np.float32)))
        if self.shape[0] * self.shape[1] <= EXACT:
            self._search_all(wanted)
        else:
            self._search_near(wanted)
        limit = LENIENT * self._gap
        for down, right in BESIDE:
            self._try(wanted, *self._continued(down, right), limit)

    def vote(self) -> None:
        """Give each pixel of the hole the mean of what the patches over it say, the more of those that fit best."""
        weight = np.zeros((self._is_target.size, 1), np.float32)
        weight[self._targets, 0] = self._weights()
        colours = np.concatenate([self._flat, np.ones((len(self._flat), 1), np.float32)], axis=1)
        total = np.zeros((len(self._pixels), 4), np.float32)
        for down, right in OFFSETS:
            step = down * self._width + right
            centre = self._pixels - step
            total += weight[centre] * colours[self._chosen[centre] + step]
        self._flat[self._pixels] = total[:, :3] / total[:, 3:]
        self._mirror()

    def origins(self) -> Ints:
        """For each pixel of the hole, row by row, the index into `H * W` of the known pixel that it copies."""
        weight = np.zeros(self._is_target.size, np.float32)
        weight[self._targets] = self._weights()
        best, origin = np.zeros(len(self._pixels), np.float32), np.zeros(len(self._pixels), np.int64)
        for down, right in OFFSETS:
            step = down * self._width + right
            centre = self._pixels - step
            mine = weight[centre] * np.float32(np.exp(-(down**2 + right**2) / SPREAD))
            origin = np.where(mine > best, self._chosen[centre] + step, origin)
            best = np.maximum(mine, best)
        rows, columns = self._coordinates(origin)
        return rows * self.shape[1] + columns

    def _weights(self) -> Singles:
        usual = max(float(np.percentile(self._gap, 75)), 1e-6)
        found: Singles = np.exp(-np.minimum(self._gap / usual, 60)).astype(np.float32)
        return found

    def _search_all(self, wanted: Singles) -> None:
        sources = self._known_described[self._known_patches]
        half = (sources**2).sum(axis=1) / 2
        turned = np.ascontiguousarray(sources.T)
        for start in range(0, len(wanted), BLOCK):
            part = wanted[start : start + BLOCK]
            near = (product(part, turned) - half).argmax(axis=1)
            self._gap[start : start + BLOCK] = ((part - sources[near]) ** 2).sum(axis=1)
            self._chosen[self._targets[start : start + BLOCK]] = self._known_patches[near]

    def _search_near(self, wanted: Singles) -> None:
        self._gap = self._distance(wanted, self._chosen[self._targets])
        for jump in JUMPS:
            for down, right in BESIDE:
                self._try(wanted, *self._continued(jump * down, jump * right), self._gap)
        for down, right in AROUND:
            other = self._chosen[self._targets] + down * self._width + right
            which = np.flatnonzero(self._is_source[other])
            self._try(wanted, which, other[which], self._gap)

    def _continued(self, down: int, right: int) -> tuple[Ints, Ints]:
        """The targets for which a neighbour's shift leads to another source than their own, and that source."""
        step = down * self._width + right
        beside = self._targets + step
        other = self._chosen[beside] - step
        fits = self._is_target[beside] & self._is_source[other] & (other != self._chosen[self._targets])
        which = np.flatnonzero(fits)
        return which, other[which]

    def _try(self, wanted: Singles, which: Ints, other: Ints, limit: Singles) -> None:
        """Give these targets these sources where the difference is below the limit."""
        gap = self._distance(wanted[which], other)
        better = gap < limit[which]
        self._gap[which[better]] = gap[better]
        self._chosen[self._targets[which[better]]] = other[better]

    def _distance(self, wanted: Singles, sources: Ints) -> Singles:
        found = self._known_described[sources]
        found -= wanted
        squared: Singles = np.einsum("nd,nd->n", found, found)
        return squared

    # ── what patches look like ───────────────────────────────────────────────────────────────────────────────────────

    def _describe_sources(self) -> None:
        some = self._patches(self._known_patches[:: -(-self.sources // MOST_SAMPLES)])
        self._mean = some.mean(axis=0)
        spread = some - self._mean
        with _alone, _blas.limit(limits=1, user_api="blas"):
            _, vectors = np.linalg.eigh((spread.T @ spread).astype(np.float64))
        self._axes = np.ascontiguousarray(vectors[:, ::-1][:, :AXES], dtype=np.float32)
        known = 1 - self._hole.astype(np.float32)
        described = self._described(self._known_patches, self._texture(known))
        self._known_described = np.zeros((self._is_source.size, described.shape[1]), np.float32)
        self._known_described[self._known_patches] = described

    def _described(self, centres: Ints, texture: Singles) -> Singles:
        """Coordinates of patches along the axes, and their detail."""
        out = np.empty((len(centres), AXES + 2), np.float32)
        for start in range(0, len(centres), GATHERED):
            part = slice(start, start + GATHERED)
            out[part, :AXES] = product(self._patches(centres[part]) - self._mean, self._axes)
            out[part, AXES:] = texture[centres[part]]
        return out

    def _texture(self, known: Singles) -> Singles:
        """Detail across and along, `[padded, 2]`: the mean difference between neighbours that are known."""
        grey = cv2.cvtColor(np.ascontiguousarray(self._image[PAD:-PAD, PAD:-PAD]), cv2.COLOR_RGB2GRAY)
        sigma = max(BLUR[0], BLUR[1] * min(self.shape))
        found = []
        for axis, end in enumerate((((0, 1), (0, 0)), ((0, 0), (0, 1)))):
            both = np.delete(known, 0, axis) * np.delete(known, -1, axis)
            seen, change = np.pad(both, end), np.pad(both * np.abs(np.diff(grey, axis=axis)), end)
            total, weight = (cv2.GaussianBlur(item, (0, 0), sigma) for item in (change, seen))
            found.append(_padded(TEXTURE * total / np.maximum(weight, 1e-6)))
        return np.stack(found, axis=1)

    def _patches(self, centres: Ints) -> Singles:
        return self._gathered(self._flat, centres)

    def _gathered(self, flat: Singles, centres: Ints) -> Singles:
        """The values of patches, `[n, 147]`."""
        across = sliding_window_view(flat.ravel(), 3 * SIDE)
        first = 3 * (centres - REACH)
        return np.concatenate([across[first + 3 * row * self._width] for row in range(-REACH, REACH + 1)], axis=1)

    # ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _flat(self) -> Singles:
        flat: Singles = self._image.reshape(-1, 3)
        return flat

    def _mirror(self) -> None:
        inner = np.ascontiguousarray(self._image[PAD:-PAD, PAD:-PAD])
        self._image = cv2.copyMakeBorder(inner, PAD, PAD, PAD, PAD, cv2.BORDER_REFLECT_101)

    def _coordinates(self, places: Ints) -> tuple[Ints, Ints]:
        return places // self._width - PAD, places % self._width - PAD

    def _nearest(self, wanted: Bools) -> Ints:
        """For each pixel `[H, W]` the nearest place where `wanted` is true."""
        inner = wanted.reshape(-1, self._width)[PAD:-PAD, PAD:-PAD]
        _, label = cv2.distanceTransformWithLabels(
            (~inner).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        place = np.zeros(int(label.max()) + 1, np.int64)
        place[label[inner]] = np.flatnonzero(wanted)
        found: Ints = place[label]
        return found


def _padded(values: NDArray[Kind]) -> NDArray[Kind]:
    """Flattened, with zeros around."""
    return np.pad(values, PAD).ravel()
