"""Check a component's settings of a diffusion model before any work."""

from __future__ import annotations

from variorum.schemas.component import Component, Context
from variorum.schemas.errors import RecipeError


def check_settings(component: Component, ctx: Context) -> None:
    """Raise RecipeError if the component's `model` doesn't take its `guidance`, `steps`, `negative` or image guidance.

    The model's entry in the table says what it takes; nothing is loaded. Components without `guidance` pass.
    """
    fields = dict(iter(component))  # a component may have a field `keys`, which makes it a mapping to `dict`
    if "guidance" not in fields:
        return
    weights = fields["guidance"]
    problem = ctx.models.unfit(
        fields["model"],
        guidance=max(weights) if isinstance(weights, tuple) else weights,
        steps=fields["steps"],
        negative=bool(fields.get("negative")),
        image_guidance=fields.get("most_image_guidance", 1),
    )
    if problem:
        raise RecipeError(f"{component.component_name()}: {problem}")
