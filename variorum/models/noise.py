"""Old names in `variorum.models.diffusion`."""

from variorum.models.diffusion.images import to_tensor as tensor  # noqa: F401
from variorum.models.diffusion.schedule import Schedule as Schedule
