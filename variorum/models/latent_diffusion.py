"""Old name of `variorum.models.diffusion.pipelines`."""

from variorum.models.diffusion.pipelines import TextToImage as TextToImage
