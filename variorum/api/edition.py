"""An edition in Python: its table, its pictures, its contact sheet, its figures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.api import html
from variorum.api.arguments import whole_number
from variorum.api.columns import edition_table, origin_of
from variorum.api.notebook_pictures import Picture
from variorum.api.select import Choice, Places, find_id
from variorum.edition.editions import editions, folder_of, read_beside, release_number, resolve
from variorum.edition.opening import open_edition
from variorum.edition.read_at import stored_sample, with_pixels
from variorum.edition.store import Store
from variorum.reports.contents import summary_rows
from variorum.schemas.errors import StoreError, VariorumError
from variorum.schemas.manifest import QUARANTINE, Manifest

if TYPE_CHECKING:
    from variorum.api.torch_dataset import TorchDataset
    from variorum.schemas.canonical import Json
    from variorum.schemas.sample import Sample

ROWS = 4
"""Rows of the contact sheet in a notebook's cell."""


class Edition:
    """A sealed edition. `variorum.open` and `variorum.run` give one.

    `len(edition)` is its number of accepted pictures, `for sample in edition` decodes them one after another,
    `edition[0]` is the first and `edition["1f3a9c"]` the one whose id begins with that.

    Attributes:
        manifest: lists its whole content, with hashes.
        store: where it lies.
    """

    def __init__(self, manifest: Manifest, store: Store) -> None:
        self.manifest, self.store = manifest, store

    @property
    def name(self) -> str:
        """Dataset and version, `imagenet_e@3.0.0-r1`."""
        return f"{self.manifest.dataset}@{self.manifest.version}"

    @cached_property
    def digest(self) -> str:
        """Digest of the manifest, 64 hexadecimal digits: two editions with the same digest are the same to the byte."""
        return self.manifest.digest()

    @property
    def path(self) -> Path:
        """Its folder. Raises StoreError if the store isn't on this machine; then use `url`."""
        if self.store.local is None:
            raise StoreError(f"{self.name} has no path, as its store is remote; it lies at {self.url}")
        return Path(folder_of(self.manifest, self.store))

    @property
    def url(self) -> str:
        """Its folder as a path or URL, which `variorum.open` takes."""
        folder = folder_of(self.manifest, self.store)
        return folder if self.store.local else str(self.store.fs.unstrip_protocol(folder))

    # ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """By variant, the number of pictures `accepted`, `quarantined`, `ineligible` and `failed`.

        A release also has those `dropped`; `withheld` is there where any picture is.
        """
        rows = summary_rows(self.manifest)
        return {row["variant"]: {name: row[name] for name in row if name not in ("variant", "reasons")} for row in rows}

    @property
    def classes(self) -> dict[str, str]:
        """Names of the classes by id, in the order of their indices."""
        return dict(self.manifest.classes)

    @property
    def variants(self) -> list[str]:
        """Names of the variants in the order in which they were made, including those without a picture."""
        return list(self.manifest.counts)

    @property
    def splits(self) -> dict[str, int]:
        """Number of accepted pictures by split."""
        return self.manifest.splits()

    @property
    def configs(self) -> dict[str, dict[str, int]]:
        """By configuration and split, the number of accepted pictures; empty if it has no configurations."""
        return self.manifest.configs()

    @property
    def figures(self) -> dict[str, Mapping[str, Json]]:
        """By evaluation, its figures on this edition."""
        from variorum.reports.answers import evaluated
        from variorum.stages.evaluate import read_figures

        names = evaluated(self.manifest, self.store)
        kept = {name: read_figures(name, self.manifest, self.store) for name in names}
        return {name: one["figures"] for name, one in kept.items() if one}

    @property
    def card(self) -> str:
        """The data card's Markdown; `""` if none has been written."""
        return (read_beside(self.manifest, "README.md", self.store) or b"").decode(errors="replace")

    # ── rows and pictures ────────────────────────────────────────────────────────────────────────────────────────

    def table(self, columns: Sequence[str] | None = None, *, ledger: bool | int = False) -> Any:
        """All rows as a `pyarrow.Table`, also of pictures that weren't made; `.to_pandas()` makes a DataFrame.

        Columns are `id`, `variant`, `status`, `reason`, `labels`, `split`, `origin` and more, one per gate such as
        `gate.iou`, and for a release `action`, `by`, `why`, `value` and `given` of its verdicts.

        Args:
            columns: names, in order; all by default. An edition that was curated has a release's columns of verdicts
                too, if they are named or `ledger` is given.
            ledger: add the detectors' measurements and scores, such as `quality.score`: True for the release's own
                ledger, or an edition's newest; a number for another one. Pictures that they didn't see have null.

        Raises:
            StoreError: no such column or ledger.
            CorruptShard: a table is damaged.
        """
        return edition_table(self.manifest, self.store, _listed("columns", columns), ledger)

    def samples(
        self,
        *,
        variant: str | Collection[str] | None = None,
        split: str | Collection[str] | None = None,
        config: str | Collection[str] | None = None,
        label: str | Collection[str] | None = None,
        status: str = "accepted",
        where: Callable[[Mapping[str, Any]], object] | None = None,
    ) -> Iterator[Sample]:
        """Pictures with their records, decoded one by one as you iterate.

        Only the shards with selected pictures are opened, and only the bytes of these are read.

        Args:
            variant: only these variants.
            split: only these splits.
            config: only these configurations.
            label: only pictures with one of these classes, by id or name.
            status: `accepted`, or `quarantined` for those that failed a check.
            where: takes a row of `table()` as a mapping from column to value; only rows for which it is true.

        Yields:
            Samples whose `image` is RGB `[H, W, 3]` uint8, and whose masks are `[H, W]` uint8.

        Raises:
            StoreError: no such variant, split, configuration, class or status.
            CorruptShard: a picture is damaged.
        """
        choice = Choice(self.manifest, variant, split, config, label, status, where)
        rows = self._places.chosen(choice, self.table if where else None)
        return (self._sample(row) for row in rows)

    def __getitem__(self, key: str | int) -> Sample:
        """A picture by its id, or its beginning of at least 6 digits; or an accepted one by its position.

        Raises:
            StoreError: no such picture, several, or one that wasn't made.
        """
        if isinstance(key, str):
            row = self._places.row(find_id(key, self._places.ids, self.name))
            if row["shard"] < 0:
                why = f"{row['status']}: {row['reason']}" if row["reason"] else row["status"]
                raise StoreError(
                    f"{self.name} has no picture {row['id']} ({row['variant']}, {why}); its row is in table()"
                )
            return self._sample(row)
        if not hasattr(key, "__index__"):
            raise TypeError(f"an edition is indexed by an id or a position, not {type(key).__name__}")
        if "torch.utils.data" in sys.modules:  # a DataLoader may be asking
            from variorum.api.torch_dataset import refuse_batches_of_samples

            refuse_batches_of_samples()
        place, number = key.__index__(), len(self)
        if not -number <= place < number:
            raise StoreError(f"{self.name} has no picture {place}: it has {number} accepted pictures")
        return self._sample(self._places.accepted(place % number))

    def __iter__(self) -> Iterator[Sample]:
        return self.samples()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._places.holds(key)

    def __len__(self) -> int:
        return self.manifest.pictures()

    def dataset(self, split: str | None = None, config: str | None = None, *, streaming: bool = False) -> Any:
        """The edition as `datasets` loads it: a `Dataset` for a split, otherwise a `DatasetDict`.

        Args:
            split: `train`, `validation` or `test`; all by default.
            config: a configuration, or `quarantine` for the pictures that failed a check.
            streaming: read the shards on demand, without a copy in the cache of `datasets`.

        Raises:
            StoreError: no such split or configuration, or the store's file system has no links and should be streamed.
        """
        from variorum.api.loading import load

        return load(self.manifest, self.store, split, config, streaming=streaming)

    def torch(
        self,
        transform: Callable[..., Any] | None = None,
        target: str | None = "class",
        *,
        variant: str | Collection[str] | None = None,
        split: str | Collection[str] | None = None,
        config: str | Collection[str] | None = None,
        label: str | Collection[str] | None = None,
        status: str = "accepted",
        where: Callable[[Mapping[str, Any]], object] | None = None,
        shuffle: int | None = None,
        start: int = 0,
    ) -> TorchDataset:
        """Return the pictures as a map-style dataset for PyTorch's `DataLoader`, as pairs of picture and target.

        A picture is a uint8 tensor `[3, H, W]`, RGB from 0 to 255, unless a transform makes something else of it. Its
        default collation needs pictures of one size.

        Args:
            transform: takes the tensor, as `torchvision.transforms.v2` and the `transforms()` of torchvision's weights
                do; with `objects` and `mask` the tensor and the target. A pipeline with `ToTensor` gets a PIL image.
            target: `class`, the index of the first class in `.classes`, -1 for none; `labels`, a float tensor with 1
                for each class of the picture; `objects`, a dict with boxes `[N, 4]` (left, top, right, bottom in
                pixels), labels, masks `[N, H, W]` where all objects have one, area and iscrowd, as torchvision's
                detectors take it, with COCO's numbers for COCO's classes and else from 1; `mask`, the member
                `mask.png` as `[H, W]`; `caption`, the first caption; `record`, all that the edition says of the
                picture. None gives the picture alone.
            variant: only these variants; this and the next five are as for `samples`.
            split: only these splits.
            config: only these configurations.
            label: only pictures with one of these classes, by id or name.
            status: `accepted`, or `quarantined` for those that failed a check.
            where: takes a row of `table()` as a mapping from column to value; only rows for which it is true.
            shuffle: a seed: the same one always gives the same order. Use another one for each epoch.
            start: pictures to leave out at the beginning, to go on exactly where an interrupted epoch stood.

        Raises:
            StoreError: no such target, variant, split, configuration, class or status, or nothing for this target.

        >>> import variorum as va
        >>> pictures = va.open("shapes@1.0.0", store="store").torch(split="train")
        >>> tensor, index = pictures[0]
        >>> tensor.shape, pictures.classes[index]
        (torch.Size([3, 64, 96]), ...)
        """
        from variorum.api.torch_dataset import TorchDataset

        choice = Choice(self.manifest, variant, split, config, label, status, where)
        rows = self._places.table(choice, self.table if where else None)
        return TorchDataset(self.manifest, self.store, rows, transform, target, shuffle, start)

    def links(self, split: str, config: str | None = None, *, seconds: int = 3600) -> list[str]:
        """Where the shards of a split can be read: paths, or URLs of a bucket that are signed and need no keys.

        Whoever has such a URL can read the shard until it expires.

        Args:
            split: `train`, `validation` or `test`.
            config: a configuration, or `quarantine` with the split `quarantine`.
            seconds: how long URLs are valid, at most 7 days; those of a session's keys end with the session.

        Raises:
            StoreError: no such split or configuration, or the store's file system has no such URLs.
        """
        from variorum.api.loading import links

        return links(self.manifest, self.store, split, config, seconds)

    # ── to look at ───────────────────────────────────────────────────────────────────────────────────────────────

    def show(self, rows: int = 8) -> Picture:
        """The contact sheet: a notebook displays it, `.save(path)` writes it, `.image` is a Pillow image.

        Args:
            rows: how many at most; they are spread evenly over the edition.

        Raises:
            StoreError: `rows` isn't a whole number of at least 1.
            CorruptShard: a picture that is shown is damaged.
        """
        from variorum.reports.contact_sheet import contact_sheet

        most = whole_number("rows", rows, 1, None, StoreError)
        return Picture(contact_sheet(self.manifest, self.store, rows=most), f"contact sheet of {self.name}")

    def releases(self) -> list[Edition]:
        """The releases that curation has made from `base()`, oldest first."""
        base = origin_of(self.manifest, self.store)
        names = [(dataset, version) for dataset, version in editions(self.store) if dataset == base.dataset]
        mine = [version for _, version in names if version.startswith(f"{base.version}-r") and release_number(version)]
        return [Edition(resolve(f"{base.dataset}@{version}", self.store), self.store) for version in mine]

    def base(self) -> Edition:
        """The edition that a release was made from; an edition itself. Raises StoreError if it is gone."""
        base = origin_of(self.manifest, self.store)
        return self if base is self.manifest else Edition(base, self.store)

    def __repr__(self) -> str:
        held = sum(shard.samples for shard in self.manifest.shards.get(QUARANTINE, []))
        aside = f", {held} quarantined" if held else ""
        pictures = "picture" if len(self) == 1 else "pictures"
        return f"<Edition {self.name}: {len(self)} {pictures}{aside}, digest {self.digest[:16]}>"

    def _repr_html_(self) -> str:
        rows = summary_rows(self.manifest)
        head = list(rows[0]) if rows else []
        found = [html.table(head, [list(row.values()) for row in rows], f"{self.name}  {self.digest[:16]}")]
        if self.manifest.warning:
            found.append(html.line(f"Content warning: {self.manifest.warning} The pictures are blurred."))
        if len(self.splits) > 1:
            found.append(html.line(", ".join(f"{split} {number}" for split, number in self.splits.items())))
        try:
            found.append(html.picture(self._sheet, f"contact sheet of {self.name}"))
        except VariorumError as error:  # what can be shown is shown
            found.append(html.line(error))
        return "".join(found)

    @cached_property
    def _sheet(self) -> bytes:
        return self.show(ROWS).jpeg

    @cached_property
    def _places(self) -> Places:
        return Places(self.manifest, self.store)

    def _sample(self, row: Mapping[str, Any]) -> Sample:
        shard = self.manifest.shards[row["group"]][row["shard"]]
        return with_pixels(stored_sample(self.store, shard, row))

    def __getstate__(self) -> dict[str, Any]:
        return {"manifest": self.manifest, "store": self.store}


