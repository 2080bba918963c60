"""Settings that suit a diffusion model, which its entry in the table states: what a distilled model can't take."""

from __future__ import annotations

from pydantic import Field

from variorum.models.table_entries import StrictModel


class Bounds(StrictModel):
    """Options that bound the settings of a call; by default nothing is bounded."""

    most_steps: int | None = Field(default=None, ge=1)
    """Most denoising steps; more of them make the pictures of a distilled model worse. None for any number."""
    most_guidance: float | None = Field(default=None, ge=1)
    """Highest weight of guidance, 1 for a distilled model, which takes none. None for any weight."""
    takes_negative: bool = True
    """Whether negative prompts have an effect. They have none where guidance is an input of the network."""
    takes_image_guidance: bool = True
    """Whether an editor weighs the picture apart from the instruction."""

    def unfit(self, *, guidance: float, steps: int, negative: bool = False, image_guidance: float = 1) -> str:
        """What the model takes in place of these settings, as in `takes at most 4 steps, not 50`; `""` if they suit it.

        Args:
            guidance: weight, 1 for none.
            steps: denoising steps.
            negative: whether there are negative prompts.
            image_guidance: weight of a picture that is edited, 1 for none.
        """
        found = []
        if self.most_guidance is not None and guidance > self.most_guidance:
            most = "" if self.most_guidance == 1 else "at most "
            found.append(f"a guidance of {most}{self.most_guidance:g}, not {guidance:g}")
        if self.most_steps is not None and steps > self.most_steps:
            found.append(f"at most {self.most_steps} steps, not {steps}")
        if negative and not self.takes_negative:
            found.append("no negative prompt")
        if image_guidance != 1 and not self.takes_image_guidance:
            found.append(f"an image guidance of 1, not {image_guidance:g}")
        return f"takes {', and '.join(found)}" if found else ""
