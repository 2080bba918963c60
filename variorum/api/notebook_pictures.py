"""Pictures that a notebook displays and that can be saved."""

from __future__ import annotations

import io
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from variorum.api.arguments import path_of
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut

QUALITY = 88
"""Of the JPEGs that notebooks keep; the small texts on a sheet stay clear."""


class Picture:
    """A PNG: a notebook displays it, `save` writes it.

    Attributes:
        png: the file's bytes.
        about: what it shows, in a few words.
    """

    def __init__(self, png: bytes, about: str) -> None:
        self.png, self.about = png, about

    @cached_property
    def image(self) -> Any:
        """As a Pillow image."""
        from PIL import Image

        return Image.open(io.BytesIO(self.png)).convert("RGB")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it, as PNG or in the format that the name's ending says; returns the path.

        Raises:
            StoreError: it can't be written there, or no format has this ending.
        """
        place = path_of("path", path)
        try:
            if place.suffix.lower() == ".png":
                place.write_bytes(self.png)
            else:
                self.image.save(place)
        except OSError as error:
            raise StoreError(f"{cut(str(place))} can't be written: {error.strerror or error}") from None
        except ValueError:
            raise StoreError(f"{cut(str(place))}: unknown picture format; use .png or .jpg") from None
        return place

    @cached_property
    def jpeg(self) -> bytes:
        """The same as JPEG, a fifth of the bytes: what a notebook stores."""
        out = io.BytesIO()
        self.image.save(out, "JPEG", quality=QUALITY, optimize=True)
        return out.getvalue()

    def _repr_jpeg_(self) -> bytes:
        return self.jpeg

    def __repr__(self) -> str:
        width, height = self.image.size
        return f"<{self.about}: {width} × {height} pixels; .save(path) writes it>"
