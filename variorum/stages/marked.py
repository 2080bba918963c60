"""Put people's marks into a recipe: a step that reads them, and a rule that asks people about marked pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from variorum.schemas.recipe import Recipe

RULE = {
    "when": [{"column": "marks.ask", "equals": True}],
    "action": "review",
    "reason": "marked",
    "chance": 1.0,
}
"""The first rule of `policy`: a picture that somebody wants people to look at isn't dropped before they have."""


def with_marks(recipe: Recipe, file: Path) -> Recipe:
    """The recipe with the step `marks` on this file, and `RULE`; a recipe that has the step only gets the file.

    Raises:
        RecipeError: the steps can't work together.
    """
    data: dict[str, Any] = recipe.dump()
    steps: list[dict[str, Any]] = data["curate"]
    own = next((step for step in steps if step["name"] == "marks"), None)
    if own is not None:
        own["file"] = str(file)
        return Recipe.parse(data)
    steps.insert(0, {"name": "marks", "file": str(file)})
    policy = next((step for step in steps if step["name"] == "policy"), None)
    if policy is None:
        steps.append({"name": "policy", "rules": [RULE]})
    else:
        policy["rules"] = [RULE, *policy["rules"]]
    return Recipe.parse(data)
