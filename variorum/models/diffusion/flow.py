"""Flow transformers as the pipelines of this package: FLUX.1, Stable Diffusion 3.5, Qwen-Image, Z-Image.

A state is x = (1 - σ) · clean + σ · ε, and σ falls from 1 to 0, so a picture begins as the noise itself. Noise is drawn
for latents `[c, h, w]` and packed afterwards, so a seed doesn't depend on how a transformer packs them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from variorum.models.diffusion.conditioned import InstructionEdit
from variorum.models.diffusion.encoded_prompts import EncodedPrompts, concatenated
from variorum.models.diffusion.pipelines import ImageToImage, Inpaint, Pipeline, TextToImage

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels
    from variorum.models.diffusion.bounds import Bounds
    from variorum.models.roles import Filled

MOST_TEXTS = 512
"""Texts kept in main memory: 4 MB each with 512 tokens of T5."""


# ── families ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Family:
    """How the pipelines of one family are called."""

    tokenizer: ClassVar[str] = "tokenizer"
    """The part that reads the most tokens."""
    tokens: ClassVar[int] = 512
    """Number of tokens that are read of a text, unless the entry has another."""
    packed: ClassVar[bool] = True
    """Whether latents are packed into patches of 2 × 2 cells."""
    float32: ClassVar[bool] = False
    """Whether the state is float32 whatever the network computes in."""
    by_text: ClassVar[bool] = True
    """Whether a text is encoded without the picture."""

    def encode(self, pipeline: Any, text: str, tokens: int) -> dict[str, Any]:
        """The inputs for one text, by name."""
        raise NotImplementedError

    def stack(self, parts: Sequence[Any]) -> Any:
        """One input of those of several texts."""
        return concatenated(parts)

    def read(self, prompt: str, _pipeline: Any) -> str:
        """What the tokenizer gets to read, as far as it counts among the tokens."""
        return prompt

    def negatives(self, negatives: Sequence[str], _guidance: float) -> Sequence[str]:
        """Negative prompts as the model wants them; none for one pass."""
        return negatives

    def guided(self, guidance: float) -> dict[str, Any]:
        """The inputs for a weight of guidance, 1 for none."""
        return {"guidance_scale": guidance}

    def misstated(self, _pipeline: Any, _bounds: Bounds) -> str:
        """What the entry must say of its bounds, but doesn't; `""` if nothing."""
        return ""


class Flux(Family):
    """FLUX.1: T5 and a pooled embedding of CLIP. Guidance is an input of the network, so there is one pass."""

    tokenizer = "tokenizer_2"

    def encode(self, pipeline: Any, text: str, tokens: int) -> dict[str, Any]:
        """Tokens `[1, tokens, d]`, padded, and the pooled embedding `[1, d]`."""
        device = pipeline._execution_device
        made = pipeline.encode_prompt(prompt=[text], prompt_2=None, device=device, max_sequence_length=tokens)
        return dict(zip(("prompt_embeds", "pooled_prompt_embeds"), made[:2], strict=True))

    def negatives(self, _negatives: Sequence[str], _guidance: float) -> Sequence[str]:
        """None."""
        return ()

    def misstated(self, pipeline: Any, bounds: Bounds) -> str:
        """Without guidance as an input, the model was distilled to go without any."""
        if not pipeline.transformer.config.guidance_embeds and bounds.most_guidance != 1:
            return "most_guidance = 1, as its network takes no guidance"
        return "takes_negative = false, as it has one pass" if bounds.takes_negative else ""


class StableDiffusion3(Family):
    """Stable Diffusion 3 and 3.5: two CLIP encoders and T5; classifier-free guidance."""

    tokenizer = "tokenizer_3"
    tokens = 256
    packed = False

    def encode(self, pipeline: Any, text: str, tokens: int) -> dict[str, Any]:
        """Tokens of all encoders `[1, 77 + tokens, d]`, padded, and the pooled embedding `[1, d]`."""
        made = pipeline.encode_prompt(
            prompt=[text],
            prompt_2=None,
            prompt_3=None,
            device=pipeline._execution_device,
            do_classifier_free_guidance=False,
            max_sequence_length=tokens,
        )
        return dict(zip(("prompt_embeds", "pooled_prompt_embeds"), made[::2], strict=True))


class QwenImage(Family):
    """Qwen-Image: hidden states of Qwen2.5-VL. Guidance takes two passes and keeps the norm of the first."""

    def encode(self, pipeline: Any, text: str, tokens: int) -> dict[str, Any]:
        """Tokens `[1, n, d]`, as many as there are, and a mask of ones `[1, n]`."""
        device = pipeline._execution_device
        made, _ = pipeline.encode_prompt(prompt=[text], device=device, max_sequence_length=tokens)
        return {"prompt_embeds": made, "prompt_embeds_mask": made.new_ones(made.shape[:2]).long()}

    def stack(self, parts: Sequence[Any]) -> Any:
        """Padded with zeros to the longest."""
        from torch.nn.utils.rnn import pad_sequence

        return pad_sequence([part[0] for part in parts], batch_first=True)

    def read(self, prompt: str, pipeline: Any) -> str:
        """The prompt and the template behind it; what precedes it isn't counted."""
        return prompt + str(pipeline.prompt_template_encode).partition("{}")[2]

    def negatives(self, negatives: Sequence[str], guidance: float) -> Sequence[str]:
        """A space for nothing, as the authors do it."""
        return [text or " " for text in negatives] if guidance > 1 else ()

    def guided(self, guidance: float) -> dict[str, Any]:
        """As `true_cfg_scale`; `guidance_scale` is for networks that take it as an input."""
        return {"true_cfg_scale": guidance}


