"""Redraw photographs as in the domains of COCO-O: sketches, cartoons, paintings, weather and others."""

COMPONENTS = (
    "domain_diffusion",
    "domain_stylization",
)
