"""AutoAttack (Croce & Hein, ICML 2020, arXiv 2003.01690), as its authors' package runs it.

A standard must be the standard's code, so nothing of it is written anew here. Its random numbers are PyTorch's own, and
the pictures of a batch share them. So it gets one picture at a time, and only one thread runs it.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from variorum.kit.attacks.losses import Victim

FEWEST = 4
"""Answers that its targeted loss needs."""
_ONE_AT_A_TIME = threading.Lock()


def autoattack(picture: Any, victim: Victim, *, levels: int, grey: bool, seen: Any, seed: int) -> tuple[Any, int, int]:
    """A picture after AutoAttack's standard version: APGD by cross-entropy, APGD and FAB by target, Square.

    What the network is shown is rounded to whole levels, so a picture that fools it still does when it is stored.
    Gradients pass the rounding unchanged. With fewer than ten answers there are fewer targets.

    Args:
        picture: in grey levels, `[1, 3, H, W]`.
        victim: the network and the answers that are right; several of them count as one.
        levels: most that a value may change.
        grey: whether the channels must stay equal.
        seen: pixels that the network sees, `[H, W]`; the others stay.
        seed: of its random numbers.

    Returns:
        The picture in whole grey levels, as it was if nothing fooled; gradients computed; answers without one.
    """
    import torch
    from pyautoattack import AutoAttack

    count = {"gradients": 0, "queries": 0}
    away = victim.away[0]

    def shown(x: Any) -> Any:
        wide = x.expand(-1, 3, -1, -1) * 255
        return torch.where(seen, wide + (wide.round() - wide).detach(), picture)

    def asked(x: Any) -> Any:
        said = victim.network(shown(x) / 255).cpu()
        return torch.cat([said[:, away].amax(1, keepdim=True), said[:, ~away]], 1)

    class Alone(torch.autograd.Function):
        """The answers, whose gradients reach the picture and not the weights, as FAB would have it."""

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            with torch.enable_grad():
                ctx.at = x.detach().requires_grad_()
                ctx.said = asked(ctx.at)
            return ctx.said.detach()

        @staticmethod
        def backward(ctx: Any, *slopes: Any) -> Any:
            return torch.autograd.grad(ctx.said, ctx.at, slopes)[0].contiguous()

    alone: Any = Alone.apply

    def scores(x: Any) -> Any:
        """Log probabilities, which its losses take as well as logits: the right answer first, then the others."""
        count["gradients" if x.requires_grad else "queries"] += len(x)
        return alone(x) if x.requires_grad else asked(x)

    with _ONE_AT_A_TIME, torch.random.fork_rng(range(torch.cuda.device_count())):
        logging.getLogger("auto-attack").setLevel(logging.ERROR)  # it comments on each picture
        attack = AutoAttack(scores, eps=levels / 255, seed=seed, version="standard")
        others = int((~away).sum())
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, others)
        x = (picture[:, :1] if grey else picture).contiguous() / 255  # it takes `view` of what it gets
        found, _ = attack.run_standard_evaluation(x, torch.zeros(1, dtype=torch.long), batch_size=1)
    return shown(found).detach().round(), count["gradients"], count["queries"]
