"""Declare what a component sends to other machines, so that people can agree to it before it happens."""

from __future__ import annotations

from typing import NamedTuple

BYTES_A_PIXEL = 0.3
"""Of a request, for each pixel of a square of the pictures' longer side: JPEG at quality 85 in base64, the mean of six
photographs at 512 pixels."""


class Sending(NamedTuple):
    """Pictures that leave this machine.

    Attributes:
        host: where they go, with the port if the URL has one.
        model: that is asked there.
        side: longer side in pixels that they are shrunk to.
        prompts: requests for each picture.
    """

    host: str
    model: str
    side: int
    prompts: int

    def said(self, pictures: int | None = None) -> str:
        """Say what is sent, as the rest of a sentence that begins with "sends".

        Args:
            pictures: their number at most; None if it isn't known yet.
        """
        often = "1 prompt each" if self.prompts == 1 else f"{self.prompts:,} prompts each"
        what = f"shrunk to {self.side} pixels, with {often}, to {self.host} as model {self.model}"
        if pictures is None:
            return f"pictures, {what}"
        requests = pictures * self.prompts
        size = requests * BYTES_A_PIXEL * self.side**2
        amount = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6)):,} MB"
        one = "1 picture" if pictures == 1 else f"{pictures:,} pictures"
        asked = "1 request" if requests == 1 else f"{requests:,} requests"
        return f"up to {one}, {what}: {asked}, about {amount}"
