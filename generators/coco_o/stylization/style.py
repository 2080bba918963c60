"""The form of a style: what is drawn by chance for each picture, and the function that redraws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from variorum.kit.pictures.scene import Scene

if TYPE_CHECKING:
    import numpy as np

    from variorum.arrays import Pixels

Drawn: TypeAlias = Mapping[str, Any]
"""A style's parameters for one picture by name: JSON values, recorded with the picture."""


@dataclass(frozen=True, slots=True)
class Style:
    """A way to redraw a photograph.

    Attributes:
        draw: draws the parameters within their ranges, so that no detector learns one fixed filter.
        paint: redraws the scene with these parameters. Objects stay where they are, to the pixel. It returns RGB
            `[H, W, 3]` uint8, and draws whatever else is random, such as the places of raindrops, from the generator.
        models: aliases of the models that it asks `Scene.model` for.
        needs_subject: whether it can only redraw an object that stands alone.
    """

    draw: Callable[[np.random.Generator], Drawn]
    paint: Callable[[Scene, Drawn, np.random.Generator], Pixels]
    models: tuple[str, ...] = ()
    needs_subject: bool = False
