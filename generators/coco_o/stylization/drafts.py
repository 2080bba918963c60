"""Draft the variants of one photograph, before they are checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from variorum.generators.coco_o.stylization import gates
from variorum.generators.coco_o.stylization.domains import Domain
from variorum.generators.coco_o.stylization.photographs import Photograph
from variorum.generators.coco_o.stylization.style import Drawn, Style
from variorum.kit.pictures.scene import Scene
from variorum.schemas.annotations import Annotations
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context
from variorum.schemas.sample import Gate

if TYPE_CHECKING:
    import numpy as np

    from variorum.arrays import Pixels

View = Literal["scene", "isolated"]
VIEWS: tuple[View, ...] = get_args(View)


@dataclass(frozen=True)
class Wanted:
    """A picture that is asked for. `purpose` names its random numbers."""

    domain: Domain
    view: View
    style: str

    @property
    def variant(self) -> str:
        """`sketch`, or `sketch_isolated`."""
        return self.domain if self.view == "scene" else f"{self.domain}_isolated"

    @property
    def requested(self) -> dict[str, Json]:
        """Return what the picture's id depends on."""
        return {"domain": self.domain, "view": self.view, "style": self.style}

    @property
    def purpose(self) -> str:
        """Of its seed."""
        return f"{self.variant}_{self.style}"


@dataclass
class Draft:
    """A picture that was made, before a detector has seen it."""

    image: Pixels
    annotations: Annotations
    mask: Pixels
    wanted: Wanted | None = None
    achieved: dict[str, Json] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)


class Canvas:
    """A photograph as styles get it. Pictures of one view share a scene, and so what was computed of it."""

    def __init__(self, found: Photograph, ctx: Context) -> None:
        self.found, self._ctx = found, ctx
        self.slopes = gates.slopes(found.image)
        self._scenes: dict[View, Scene] = {}
        self._used: dict[str, str] = {}

    def painted(
        self, style: Style, drawn: Drawn, view: View, rng: np.random.Generator
    ) -> tuple[Pixels, dict[str, str]]:
        """The photograph in a style, and alias to pin of the models that were used for it."""
        if view not in self._scenes:
            found = self.found
            alpha = found.subject.alpha if view == "isolated" and found.subject is not None else None
            boxes = [item.box for item in found.annotations.objects if not item.crowd]
            self._scenes[view] = Scene(found.image, found.masks, alpha, self._model, boxes)
        self._used = dict(self.found.models)
        return style.paint(self._scenes[view], drawn, rng), self._used

    def _model(self, alias: str) -> Any:
        self._used[alias] = self._ctx.models.pin(alias)
        return self._ctx.models.get(alias)
