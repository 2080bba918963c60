"""Make the blocklists that come with the project: hashes of pictures that packages ship.

    python -m training.shipped_blocklists

It writes `variorum/kit/copies/lists/` and `lists.toml` beside it. The packages of `SETS` must be installed; the same
packages give the same files.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from variorum.kit.copies.blocklists import list_bytes
from variorum.kit.copies.file_hashes import Looked, look
from variorum.kit.copies.pdq import LEAST_QUALITY, pdq, pixel_digest
from variorum.kit.copies.shipped import FOLDER, HERE
from variorum.sources.fashion_mnist import DEBIAN, FILES
from variorum.sources.folders.folder import EXTENSIONS
from variorum.sources.folders.idx import read_idx


class Set(NamedTuple):
    """A set of pictures that a package ships.

    Attributes:
        title: for people.
        package: of Debian or PyPI.
        licence: of the pictures, an SPDX expression.
        place: file or folder of the pictures; for a package of PyPI, within it.
        module: its import name, for a package of PyPI.
        exact: whether the list has no `pdq`: for many pictures, of which only the same pixels are looked for.
    """

    title: str
    package: str
    licence: str
    place: str
    module: str = ""
    exact: bool = False


SETS = {
    "fashion_mnist_test": Set(
        "Fashion-MNIST's test set (Xiao, Rasul & Vollgraf, arXiv 1708.07747)",
        "dataset-fashion-mnist",
        "MIT",
        str(DEBIAN / f"{FILES['test']}-images-idx3-ubyte.gz"),
    ),
    "fashion_mnist_train": Set(
        "Fashion-MNIST's training set (Xiao, Rasul & Vollgraf, arXiv 1708.07747)",
        "dataset-fashion-mnist",
        "MIT",
        str(DEBIAN / f"{FILES['train']}-images-idx3-ubyte.gz"),
        exact=True,
    ),
    "matplotlib": Set(
        "sample pictures of Matplotlib", "matplotlib", "LicenseRef-various", "mpl-data/sample_data", "matplotlib"
    ),
    "scikit_image": Set("pictures of skimage.data", "scikit-image", "LicenseRef-various", "data", "skimage"),
    "scikit_learn": Set("sample pictures of scikit-learn", "scikit-learn", "CC-BY-2.0", "datasets/images", "sklearn"),
    "tuxpaint_stamps": Set(
        "stamps of Tux Paint", "tuxpaint-stamps-default", "GPL-2.0-or-later", "/usr/share/tuxpaint/stamps"
    ),
    "tuxpaint_templates": Set(
        "photographs of Tux Paint to draw on", "tuxpaint-data", "GPL-2.0-or-later", "/usr/share/tuxpaint/templates"
    ),
}


def main() -> None:
    """Make all lists."""
    lines = ["# Made by training/shipped_blocklists.py from the pictures of these packages."]
    FOLDER.mkdir(exist_ok=True)
    for name, one in SETS.items():
        number, data = list_of(one)
        (FOLDER / f"{name}.parquet").write_bytes(data)
        lines += [
            "",
            f"[{name}]",
            f'title = "{one.title}"',
            f"pictures = {number}",
            f'package = "{one.package} {version_of(one)}"',
            f'licence = "{one.licence}"',
            f'sha256 = "{hashlib.sha256(data).hexdigest()}"',
        ]
        print(f"{name}: {number} pictures, {len(data)} bytes")
    (HERE / "lists.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def list_of(one: Set) -> tuple[int, bytes]:
    """The number of different pictures of a set, and its list."""
    pictures = {(found.sha256, found.pixels): found for found in looked(one) if found.pixels}
    return len(pictures), list_bytes(list(pictures.values()), exact=one.exact)


def looked(one: Set) -> Iterator[Looked]:
    """Hash the pictures of a set; those of an IDX file have no files of their own."""
    if one.place.endswith(".gz"):
        for number, grey in enumerate(read_idx(Path(one.place))):
            pixels = np.repeat(grey[..., None], 3, axis=2)
            turns, quality = (None, 0) if one.exact else pdq(pixels)
            yield Looked(str(number), b"", pixel_digest(pixels).tobytes(), turns if quality >= LEAST_QUALITY else None)
        return
    root = Path(one.place)
    if one.module:
        spec = find_spec(one.module)
        assert spec
        assert spec.submodule_search_locations
        root = Path(spec.submodule_search_locations[0]) / one.place
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in EXTENSIONS:
            yield look(path.name, path)


def version_of(one: Set) -> str:
    """The installed version of a set's package."""
    if one.module:
        return version(one.package)
    asked = ["dpkg-query", "--show", "--showformat=${Version}", one.package]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout  # noqa: S603


if __name__ == "__main__":
    main()
