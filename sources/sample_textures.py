"""Photographs of textures out of installed packages, so that recipes about textures run without a download.

Three surfaces from scikit-image, and parts of photographs of scikit-image and scikit-learn that show one material.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from variorum.machine.retrying import read_pinned
from variorum.pixels import decode, encode_png
from variorum.schemas.canonical import digest
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.sample import CAPTURED, ENHANCED, Sample, source_id
from variorum.sources.exports.cutouts import package_file
from variorum.sources.exports.packaged_source import PackagedSource


class Texture(NamedTuple):
    """A picture in a package, or a part of one.

    Attributes:
        name: of the material.
        package: that it is in.
        path: of the file, within the package.
        region: left, top, right and bottom in pixels; empty for all of it.
        licence: SPDX id.
        credit: who made it.
        kind: what it is, a term of IPTC's vocabulary.
    """

    name: str
    package: str
    path: str
    region: tuple[int, ...]
    licence: str
    credit: str
    kind: str = CAPTURED


TEXTURES = (
    Texture("brick", "skimage", "data/brick.png", (), "CC0-1.0", "CC0Textures, changed by scikit-image", ENHANCED),
    Texture("grass", "skimage", "data/grass.png", (), "CC0-1.0", "linolafett, changed by scikit-image", ENHANCED),
    Texture("gravel", "skimage", "data/gravel.png", (), "CC0-1.0", "CC0Textures, changed by scikit-image", ENHANCED),
    Texture("stars", "skimage", "data/hubble_deep_field.jpg", (), "LicenseRef-public-domain", "NASA, ESA", ENHANCED),
    Texture("fur", "skimage", "data/chelsea.png", (), "CC0-1.0", "Stéfan van der Walt"),
    Texture("roofs", "sklearn", "datasets/images/china.jpg", (0, 120, 400, 427), "CC-BY-2.0", "danielbuechele"),
)


class SampleTextures(PackagedSource):
    """Six pictures of textures, each a class of its own."""

    def pin(self, ctx: Context) -> str:
        """Digest of the files and of what is cut out of them."""
        return digest([[[*one] for one in TEXTURES], [self._pins[file].sha256 for file in self._files]])

    def size(self, ctx: Context) -> int:
        """Number of textures."""
        return len(TEXTURES)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The materials."""
        return tuple(ClassInfo(one.name, one.name) for one in TEXTURES)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """Samples, at the size of the file or of the part that is cut out.

        Raises:
            SourceChanged: a file isn't what was pinned.
            TemporaryError: the disk or the machine failed.
        """
        for one, file in list(zip(TEXTURES, self._files, strict=True))[start:stop]:
            data = read_pinned(file, self._pins[file], file)
            if one.region:
                left, top, right, bottom = one.region
                data = encode_png(decode(data)[top:bottom, left:right])
            yield Sample(
                source_id("sample_textures", one.name),
                data,
                (one.name,),
                origin=f"{one.package} {one.path}",
                licence=one.licence,
                metadata={"credit": one.credit},
                digital_source_type=one.kind,
            )

    @cached_property
    def _files(self) -> tuple[Path, ...]:
        return tuple(package_file(one.package, one.path, "sample_textures") for one in TEXTURES)
