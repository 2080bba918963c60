"""Old name of a loader in `variorum.models.loaders.denoisers`."""

from variorum.models.loaders.denoisers import TINY_AUTOENCODER, PixelDenoiser

load = TINY_AUTOENCODER.load
__all__ = ["PixelDenoiser", "load"]
