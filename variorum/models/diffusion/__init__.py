"""Diffusion models by the library diffusers, behind the calls of `variorum.models.roles`."""
