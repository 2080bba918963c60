"""The networks of the learned watermark: 32 bits in a picture, in luminance and in blue against yellow.

Both see the picture shrunk to SIDE×SIDE. Each bit has a pattern; the encoder adds the patterns with the sign of their
bits and what a few convolutions make of the message and the picture, stronger where the picture is busy. It knows what
the decoder reads in the unmarked picture, so that it spends the mark's strength on bits that the picture contradicts.
The mark is enlarged to the picture's size. Its strength is the caller's, not the network's.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

BITS = 32
SIDE, FOLD = 128, 4
"""Side of the shrunk picture that the networks see, and of the squares of its pixels that convolutions see as one."""
LUMINANCE = (0.299, 0.587, 0.114)
BLUE = (-0.114 / 0.886, -0.114 / 0.886, 1.0)
"""RGB of the colour direction: blue against yellow, of the same luminance."""
SHARE, TRAINED_SHARE = 0.35, 0.15
"""Of the mark's power in luminance; the rest is in colour, to which eyes are less sensitive. It is less in training, so
that luminance, which JPEG keeps, learns to make do with little."""
LEAST_BLUE = 0.2
"""Share of the colour mark that is left in places without blue, such as orange ones, where it shows most."""
GAIN = 4.0
"""Patterns are stored at a quarter of their size, so that an optimiser's steps change them faster."""


def box(values: torch.Tensor, side: int) -> torch.Tensor:
    """Mean over a window of odd side, with reflected borders."""
    half = side // 2
    sums = functional.pad(values, (half + 1, half, half + 1, half), mode="reflect").cumsum(2)
    sums = (sums[:, :, side:] - sums[:, :, :-side]).cumsum(3)
    return (sums[..., side:] - sums[..., :-side]) / side**2


def whitened(plane: torch.Tensor) -> torch.Tensor:
    """A plane without its local mean, over its local deviation."""
    high = plane - box(plane, 7)
    return high / (box(high.square(), 9) + 1e-4).sqrt()


def planes(pictures: torch.Tensor) -> torch.Tensor:
    """Luminance, and blue less luminance, `[N, 2, SIDE, SIDE]`, of RGB in [0, 1]."""
    red, green, blue = functional.interpolate(pictures, (SIDE, SIDE), mode="area").split(1, 1)
    luminance = LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue
    return torch.cat([luminance, blue - luminance], 1)


def hiding(luminance: torch.Tensor) -> torch.Tensor:
    """Return how much of a mark each place hides in the two planes: by its detail, less in the dark.

    The mean of fourth roots is hardly raised by one strong edge in a flat place.
    """
    roots = (luminance - box(luminance, 3)).abs().add(1e-5).sqrt().sqrt()
    detail = box(functional.avg_pool2d(roots, 2), 5).square().square()
    light = (0.4 + 2.5 * box(functional.avg_pool2d(luminance, 2), 3)).clamp(max=1)
    fine = (detail + 0.003).clamp(max=0.03) * light
    both = torch.cat([fine, (fine + 0.01 * light).sqrt() * light], 1)
    return functional.interpolate(both, luminance.shape[2:], mode="bilinear")


class Decoder(nn.Module):
    """Bits of a picture as logits: correlation with the patterns, plus convolutions that withstand geometry."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2 * FOLD**2, 64, 3, padding=1)
        self.second = nn.Conv2d(64, 64, 3, padding=1)
        self.third = nn.Conv2d(64, 96, 3, stride=2, padding=1)
        self.fourth = nn.Conv2d(96, 96, 3, padding=1)
        self.fifth = nn.Conv2d(96, 64, 3, stride=2, padding=1)
        self.last = nn.Linear(64 * (SIDE // FOLD // 4) ** 2, BITS)
        nn.init.zeros_(self.last.weight)

    def forward(self, seen: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
        """`[N, BITS]` of whitened planes."""
        hidden = functional.silu(self.first(functional.pixel_unshuffle(seen, FOLD)))
        hidden = hidden + functional.silu(self.second(hidden))
        hidden = functional.silu(self.third(hidden))
        hidden = hidden + functional.silu(self.fourth(hidden))
        hidden = functional.silu(self.fifth(hidden))
        logits: torch.Tensor = self.last(hidden.flatten(1))
        return logits + functional.linear(seen.flatten(1), shapes.flatten(1) / SIDE)


class Encoder(nn.Module):
    """The mark in the two planes, of any scale."""

    def __init__(self) -> None:
        super().__init__()
        self.effort = nn.Parameter(torch.tensor([0.54, 0.3]))
        self.message = nn.Linear(BITS, 8 * (SIDE // FOLD) ** 2)
        self.first = nn.Conv2d(2 * FOLD**2 + 8, 48, 3, padding=1)
        self.second = nn.Conv2d(48, 48, 3, padding=1)
        self.last = nn.Conv2d(48, 2 * FOLD**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, seen: torch.Tensor, shapes: torch.Tensor, bits: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        """`[N, 2, SIDE, SIDE]` from whitened planes, bits of ±1 and the logits of the unmarked picture."""
        wanted = bits * functional.softplus(self.effort[0] - self.effort[1] * bits * read)
        message = self.message(wanted).view(-1, 8, SIDE // FOLD, SIDE // FOLD)
        hidden = functional.silu(self.first(torch.cat([functional.pixel_unshuffle(seen, FOLD), message], 1)))
        hidden = hidden + functional.silu(self.second(hidden))
        plain = (wanted @ shapes.flatten(1)).view_as(seen) / math.sqrt(BITS)
        mark = plain + functional.pixel_shuffle(self.last(hidden), FOLD)
        return mark - box(mark, 5)


class Watermark(nn.Module):
    """Both networks and the patterns that they share."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.patterns = nn.Parameter(start / GAIN)
        self.encoder = Encoder()
        self.decoder = Decoder()

    def read(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits of the bits, `[N, BITS]`."""
        logits: torch.Tensor = self.decoder(whitened(planes(pictures)), self.patterns * GAIN)
        return logits

    def residual(
        self, pictures: torch.Tensor, bits: torch.Tensor, read: torch.Tensor | None = None, *, training: bool = False
    ) -> torch.Tensor:
        """The mark in RGB, of root mean square 1 in each picture.

        Args:
            pictures: `[N, 3, H, W]` in [0, 1].
            bits: ±1, `[N, BITS]`.
            read: logits of the bits that the mark has to outweigh, by default those of the unmarked pictures.
            training: with TRAINED_SHARE, and without regard to places that lack blue.
        """
        shapes = self.patterns * GAIN
        with torch.no_grad():
            values = planes(pictures)
            seen = whitened(values)
            if read is None:
                read = self.decoder(seen, shapes)
            hides, share = hiding(values[:, :1]), TRAINED_SHARE
            if not training:
                blue = box(values.sum(1, keepdim=True), 7)
                hides = hides * torch.cat([torch.ones_like(blue), (LEAST_BLUE + 2.5 * blue).clamp(max=1)], 1)
                share = SHARE
        mark = self.encoder(seen, shapes, bits, read) * hides
        mark = functional.interpolate(mark, pictures.shape[2:], mode="bilinear")
        mark = mark / (mark.square().mean((2, 3), keepdim=True) + 1e-12).sqrt()
        direction = torch.tensor(BLUE).view(1, 3, 1, 1)
        colour = math.sqrt((1 - share) / float(direction.square().mean()))
        return math.sqrt(share) * mark[:, :1] + colour * direction * mark[:, 1:]
