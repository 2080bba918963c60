"""Attacks by models that take only some settings are refused before any work, by the table alone."""

from __future__ import annotations

import pytest

from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.stages.job import open_context


def checked(**attack):
    recipe = Recipe.parse(
        {
            "dataset": "attacked",
            "version": "1.0.0",
            "source": {"name": "class_names", "table": "fashion_mnist", "licence": "MIT"},
            "generate": [{"name": "watermark_attack", "attacks": [attack], "strengths": [0.5]}],
        }
    )
    recipe.generate[0].check(open_context(recipe, "hub"))


def test_an_editor_without_image_guidance_is_asked_for_none():
    with pytest.raises(RecipeError) as caught:
        checked(name="instruction_edit", model="instruction_edit_qwen", guidance=4.0)
    assert str(caught.value) == (
        "instruction_edit: the model 'instruction_edit_qwen' (qwen-image-edit) takes an image guidance of 1, not 2"
    )
    weights = {"most_image_guidance": 1.0, "least_image_guidance": 1.0}
    checked(name="instruction_edit", model="instruction_edit_qwen", guidance=4.0, **weights)
    checked(name="instruction_edit")
