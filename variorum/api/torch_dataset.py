"""An edition as a dataset for PyTorch: decoded pictures as tensors, each with its class, objects, mask or caption.

It is map-style, so `DataLoader` and its samplers work as with any other; `stream` makes an iterable one of it. Pictures
are read by their place in the shards and decoded by libjpeg-turbo, in the process that asks for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from variorum.annotations import decode_mask
from variorum.api.arguments import whole_number
from variorum.edition.samples import CAPTION, picture_ending, picture_pixels, read_record, read_sample
from variorum.edition.shards import ANNOTATIONS, OpenShards
from variorum.edition.store import Store
from variorum.reports.coco_objects import Marked, categories, marked
from variorum.schemas.annotations import Object
from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import CorruptShard, StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest
from variorum.schemas.sample import Sample

MASK = "mask.png"
"""Member with the picture's mask."""
TARGETS: Mapping[str, str] = {"class": "", "labels": "", "objects": ANNOTATIONS, "mask": MASK, "caption": CAPTION}
"""What can come with a picture besides its `record`, and the member that it is read from."""
BACKGROUND, UNUSED = "__background__", "N/A"
"""What torchvision calls the numbers that stand for no class of objects."""
FROM_PIL = "ToTensor"
"""The names of transforms that take PIL images end like this: `ToTensor`, timm's `MaybeToTensor`."""


class TorchDataset(Dataset[Any]):
    """Pairs of picture and target by position; `Edition.torch` makes one.

    It can be pickled, so `DataLoader` may start workers by fork or spawn; each opens the shards itself.

    Args:
        manifest: the edition.
        store: its store.
        rows: the selected pictures, as `Places.table` gives them.
        transform: see `Edition.torch`, as for all that follow.
        target: what comes with each picture.
        shuffle: seed of the order.
        start: pictures to leave out at the beginning.

    Attributes:
        classes: names of the classes by index. For `target="objects"` by label, where 0 is the background.
    """

    def __init__(
        self,
        manifest: Manifest,
        store: Store,
        rows: Any,
        transform: Callable[..., Any] | None = None,
        target: str | None = "class",
        shuffle: int | None = None,
        start: int = 0,
    ) -> None:
        self.name = f"{manifest.dataset}@{manifest.version}"
        if transform is not None and not callable(transform):
            raise StoreError(f"transform: must be a function of a picture, not {type(transform).__name__}")
        self._check(target, manifest)
        self.target, self.transform = target, transform
        known = [ClassInfo(*one) for one in manifest.classes]
        self._index = {one.id: place for place, one in enumerate(known)}
        named, self._categories = categories(known)
        self.classes = [one.name for one in known]
        if target == "objects":
            names = {one.id: one.name for one in named}
            self.classes = [BACKGROUND, *(names.get(number, UNUSED) for number in range(1, max(names, default=0) + 1))]
        self._store, self._open = store, OpenShards()
        self._shards = [shard for shards in manifest.shards.values() for shard in shards]
        begins = dict(zip(manifest.shards, np.cumsum([0, *map(len, manifest.shards.values())]), strict=False))
        first = np.array([begins[group] for group in rows["group"].to_pylist()], np.int64)
        order = _order(len(rows), shuffle)[whole_number("start", start, 0, len(rows), StoreError) :]
        # arrays, so that forked workers share them: counting references to objects would copy their memory
        self._shard = (first + rows["shard"].to_numpy())[order]
        self._at, self._label = rows["start"].to_numpy()[order], rows["label"].to_numpy()[order]
        self._sha256 = np.array(rows["sha256"].to_pylist(), "S64")[order]
        parts = getattr(transform, "transforms", (transform,))
        self._from_pil = target != "objects" and any(type(one).__name__.endswith(FROM_PIL) for one in parts)

    def _check(self, target: str | None, manifest: Manifest) -> None:
        if target is not None and target not in (*TARGETS, "record"):
            listed = ", ".join((*TARGETS, "record"))
            raise StoreError(
                f"target: there is no {cut(repr(target))}; there are: {listed}, and None for pictures alone"
            )
        if target in ("class", "labels", "objects") and not manifest.classes:
            raise StoreError(f"{self.name} has no classes; give target=None for the pictures alone")
        member = TARGETS.get(target or "")
        if member and member not in manifest.members:
            there = [name for name, one in TARGETS.items() if (one in manifest.members if one else manifest.classes)]
            listed = ", ".join((*there, "record"))
            raise StoreError(f"{self.name} has nothing for target={target!r}; its pictures have {listed}")

    def __len__(self) -> int:
        return len(self._at)

    def __repr__(self) -> str:
        return f"<TorchDataset of {self.name}: {len(self)} pictures, target {self.target!r}>"

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, place: int) -> Any:
        """Return the picture and its target, or the picture alone if `target` is None.

        Raises:
            IndexError: there is no such position.
            CorruptShard: the picture is damaged.
        """
        number = len(self)
        if not -number <= place < number:
            raise IndexError(f"{self.name}: there is no picture {place} among {number}")
        place %= number
        path, start = self._store.path(self._shards[self._shard[place]], check=False), int(self._at[place])
        key, members = self._open.sample_at(path, start)
        where, data = f"{path}: {key}", members[picture_ending(members)]
        if hashlib.sha256(data).hexdigest() != self._sha256[place].decode():
            raise CorruptShard(f"{where}, at byte {start}, isn't the picture that its row names")
        pixels = picture_pixels(where, data)
        if self.target is None:
            return self._transformed(pixels)
        if self.target in ("objects", "mask"):
            return self._together(pixels, where, members, place)
        return self._transformed(pixels), self._alone(where, members, place)

    def stream(self) -> Stream:
        """The same as an iterable dataset, in which each worker of a `DataLoader` has a part of the pictures."""
        return Stream(self)

    def _transformed(self, pixels: Any) -> Any:
        """A picture after the transform. Without one it is a view, with the channels last in memory."""
        if self.transform is None:
            return _tensor(pixels)
        if self._from_pil:
            from PIL import Image

            return self.transform(Image.fromarray(pixels))
        return self._told(_tensor(pixels))

    def _told(self, *given: Any) -> Any:
        assert self.transform is not None, "there is one"
        try:
            return self.transform(*given)
        except Exception as error:
            more = " and the target" if len(given) > 1 else ""
            error.add_note(
                f"edition.torch: the transform gets a uint8 tensor [3, H, W]{more}, as torchvision.transforms.v2 takes"
            )
            raise

    def _alone(self, where: str, members: Mapping[str, bytes], place: int) -> Any:
        """A target that no transform changes."""
        if self.target == "class":
            return int(self._label[place])
        if self.target == "caption":
            return members[CAPTION].decode(errors="replace")
        try:
            record = read_record(members)
        except CorruptShard as error:
            raise CorruptShard(f"{where}: {error}") from None
        if self.target == "record":
            return record
        found = torch.zeros(len(self.classes))
        found[[self._index[name] for name in record["labels"] if name in self._index]] = 1
        return found

    def _together(self, pixels: Any, where: str, members: Mapping[str, bytes], place: int) -> Any:
        """A picture and a target that moves with its pixels."""
        from torchvision import tv_tensors

        target: Any
        image = tv_tensors.Image(_tensor(pixels))
        if self.target == "mask":
            target = tv_tensors.Mask(torch.from_numpy(picture_pixels(where, members[MASK], mask=True)))
        else:
            sample, _ = read_sample(where, members, check=False)
            found, _ = marked(sample.annotations.objects, self._index, *pixels.shape[:2])
            target = {"image_id": place, **self._objects(found, pixels.shape[:2], where)}
        return (image, target) if self.transform is None else self._told(image, target)

    def _objects(self, found: Sequence[Marked], size: tuple[int, int], where: str) -> dict[str, Any]:
        """Objects as torchvision's detectors take them."""
        from torchvision import tv_tensors

        boxes = [(left, top, left + wide, top + high) for left, top, wide, high in (one.item.box for one in found)]
        target: dict[str, Any] = {
            "boxes": tv_tensors.BoundingBoxes(
                torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), format="XYXY", canvas_size=size
            ),
            "labels": torch.tensor([self._categories[one.category] for one in found], dtype=torch.int64),
            "area": torch.tensor([one.item.area for one in found], dtype=torch.float32),
            "iscrowd": torch.tensor(
                [one.item.crowd or one.item.check == "missing" for one in found], dtype=torch.int64
            ),
        }
        if all(one.item.mask for one in found):
            masks = np.zeros((len(found), *size), np.uint8)
            for mask, one in zip(masks, found, strict=True):
                mask[:] = _mask(one.item, size, where)
            target["masks"] = tv_tensors.Mask(torch.from_numpy(masks))
        return target


