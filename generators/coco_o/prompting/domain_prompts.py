"""Prompts for COCO-O's six domains. `{subject}` is what the picture shows, such as *two dogs and a bench*."""

from __future__ import annotations

from collections.abc import Mapping

from variorum.generators.coco_o.stylization.domains import Domain

PROMPTS: Mapping[Domain, Mapping[str, str]] = {
    "sketch": {
        "pencil": "a pencil sketch of {subject}, black and white line drawing",
        "ink": "an ink drawing of {subject}, black and white, fine hatching",
        "charcoal": "a charcoal sketch of {subject}, black and white, on rough paper",
    },
    "cartoon": {
        "flat": "a cartoon illustration of {subject}, flat colours",
        "comic": "a comic book panel of {subject}, bold outlines, flat colours",
        "animation": "a frame of an animated film showing {subject}, cel shading",
    },
    "painting": {
        "oil": "an oil painting of {subject}, visible brush strokes",
        "watercolour": "a watercolour painting of {subject}, soft washes on paper",
        "gouache": "a gouache painting of {subject}, opaque matt colours",
    },
    "weather": {
        "snow": "a photo of {subject} in heavy snow",
        "rain": "a photo of {subject} in pouring rain",
        "fog": "a photo of {subject} in dense fog",
        "night": "a photo of {subject} at night",
    },
    "handmake": {
        "clay": "handmade {subject}, made of clay",
        "wool_felt": "handmade {subject}, made of wool felt",
        "paper_craft": "handmade {subject}, paper craft",
        "wood": "handmade {subject}, carved out of wood",
    },
    "tattoo": {
        "black": "a tattoo of {subject}, black ink on skin",
        "colour": "a colourful tattoo of {subject}, inked on skin",
    },
}
"""Templates by domain and style."""
