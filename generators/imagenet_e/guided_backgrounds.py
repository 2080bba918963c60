"""Backgrounds by guided diffusion as edits: which are asked for, how they are made in batches, how they are judged.

Each starts from the picture's own plate with the same noise as `guided_control`, which is the same diffusion without
guidance. A model's loss on the control is the effect of diffusion; what it loses beyond is the effect of complexity.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from variorum.generators.imagenet_e.guided_diffusion import Guidance, Wish, guided
from variorum.kit.gates import gates
from variorum.kit.pictures import complexity, compositing, geometry, plates
from variorum.kit.pictures.batches import in_parts
from variorum.kit.pictures.edits import Draft, Subject, WantedEdit, measure_background, on_plate, short
from variorum.kit.pictures.geometry import CannotEdit
from variorum.kit.pictures.scenes import BadInput, Scene
from variorum.models.diffusion.images import blanked
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Use
from variorum.schemas.sample import PARTLY_GENERATED, Gate

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels

CONTROL = "guided_control"
ADVERSARIAL = "guided_adversarial"
KINDS = ("guided_up", "guided_down", ADVERSARIAL)
NOISE = "guided"
"""Purpose of the seed that all guided backgrounds of a picture have in common."""
INEFFECTIVE = "guidance_ineffective"
LEAST_CONTRAST = 0.02
"""Deviation of a background's luma: below it nobody sees whether it is complex."""
MOST_LEFT = 0.5
"""Of the class's probability on the control, where a background is steered against it."""
_ALONE = threading.Lock()  # one batch in memory at a time: gradients are large
REVISION = 3
"""Raise it when the same wish starts to give another background, so that cached backgrounds are not reused."""


def wanted(backgrounds: Sequence[str], settings: Guidance) -> Iterator[WantedEdit]:
    """The control and the guided kinds among these backgrounds; nothing if there are none."""
    kinds = [kind for kind in backgrounds if kind in KINDS]
    if not kinds:
        return
    yield WantedEdit(CONTROL, {"lambda": 0.0}, partial(background, kind=CONTROL, settings=settings), NOISE)
    for kind in kinds:
        requested: dict[str, Json] = {
            "lambda": settings.down if kind == "guided_down" else settings.up,
            "reference": CONTROL,
        }
        if kind == ADVERSARIAL:
            requested["adversary_scale"] = settings.adversary_scale
        yield WantedEdit(kind, requested, partial(background, kind=kind, settings=settings), NOISE)


def uses(backgrounds: Sequence[str], settings: Guidance, batch: int) -> list[Use]:
    """Return the models that these backgrounds need; the adversary influences what is accepted."""
    adversary = [settings.adversary] if ADVERSARIAL in backgrounds and settings.adversary else []
    denoiser = [Use(settings.denoiser, batch=batch)] if set(backgrounds) & set(KINDS) else []
    return [*(Use(alias, decides=True) for alias in adversary), *denoiser]


def made(
    scenes: Sequence[Scene | BadInput],
    seeds: Sequence[int],
    indices: Sequence[int | None],
    edits: Sequence[WantedEdit],
    settings: Guidance,
    batch: int,
    ctx: Context,
) -> list[dict[str, Pixels]]:
    """For each scene its backgrounds by variant; empty for a scene that can't be edited.

    Args:
        scenes: all of the same size.
        seeds: of each scene's noise.
        indices: ImageNet's index of each scene's label.
        edits: those that are asked for, from `wanted`.
        settings: of the guidance.
        batch: backgrounds per call of the denoiser, if memory suffices.
        ctx: its memo keeps the results.

    Raises:
        OutOfMemoryError: PyTorch's, when memory doesn't suffice for one background.
    """
    out: list[dict[str, Pixels]] = [{} for _ in scenes]
    places, wishes = [], []
    for place, scene in enumerate(scenes):
        if edits and isinstance(scene, Scene) and scene.plate is not None and not gates.first_failed(scene.gates):
            picture, alpha = compositing.composite(scene.plate, geometry.whole(scene.cutout))
            label = _label(scene, indices[place])
            for edit in edits:
                scale = float(edit.requested.get("adversary_scale", 0))  # type: ignore[arg-type]
                if scale and label is None:
                    continue
                weight = float(edit.requested["lambda"])  # type: ignore[arg-type]
                places.append((place, edit.variant))
                wishes.append(
                    Wish(scene.plate, picture, alpha == 255, alpha == 0, seeds[place], weight, scale, label or 0)
                )
    if wishes:
        for (place, variant), picture in zip(places, _diffused(wishes, settings, batch, ctx), strict=True):
            out[place][variant] = picture
    return out


