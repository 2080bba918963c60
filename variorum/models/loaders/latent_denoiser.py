"""Old name of a loader in `variorum.models.loaders.denoisers`."""

from variorum.models.loaders.denoisers import LATENT_DENOISER, PixelDenoiser

load = LATENT_DENOISER.load
__all__ = ["PixelDenoiser", "load"]
