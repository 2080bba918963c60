"""Old name of a loader in `variorum.models.loaders.denoisers`."""

from variorum.models.loaders.denoisers import PIXEL_DENOISER, PixelDenoiser

load = PIXEL_DENOISER.load
__all__ = ["PixelDenoiser", "load"]
