"""What the generators with diffusion models share."""
