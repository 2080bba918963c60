"""Label Studio's exports in JSON with the pictures beside them: choices become labels, rectangles become objects.

Votes on a panel are no source: `variorum votes import` reads those from the same kind of file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from variorum.schemas.component import place_of
from variorum.schemas.errors import SourceError
from variorum.sources.exports.annotated_folder import LICENCES, Told, ToldPictures, listed, read_json_of, texts_in
from variorum.sources.exports.annotated_source import ToldSource
from variorum.sources.exports.objects import as_float
from variorum.sources.folders.folder import is_picture
from variorum.sources.folders.listing import key_of

OURS = "variorum"
"""Key in the `meta` of a region that we exported."""
CLOSE = 1e-6
"""Per cent of a side by which a box may differ from the exported one and count as not moved."""


class LabelStudio(ToldSource):
    """A sample for each task, with what its latest annotation says, or its first prediction.

    The picture is the one whose path ends like the address in `data.image`; `data` also gives `license`, `split`,
    `captions` and `photograph`, and what else is in it becomes metadata. Brushes, polygons and rotated rectangles
    aren't read.
    """

    path: Path
    """The folder with the pictures and the file."""
    tasks: str = "tasks.json"
    """The export, in `path`."""
    image: str = "image"
    """The key of `data` with the picture's address."""
    predictions: Literal["fallback", "never"] = "fallback"
    """Whether a task that nobody annotated gets what is predicted for it."""
    clip: bool = True
    """Whether boxes that leave their picture are clipped, as people draw beyond the edge; otherwise the picture goes
    into quarantine."""
    licence: str = "unknown"
    """Licence of pictures without one: an SPDX id or the terms in a few words."""

    def place(self) -> str:
        """The folder and the file."""
        return place_of(self, ["path", "tasks"])

    @cached_property
    def _pictures(self) -> ToldPictures:
        root = self.path.expanduser()
        listing = listed(root, "label_studio", ())
        found, pinned = read_json_of(root, self.tasks, "label_studio")
        if not isinstance(found, list) or not found:
            raise SourceError(
                f"label_studio: {root / self.tasks} has no list of tasks; export from Label Studio as JSON"
            )
        by_name = _by_end(key_of(name) for name in listing.files if is_picture(name))
        told = [self._told(task, number, by_name) for number, task in enumerate(found, 1)]
        return ToldPictures(
            "label_studio", listing, told, {self.tasks: pinned}, (), self.licence, "xywh_relative", self.clip
        )

    def _told(self, task: Any, number: int, by_name: Mapping[str, str]) -> Told:
        data = task.get("data") if isinstance(task, Mapping) else None
        address = data.get(self.image) if isinstance(data, Mapping) else None
        if not isinstance(address, str) or data is None:
            raise SourceError(
                f"label_studio: task {number} of {self.path / self.tasks} has no data.{self.image}; export as JSON, "
                "and set image to the key of the pictures' addresses"
            )
        path = _path(address)
        name = next((found for end in _ends(path) if (found := by_name.get(end))), path)
        result = self._result(task)
        labels: list[str] = []
        objects: list[dict[str, Any]] = []
        for one in result:
            value = one.get("value")
            if not isinstance(value, Mapping):
                continue
            if one.get("type") == "choices":
                labels += texts_in(value.get("choices"))
            elif one.get("type") == "rectanglelabels" and not value.get("rotation"):
                objects.append(_object(one, value))
        licence = next((data[key] for key in LICENCES if isinstance(data.get(key), str)), "")
        left = {self.image, "captions", "labels", "split", "photograph", *LICENCES}
        metadata = {key: value for key, value in data.items() if key not in left}
        split, photograph = data.get("split"), data.get("photograph")
        return Told(
            name,
            tuple(dict.fromkeys(labels)),
            texts_in(data.get("captions")),
            objects,
            licence,
            split if isinstance(split, str) else "",
            photograph if isinstance(photograph, str) else "",
            metadata,
        )

    def _result(self, task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The result of the latest annotation that wasn't cancelled; without one, of the first prediction."""
        said = [
            one
            for one in _list(task.get("annotations"))
            if isinstance(one, Mapping) and not one.get("was_cancelled") and isinstance(one.get("result"), list)
        ]
        if said:
            chosen = max(said, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))
        elif self.predictions == "fallback":
            predicted = _list(task.get("predictions"))
            chosen = next((one for one in predicted if isinstance(one, Mapping)), {})
        else:
            return []
        result = chosen.get("result")
        return [one for one in result if isinstance(one, Mapping)] if isinstance(result, list) else []


def _list(value: Any) -> list[Any]:
    """A list as it is, and nothing for anything else."""
    return value if isinstance(value, list) else []


def _object(one: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """A rectangle as `read_objects` takes it, with the values of our export if nobody has moved it since."""
    sides = [value.get(name) for name in ("x", "y", "width", "height")]
    numbers = [as_float(side) for side in sides if isinstance(side, int | float)]
    meta = one.get("meta")
    ours = meta.get(OURS) if isinstance(meta, Mapping) else None
    kept: dict[str, Any] = {}
    if isinstance(ours, Mapping) and isinstance(box := ours.get("box"), Mapping) and len(numbers) == 4:
        before = [box.get(name) for name in ("x", "y", "width", "height")]
        if all(
            isinstance(old, int | float) and abs(as_float(old) - new) < CLOSE
            for old, new in zip(before, numbers, strict=True)
        ):
            kept = {name: ours[name] for name in ("id", "area", "iscrowd", "segmentation") if name in ours}
    label = next(iter(texts_in(value.get("rectanglelabels"))), None)
    score = one.get("score")
    return {
        "bbox": [side / 100 for side in numbers] if len(numbers) == 4 else sides,
        "category": label,
        **({"score": score} if isinstance(score, int | float) else {}),
        **kept,
    }


def _path(address: str) -> str:
    """The path in an address: that of the URL, or of the file that Label Studio serves there."""
    try:
        parts = urlsplit(address)
        served = parse_qs(parts.query).get("d", [""])[0]
    except ValueError:
        return address
    return served or unquote(parts.path)


def _by_end(keys: Iterable[str]) -> dict[str, str]:
    """The picture whose path ends in a certain way; `""` where several do."""
    found: dict[str, str] = {}
    for key in keys:
        for end in _ends(key):
            found[end] = "" if end in found else key
    return found


def _ends(path: str) -> list[str]:
    """List the ends of a path, the longest first: `a/b/c.png`, `b/c.png`, `c.png`."""
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    return ["/".join(parts[start:]) for start in range(max(0, len(parts) - 4), len(parts))]