def _diffused(wishes: Sequence[Wish], settings: Guidance, batch: int, ctx: Context) -> list[Pixels]:
    """The background of each wish, from the memo where it is kept."""
    how = settings.model_dump(mode="json", exclude={"up", "down", "min_change", "adversary_scale"})
    models = ctx.models

    def key(wish: Wish) -> str:
        arrays = (wish.plate, wish.picture, wish.keep, wish.background)
        parts: list[Json] = [plates.fingerprint(array) for array in arrays]
        parts += [wish.seed, wish.weight, how, models.pin(settings.denoiser)]
        if wish.adversary_scale and settings.adversary:
            parts += [wish.adversary_scale, wish.label, models.pin(settings.adversary)]
        return digest(["guided", REVISION, *parts])

    def compute(missing: list[int]) -> list[plates.Arrays]:
        denoiser = models.get(settings.denoiser)
        adversary = models.get(settings.adversary) if settings.adversary else None

        def call(part: Sequence[int]) -> list[Pixels]:
            with _ALONE:
                return guided([wishes[place] for place in part], denoiser, settings, adversary)

        found, _ = in_parts(call, missing, batch, settings.denoiser)
        return [{"background": picture} for picture in found]

    kept = plates.recall(ctx.memo, [key(wish) for wish in wishes], compute)
    return [arrays["background"] for arrays in kept]


def background(subject: Subject, *, kind: str, settings: Guidance) -> Draft:
    """The object on a background of this kind, compared with the control."""
    if kind not in subject.backgrounds:
        raise CannotEdit("no_class", "there is no class of ImageNet to steer against")
    away = subject.scene.alpha == 0
    if any(blanked(subject.backgrounds[one][away], subject.plate[away]) for one in {CONTROL, kind}):
        raise CannotEdit("blank", f"the denoiser {settings.denoiser!r} made a background of one colour")
    facts: dict[str, Json] = {"plate": subject.scene.method}
    draft = on_plate(subject, subject.backgrounds[kind], facts, PARTLY_GENERATED, own=False)
    draft.models = {settings.denoiser: subject.of.ctx.models.pin(settings.denoiser)}
    measure_background(draft)
    if kind == CONTROL:
        draft.gates["background_changed"] = gates.recorded(draft.gates["background_changed"]["value"])
        return draft
    control, _ = compositing.composite(subject.backgrounds[CONTROL], geometry.whole(subject.scene.cutout))
    pictures = (subject.scene.picture, control, draft.picture)
    original, before, after = (_complexity(picture, away, settings) for picture in pictures)
    draft.achieved |= {
        "objective": settings.objective,
        "objective_original": short(original),
        "objective_control": short(before),
        "objective_change": short(after - before),
    }
    if kind == ADVERSARIAL:
        draft.gates[INEFFECTIVE] = _against(draft, control, settings)
    else:
        draft.gates[INEFFECTIVE] = _effect(original, before, after, settings.least, up=kind == "guided_up")
    draft.gates["background_flat"] = gates.at_least(float(draft.achieved["contrast_after"]), LEAST_CONTRAST)  # type: ignore[arg-type]
    return draft


def _effect(original: float, control: float, guided: float, least: float, *, up: bool) -> Gate:
    """Return whether complexity moves by `least` against the control, and passes the original's too.

    Diffusion alone can make a smooth background more complex. Less than that isn't less than there was.
    """
    change = guided - control if up else control - guided
    beyond = guided > original if up else guided <= original
    limit = f">= {least:g}, to {'above' if up else 'at most'} {original:.4g}"
    return gates.gate(change, change >= least and beyond, limit)


def _complexity(picture: Pixels, away: Bools, settings: Guidance) -> float:
    if settings.objective == "adm_compat":
        return complexity.adm_compat(picture)
    return complexity.masked_hf(picture, away)[0]


def _against(draft: Draft, control: Pixels, settings: Guidance) -> Gate:
    """Return whether the class is at most half as probable to the adversary as on the control."""
    import torch

    subject, models, alias = draft.subject, draft.subject.of.ctx.models, settings.adversary
    assert alias is not None
    draft.models[alias] = models.pin(alias)
    pictures = torch.from_numpy(np.stack([control, draft.picture]).transpose(0, 3, 1, 2)).float() / 255
    with torch.no_grad():
        found = models.get(alias)(pictures.to(models.get(settings.denoiser).device))
    before, after = (float(p) for p in found[:, _label(subject.scene, subject.index)].exp())
    draft.achieved |= {"adversary_p_control": short(before), "adversary_p": short(after)}
    return gates.at_most(after, MOST_LEFT * before)


def _label(scene: Scene, index: int | None) -> int | None:
    """The class to steer against: the label's, else the picture's own top class if a classifier gave one."""
    return scene.index(index) if index is not None or scene.probabilities else None