Named = Edition | str | os.PathLike[str]
"""An edition, or its name or folder."""


def open(name: str | os.PathLike[str], store: str | os.PathLike[str] | Store = "store") -> Edition:
    """Open an edition.

    Args:
        name: `dataset` for the current release of its newest version, `dataset@version`, or the path of an edition's
            folder, `.../editions/<dataset>/<version>`, which also gives the store.
        store: folder or URL of the store.

    Raises:
        StoreError: no such store or edition; the message has the most similar name.

    >>> import variorum as va
    >>> edition = va.open("shapes@1.0.0", store="store")
    >>> edition
    <Edition shapes@1.0.0: 12 pictures, digest ...>
    >>> [sample.image.shape for sample in edition.samples(split="test", label="circle")]
    [(64, 96, 3), (64, 96, 3)]
    """
    return Edition(*open_edition(name_of(name, "an edition"), store_of(store)))


def name_of(value: object, what: str) -> str:
    """A name or a path as text. Raises StoreError for anything else."""
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(found, str):
        raise StoreError(f"{what} is opened by its name or path, not by {type(value).__name__}")
    if isinstance(value, os.PathLike) and os.sep not in found:
        found = os.path.join(os.curdir, found)
    return found


def store_of(value: object) -> str | Store:
    """A store, or its absolute folder or URL as text. Raises StoreError for anything else."""
    if isinstance(value, Store):
        return value
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(found, str):
        raise StoreError(f"store: give a folder or a URL, not {type(value).__name__}")
    # an edition stays where it is when the working folder changes
    return found if "://" in found or not found.strip() else os.path.abspath(os.path.expanduser(found))


def opened(edition: Named, store: str | os.PathLike[str] | Store = "store") -> Edition:
    """The edition itself, or the one of this name. Raises StoreError, as `open` does."""
    return edition if isinstance(edition, Edition) else open(edition, store)


def _listed(what: str, names: Sequence[str] | None) -> list[str] | None:
    if names is None:
        return None
    if not isinstance(names, Iterable):
        raise StoreError(f"{what}: give a list of names, not {type(names).__name__}")
    found = [names] if isinstance(names, str) else list(names)
    if odd := [name for name in found if not isinstance(name, str)]:
        raise StoreError(f"{what}: {odd[0]!r} isn't a name; names are text")
    return found
