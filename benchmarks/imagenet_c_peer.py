"""imagecorruptions 1.1.2 on current libraries: the peer of `imagenet_c.py`.

It needs `pkg_resources`, which setuptools no longer has, `scipy.ndimage.interpolation`, `numpy.float_`, and an argument
that scikit-image has renamed. Its module gets stand-ins, and nothing else is changed. Install it with
`pip install --no-deps imagecorruptions`: its requirement opencv-python would overwrite ours.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.ndimage
from PIL import Image

from variorum.arrays import Array, Pixels


class _OldNumPy(ModuleType):
    """NumPy with a name that it no longer has."""

    float_ = np.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@lru_cache(maxsize=1)
def load() -> ModuleType:
    """The peer's module `corruptions`. Raises ModuleNotFoundError if it isn't installed."""
    package = importlib.util.find_spec("imagecorruptions")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("no imagecorruptions: pip install --no-deps imagecorruptions")
    file = Path(package.origin).parent / "corruptions.py"
    resources, interpolation = ModuleType("pkg_resources"), ModuleType("scipy.ndimage.interpolation")
    resources.resource_filename = lambda _, path: str(file.parent / path)  # type: ignore[attr-defined]
    interpolation.map_coordinates = scipy.ndimage.map_coordinates  # type: ignore[attr-defined]
    stand_ins = {module.__name__: module for module in (resources, interpolation)}
    before = {name: sys.modules.get(name) for name in stand_ins}
    spec = importlib.util.spec_from_file_location("imagecorruptions_corruptions", file)
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules.update(stand_ins)
    try:
        spec.loader.exec_module(found)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    smooth = found.gaussian

    def gaussian(*values: Any, multichannel: bool = False, **more: Any) -> Any:
        return smooth(*values, **more, **({"channel_axis": -1} if multichannel else {}))

    found.__dict__.update(np=_OldNumPy("numpy"), gaussian=gaussian)
    return found


def corrupt(image: Pixels, kind: str, severity: int) -> Pixels:
    """As the peer's own `corrupt`, which cuts decimals off."""
    return np.uint8(exact(image, kind, severity))


def exact(image: Pixels, kind: str, severity: int) -> Array:
    """The peer's result with its decimals, for kinds that have them."""
    function: Callable[[Image.Image, int], Any] = getattr(load(), kind)
    return np.asarray(function(Image.fromarray(image), severity))