class QwenImageEdit(QwenImage):
    """Qwen-Image-Edit, whose text encoder sees the picture too and cuts no text."""

    tokens = 2**15
    by_text = False

    def misstated(self, _pipeline: Any, bounds: Bounds) -> str:
        """It has no weight for the picture."""
        return "takes_image_guidance = false" if bounds.takes_image_guidance else ""


class ZImage(Family):
    """Z-Image: hidden states of Qwen3, a tensor for each text."""

    packed = False
    float32 = True

    def encode(self, pipeline: Any, text: str, tokens: int) -> dict[str, Any]:
        """Tokens `[n, d]`, as many as there are."""
        device = pipeline._execution_device
        (made,), _ = pipeline.encode_prompt(
            prompt=[text], device=device, do_classifier_free_guidance=False, max_sequence_length=tokens
        )
        return {"prompt_embeds": made}

    def stack(self, parts: Sequence[Any]) -> Any:
        """A list."""
        return list(parts)

    def read(self, prompt: str, pipeline: Any) -> str:
        """The prompt in the template of a chat."""
        said = [{"role": "user", "content": prompt}]
        how = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": True}
        return str(pipeline.tokenizer.apply_chat_template(said, **how))

    def guided(self, guidance: float) -> dict[str, Any]:
        """Less 1: the library adds the weighted difference to the prediction that is guided already."""
        return {"guidance_scale": guidance - 1}


FAMILIES: Mapping[str, Family] = {
    "QwenImageEdit": QwenImageEdit(),
    "QwenImage": QwenImage(),
    "Flux": Flux(),
    "StableDiffusion3": StableDiffusion3(),
    "ZImage": ZImage(),
}
"""By the beginning of their pipelines' names, the longer first."""


def family_of(pipeline: Any) -> Family:
    """The family of a pipeline."""
    name = type(pipeline).__name__
    return next(family for start, family in FAMILIES.items() if name.startswith(start))


# ── pipelines ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Flow(Pipeline):
    """Replaces what differs from Stable Diffusion: texts, guidance, packed latents.

    Args:
        pipeline: of one of the families.
        tokens: number of tokens that are read of a text; None for the family's.
        how: further arguments of the class for the task.
    """

    def __init__(self, pipeline: Any, *args: Any, tokens: int | None = None, **how: Any) -> None:
        super().__init__(pipeline, *args, **how)
        self._family = family = family_of(pipeline)
        self._read = tokens or family.tokens
        self._encoded = EncodedPrompts(
            pipeline, lambda of, text: family.encode(of, text, self._read), family.stack, MOST_TEXTS
        )
        self._tokenizer = copy.deepcopy(getattr(pipeline, family.tokenizer))

    def _tokens(self, prompt: str) -> int:
        return super()._tokens(self._family.read(prompt, self.pipeline))

    def _most_tokens(self) -> int:
        return self._read

    def _noise(self, generators: Sequence[Any], height: int, width: int) -> Any:
        drawn = self._drawn(generators, height, width)
        drawn = drawn if self._family.float32 else drawn.to(self._network.dtype)
        return self.pipeline._pack_latents(drawn, *drawn.shape) if self._family.packed else drawn

    def _inputs(self, prompts: Sequence[str], negatives: Sequence[str], inputs: dict[str, Any]) -> dict[str, Any]:
        family, called = self._family, dict(inputs)
        guidance = called.pop("guidance_scale")
        called.pop("image_guidance_scale", None)  # 1, by the bounds
        if called["num_inference_steps"] < 2 and self.pipeline.scheduler.config.get("shift_terminal"):
            raise ValueError("this model takes at least 2 steps")  # else diffusers divides 0 by 0
        if "image" in called:
            called["width"], called["height"] = called["image"][0].size
        negatives = family.negatives(negatives or [""] * len(prompts), guidance)
        if family.by_text:
            called |= self._encoded.stacked("", prompts) | {"max_sequence_length": self._read}
            called |= self._encoded.stacked("negative_", negatives) if negatives else {}
        else:
            called |= {"prompt": list(prompts)} | ({"negative_prompt": list(negatives)} if negatives else {})
        return called | family.guided(guidance)

    def _grid(self, latents: Any, inputs: Mapping[str, Any]) -> Any:
        if not self._family.packed:
            return latents
        factor = self.pipeline.vae_scale_factor
        return self.pipeline._unpack_latents(latents, inputs["height"], inputs["width"], factor)


class FlowTextToImage(Flow, TextToImage):
    """A `roles.TextToImage`."""


class FlowImageToImage(Flow, ImageToImage):
    """A `roles.ImageToImage`."""


class FlowInpaint(Flow, Inpaint):
    """A `roles.Inpainter`; ignores negatives where they have no effect."""

    def __call__(
        self, images: Sequence[Pixels], holes: Sequence[Array], seeds: Sequence[int], negatives: Sequence[str] = ()
    ) -> list[Filled]:
        """Each picture with its hole filled."""
        return super().__call__(images, holes, seeds, negatives if self.bounds.takes_negative else ())


class FlowInstructionEdit(Flow, InstructionEdit):
    """A `roles.InstructionEdit` without image guidance."""