class Stream(IterableDataset[Any]):
    """The pairs of a `TorchDataset` one after another; of several workers each has a part, without gap or overlap.

    `state_dict` and `load_state_dict` are those that torchdata's `StatefulDataLoader` asks for.
    """

    def __init__(self, pictures: TorchDataset) -> None:
        self.pictures, self._done, self._begin = pictures, 0, 0

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        part, parts = (worker.id, worker.num_workers) if worker else (0, 1)
        low, high = (len(self) * end // parts for end in (part, part + 1))
        first, self._begin = low + self._begin, 0
        for place in range(first, high):
            self._done = place + 1 - low
            yield self.pictures[place]
        self._done = 0

    def state_dict(self) -> dict[str, Any]:
        """How many pairs have been given in this process."""
        return {"edition": self.pictures.name, "pictures": len(self), "done": self._done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a stream of the same pictures in the same order, with as many workers, stood.

        Raises:
            StoreError: the state is of other pictures.
        """
        mine = self.state_dict()
        if {**mine, "done": 0} != {**state, "done": 0}:
            raise StoreError(f"a state of {state.get('edition')} with {state.get('pictures')} pictures isn't of {mine}")
        self._done = self._begin = whole_number("done", state.get("done"), 0, len(self), StoreError)


def refuse_batches_of_samples() -> None:
    """Let PyTorch's default collation say what to give to a `DataLoader` in place of an edition itself."""
    default_collate_fn_map[Sample] = _no_batch


def _no_batch(batch: Sequence[Sample], **_: Any) -> Any:
    raise TypeError(
        "a DataLoader can't make a batch of an edition's samples; give it edition.torch(transform), which has tensors "
        "and class indices, or a collate_fn of your own"
    )


def _order(number: int, shuffle: int | None) -> Any:
    """Positions in order, or shuffled in the same way by every version of NumPy."""
    if shuffle is None:
        return np.arange(number)
    seed = whole_number("shuffle", shuffle, 0, None, StoreError)
    return np.argsort(np.random.PCG64(seed).random_raw(number), kind="stable")


def _tensor(pixels: Any) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _mask(item: Object, size: tuple[int, int], where: str) -> Any:
    try:
        return decode_mask(item, *size)
    except ValueError as error:
        raise CorruptShard(f"{where}: {error}") from None
