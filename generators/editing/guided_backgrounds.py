"""Backgrounds by guided diffusion as edits: which are asked for, made for a group of pictures at once, and judged.

Every one starts from the picture's own plate and has the same noise as `guided_control`, which is the same diffusion
unsteered: what a model loses on the control, the diffusion cost; what it loses beyond, the complexity did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from generators.editing import complexity, compositing, gates, geometry, plates
from generators.editing.batches import in_parts
from generators.editing.edits import Draft, Edit, Job, measure_background, on_plate, short
from generators.editing.geometry import CannotEdit
from generators.editing.guided_diffusion import Guidance, Wish, guided
from generators.editing.scenes import BadInput, Scene
from schemas.canonical import Json, digest
from schemas.component import Context
from schemas.sample import Gate

Pixels = NDArray[np.uint8]

CONTROL = "guided_control"
ADVERSARIAL = "guided_adversarial"
KINDS = ("guided_up", "guided_down", ADVERSARIAL)
NOISE = "guided"
"""The purpose of the seed that a picture's guided backgrounds share."""
INEFFECTIVE = "guidance_ineffective"
REVISION = 2
"""Bumped when the same wish starts to give another background, so that none that is kept is taken for it."""


def asked(backgrounds: Sequence[str], settings: Guidance) -> Iterator[Edit]:
    """The control and the guided kinds among these backgrounds; nothing when there is none."""
    kinds = [kind for kind in backgrounds if kind in KINDS]
    if not kinds:
        return
    yield Edit(CONTROL, {"lambda": 0.0}, background, NOISE)
    for kind in kinds:
        requested: dict[str, Json] = {
            "lambda": settings.down if kind == "guided_down" else settings.up,
            "reference": CONTROL,
        }
        if kind == ADVERSARIAL:
            requested["adversary_scale"] = settings.adversary_scale
        yield Edit(kind, requested, background, NOISE)


def aliases(backgrounds: Sequence[str], settings: Guidance) -> tuple[str, ...]:
    """Models that these backgrounds take; of them, the adversary has a say in what is accepted."""
    wanted = [settings.denoiser] if set(backgrounds) & set(KINDS) else []
    return (*wanted, *adversaries(backgrounds, settings))


def adversaries(backgrounds: Sequence[str], settings: Guidance) -> tuple[str, ...]:
    """The adversary, if it is used."""
    return (settings.adversary,) if ADVERSARIAL in backgrounds and settings.adversary else ()


def made(
    scenes: Sequence[Scene | BadInput],
    seeds: Sequence[int],
    indices: Sequence[int | None],
    edits: Sequence[Edit],
    settings: Guidance,
    batch: int,
    ctx: Context,
) -> list[dict[str, Pixels]]:
    """Variant to background of each scene, empty for one that can't be edited.

    Args:
        scenes: of one size.
        seeds: of each one's noise.
        indices: ImageNet's of each one's label.
        edits: what is asked for, from `asked`.
        settings: how.
        batch: backgrounds that go through the denoiser together, if there is the memory.
        ctx: with the models, and the memo that keeps the results.

    Raises:
        OutOfMemoryError: PyTorch's, when there isn't the memory for one.
    """
    out: list[dict[str, Pixels]] = [{} for _ in scenes]
    places, wishes = [], []
    for place, scene in enumerate(scenes):
        if edits and isinstance(scene, Scene) and scene.plate is not None and not gates.first_failed(scene.gates):
            picture, alpha = compositing.composite(scene.plate, geometry.whole(scene.cutout))
            for edit in edits:
                label = _label(scene, indices[place])
                scale = float(edit.requested.get("adversary_scale", 0))  # type: ignore[arg-type]
                if scale and label is None:
                    continue
                weight = float(edit.requested["lambda"])  # type: ignore[arg-type]
                kept, away = alpha == 255, alpha == 0
                places.append((place, edit.variant))
                wishes.append(Wish(scene.plate, picture, kept, away, seeds[place], weight, scale, label or 0))
    if not wishes:
        return out
    how = settings.model_dump(mode="json", exclude={"up", "down", "min_change", "adversary_scale"})
    models = ctx.models

    def key(wish: Wish) -> str:
        parts: list[Json] = [
            plates.fingerprint(part) for part in (wish.plate, wish.picture, wish.keep, wish.background)
        ]
        parts += [wish.seed, wish.weight, how, models.pin(settings.denoiser)]
        if wish.adversary_scale and settings.adversary:
            parts += [wish.adversary_scale, wish.label, models.pin(settings.adversary)]
        return digest(["guided", REVISION, *parts])

    def compute(missing: list[int]) -> list[plates.Arrays]:
        denoiser = models.get(settings.denoiser)
        adversary = models.get(settings.adversary) if settings.adversary else None

        def call(part: Sequence[int]) -> list[Pixels]:
            return guided([wishes[place] for place in part], denoiser, settings, adversary)

        found, _ = in_parts(call, missing, batch, settings.denoiser)
        return [{"background": item} for item in found]

    kept = plates.recall(ctx.memo, [key(wish) for wish in wishes], compute)
    for (place, variant), arrays in zip(places, kept, strict=True):
        out[place][variant] = arrays["background"]
    return out


def background(job: Job) -> Draft:
    """The object on a background by guided diffusion, set against the control."""
    settings, variant = job.conf.guidance, job.edit.variant
    if variant not in job.backgrounds:
        raise CannotEdit("no_class", "there is no class of ImageNet to steer against")
    draft = on_plate(job, job.backgrounds[variant], {"plate": job.scene.method})
    draft.models = {settings.denoiser: job.ctx.models.pin(settings.denoiser)}
    measure_background(draft)
    if variant == CONTROL:
        draft.gates["background_changed"] = gates.recorded(draft.gates["background_changed"]["value"])
        return draft
    control, _ = compositing.composite(job.backgrounds[CONTROL], geometry.whole(job.scene.cutout))
    away = job.scene.alpha == 0
    before, after = (_complexity(item, away, settings) for item in (control, draft.picture))
    draft.achieved |= {"objective": settings.objective, "objective_control": short(before)}
    draft.achieved["objective_change"] = short(after - before)
    if variant == ADVERSARIAL:
        draft.gates[INEFFECTIVE] = _against(job, draft, control)
    else:
        rise = after - before if variant == "guided_up" else before - after
        draft.gates[INEFFECTIVE] = gates.at_least(rise, settings.least)
    return draft


def _complexity(picture: Pixels, away: NDArray[np.bool_], settings: Guidance) -> float:
    if settings.objective == "adm_compat":
        return complexity.adm_compat(picture)
    return complexity.masked_hf(picture, away)[0]


def _against(job: Job, draft: Draft, control: Pixels) -> Gate:
    """Whether the class is less probable to the adversary than on the control."""
    import torch

    alias = job.conf.guidance.adversary
    assert alias is not None
    draft.models[alias] = job.ctx.models.pin(alias)
    pictures = torch.from_numpy(np.stack([control, draft.picture]).transpose(0, 3, 1, 2)).float() / 255
    with torch.no_grad():
        found = job.ctx.models.get(alias)(pictures.to(job.ctx.models.get(job.conf.guidance.denoiser).device))
    before, after = (float(p) for p in found[:, _label(job.scene, job.index)].exp())
    draft.achieved |= {"adversary_p_control": short(before), "adversary_p": short(after)}
    return gates.gate(after, after < before, f"< {before:.4g}")


def _label(scene: Scene, index: int | None) -> int | None:
    """The class to steer against: the label's, or the picture's own top class, if anything tells it."""
    return scene.index(index) if index is not None or scene.probabilities else None
