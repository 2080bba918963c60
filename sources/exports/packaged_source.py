"""Base classes of the sources whose pictures lie in installed packages."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from variorum.machine.file_hashes import pin_files
from variorum.machine.retrying import Pinned, check_pinned
from variorum.pixels import encode_png
from variorum.schemas.annotations import Annotations, Text
from variorum.schemas.canonical import derive_seed, digest
from variorum.schemas.component import Context, Source, place_of
from variorum.schemas.sample import COMPOSITE, Failure, Sample, source_id
from variorum.sources.exports.cutouts import PLATES, as_bytes, cut_out, package_file, plate_crop, read_stamp, resized
from variorum.sources.exports.stamps import stamps_folder

if TYPE_CHECKING:
    from variorum.arrays import Pixels

ENLARGE = 1.5
"""A small cut-out is enlarged at most by this factor, unless it needs more for the least `SCALE`."""


class PackagedSource(Source):
    """Pictures that are made from the files of packages."""

    @property
    @abstractmethod
    def _files(self) -> Sequence[Path]:
        """The files that the pictures are made from."""

    def place(self) -> str:
        """The name alone, as the packages lie where they are installed."""
        return place_of(self, [])

    @cached_property
    def _root(self) -> Path:
        return self._files[0].parent

    @cached_property
    def _pins(self) -> dict[Path, Pinned]:
        return dict(zip(self._files, pin_files(self._root, self._files, listed=True), strict=True))


class StampedSource(PackagedSource):
    """Pictures of Tux Paint's stamps on plates, among others."""

    @property
    @abstractmethod
    def _stamps(self) -> dict[str, str]:
        """Path of each stamp to its class, in order."""

    @cached_property
    def _root(self) -> Path:
        return stamps_folder() or Path()

    @cached_property
    def _plates(self) -> tuple[Path, ...]:
        """The files that backgrounds are cut from."""
        files = (package_file(plate.package, plate.path, self.component_name()) for plate in PLATES)
        return tuple(files) if self._stamps else ()

    def _check_plates(self) -> None:
        """Raise SourceChanged if one isn't what was pinned."""
        for file in self._plates:
            check_pinned(file, self._pins[file], file)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The same samples without pictures and objects. They are made once, and what is said of them is kept."""
        outlined = super().outline

        def said() -> dict[str, Pixels]:
            rows = [
                (
                    *(one.id, one.labels, one.origin, one.licence, one.variant, one.digital_source_type),
                    [(text.text, text.role) for text in one.annotations.texts],
                )
                for one in outlined(start, stop, ctx)
            ]
            return {"rows": np.frombuffer(json.dumps(rows).encode(), np.uint8)}

        kept = ctx.memo(digest(["outline", self.fingerprint(), self.pin(ctx), start, stop]), said)
        for identity, labels, origin, licence, variant, kind, texts in json.loads(kept["rows"].tobytes()):
            yield Sample(
                identity,
                b"",
                tuple(labels),
                origin=origin,
                licence=licence,
                variant=variant,
                annotations=Annotations(texts=tuple(Text(*text) for text in texts)),
                digital_source_type=kind,
            )

    def stamped(
        self, key: str, label: str, side: int, scale: tuple[float, float], *, masks: bool = True
    ) -> Sample | Failure:
        """The sample of a stamp, a Failure if it can't be read; `side` and `scale` as of `compose`.

        With `masks` it has `mask.png`, the cut-out's alpha, and `plate.png`, the picture without the thing.
        """
        name, file = self.component_name(), self._root / key
        identity, origin = source_id(name, key), f"tuxpaint-stamps {key}"
        try:
            stamp = read_stamp(file, self._pins[file])
        except (OSError, ValueError, SyntaxError) as error:
            return Failure(identity, "", "failed", "unreadable", labels=(label,), origin=origin, detail=str(error))
        picture, mask, plate, terms = compose(stamp, key, name, side, scale)
        return Sample(
            identity,
            encode_png(picture),
            (label,),
            origin=origin,
            licence=f"GPL-2.0-or-later AND {terms}",
            extras={"mask.png": encode_png(mask), "plate.png": encode_png(plate)} if masks else {},
            digital_source_type=COMPOSITE,
        )


def compose(
    stamp: Pixels, key: str, seed: str, side: int, scale: tuple[float, float]
) -> tuple[Pixels, Pixels, Pixels, str]:
    """A cut-out on a plate; scale, place and plate depend on the seed and the key alone.

    Args:
        stamp: RGBA `[h, w, 4]` uint8.
        key: seeds the choices, together with `seed`.
        seed: name of the source.
        side: of the picture, in pixels.
        scale: least and largest length of the object's longer side, as a share of `side`.

    Returns:
        Picture `[side, side, 3]`, mask `[side, side]` (alpha, 0 to 255), plate, and the plate's licence.
    """
    rng = np.random.default_rng(derive_seed(seed, key))
    cut = cut_out(stamp)
    longer = max(cut.shape[:2])
    low, high = (share * side for share in scale)
    cut = resized(cut, rng.uniform(low, max(low, min(high, ENLARGE * longer))))
    height, width = cut.shape[:2]
    top, left = (int(rng.integers(0, side - length + 1)) for length in (height, width))
    which = PLATES[int(rng.integers(len(PLATES)))]
    plate = plate_crop(which, (side, side), rng, seed)
    alpha = np.zeros((side, side, 1), np.float32)
    colour = np.zeros((side, side, 3), np.float32)
    alpha[top : top + height, left : left + width] = cut[..., 3:]
    colour[top : top + height, left : left + width] = cut[..., :3]
    picture = as_bytes(colour + (1 - alpha) * (plate.astype(np.float32) / 255))
    return picture, as_bytes(alpha[..., 0]), plate, which.licence
