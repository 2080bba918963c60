"""What the generators with diffusion models share."""

COMPONENTS = (
    "domain_diffusion",
    "domain_stylization",
)
