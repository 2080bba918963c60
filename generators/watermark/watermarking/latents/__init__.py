"""Mark the noise that a diffusion model makes pictures from."""
