"""Attacks beside torchattacks and foolbox, and what a step costs beside a bare forward and backward pass.

FGSM and PGD without a random start must give the pictures of torchattacks up to rounding, picture by picture. The
median L2 norm of Carlini & Wagner's attack at equal steps must be within 5 % of foolbox's. PGD must take at most 1.1
times as long as its passes alone. Both packages ask for old versions of others: install them without their
dependencies into a folder of their own, and name that in PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from variorum.generators.adversarial.perturbations import Perturbation, perturbed
from variorum.kit.attacks.ascent import Slope, climb
from variorum.kit.attacks.losses import Victim
from variorum.kit.attacks.minimal import carlini_wagner
from variorum.kit.attacks.opponents import Aim, Opponent
from variorum.models import ModelTable
from variorum.models.device import one_thread
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component

CTX = Context(seed=1, models=ModelTable("embedded"), memo=lambda key, compute: compute())


def fashion(pictures: int) -> tuple[Any, list[np.ndarray], list[int]]:
    """The packaged judge, and test pictures of Fashion-MNIST that it is right about."""
    network = CTX.models.get("judge_adversary")
    source = build_component("source", {"name": "fashion_mnist", "part": "test"}, "source")
    found = list(source.read(0, 2 * pictures, CTX))  # type: ignore[attr-defined]
    said = network.answers([one.image for one in found]).argmax(1)
    labels = [network.classes.index(one.labels[0]) for one in found]
    kept = [n for n, label in enumerate(labels) if said[n] == label][:pictures]
    return network, [found[n].image for n in kept], [labels[n] for n in kept]


def tensor(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))


def victim(network: Any, labels: list[int], outputs: int) -> Victim:
    return Victim(network, torch.nn.functional.one_hot(torch.tensor(labels), outputs).bool())


class Module(torch.nn.Module):
    """A network as other packages take it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, self.weight = network, torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log probabilities, which serve as logits."""
        return self.network(x)  # type: ignore[no-any-return]


def beside_torchattacks(network: Any, images: list[np.ndarray], labels: list[int]) -> dict[str, float]:
    """Share of the values that are equal, and the largest difference in grey levels, of FGSM and PGD."""
    import torchattacks

    module, found = Module(network).eval(), dict[str, float]()
    for name, steps, step in (("fgsm", 1, 8.0), ("pgd", 10, 2.0)):
        peer = (
            torchattacks.FGSM(module, eps=8 / 255)
            if name == "fgsm"
            else torchattacks.PGD(module, eps=8 / 255, alpha=2 / 255, steps=steps, random_start=False)
        )
        equal, largest = [], 0.0
        for image, label in zip(images, labels, strict=True):
            x, one = tensor([image]), victim(network, [label], len(network.classes))
            theirs = peer(x / 255, torch.tensor([label])) * 255
            slope = Slope([one], "ce", torch.tensor([False]))
            ours = climb(x, (x - 8).clamp_min(0), (x + 8).clamp_max(255), slope, steps=steps, step=step)
            gap = (ours.round() - theirs.round()).abs()
            equal.append(float((gap == 0).float().mean()))
            largest = max(largest, float(gap.max()))
        found |= {f"{name}_equal": round(statistics.mean(equal), 5), f"{name}_largest": largest}
        found[f"{name}_pictures_equal"] = round(statistics.mean(one == 1 for one in equal), 3)
    return found


def beside_foolbox(network: Any, images: list[np.ndarray], labels: list[int], steps: int) -> dict[str, float]:
    """Median L2 norms of Carlini & Wagner's attack, ours and foolbox's, and how often ours is lost by rounding."""
    import foolbox

    x, outputs = tensor(images), len(network.classes)
    peer = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=4, steps=steps, stepsize=0.01, confidence=0, initial_const=1, abort_early=False
    )
    model = foolbox.PyTorchModel(Module(network).eval(), bounds=(0, 1), device="cpu")
    begun = time.process_time()
    _, moved, success = peer(model, x / 255, torch.tensor(labels), epsilons=None)
    middle = time.process_time()
    grey = torch.zeros(len(images), dtype=torch.bool)  # as foolbox: channels change on their own
    own = carlini_wagner(
        x, [victim(network, labels, outputs)], grey, steps=steps, searches=4, confidence=0, rounded=False
    )
    end = time.process_time()
    both = own.fooled & success & (moved != 0).flatten(1).any(1)  # foolbox gives black pictures where it finds nothing
    ours, theirs = ((one - x / 255).flatten(1).norm(dim=1)[both].median() for one in (own.pictures / 255, moved))
    stored = own.pictures.round().clamp(0, 255).numpy().transpose(0, 2, 3, 1).astype(np.uint8)
    wrong = network.answers(list(stored)).argmax(1) != np.array(labels)
    return {
        "foolbox_l2": round(float(theirs), 4),
        "ours_l2": round(float(ours), 4),
        "foolbox_fooled": round(float((success & (moved != 0).flatten(1).any(1)).float().mean()), 3),
        "ours_fooled": round(float(own.fooled.float().mean()), 3),
        "ours_fooled_when_stored": round(float(wrong.mean()), 3),
        "foolbox_cpu_s": round(middle - begun, 2),
        "ours_cpu_s": round(end - middle, 2),
    }


def cost(rounds: int) -> dict[str, float]:
    """CPU seconds of PGD-10 on Lite0 and of ten bare passes, medians of rounds that take turns."""
    network = CTX.models.get("adversary")
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    label = int(network.answers([image])[0].argmax())
    x, away = tensor([image]) / 255, np.arange(1000) == label

    def bare() -> None:
        for _ in range(10):
            state = x.clone().requires_grad_()
            torch.autograd.grad(-network(state)[0, label], state)

    def pgd() -> None:
        one = Opponent(network, network.answers)
        perturbed(Perturbation(kind="pgd", epsilon=8), [image], [one], [[Aim(away)]], [0], 1)

    took: dict[Callable[[], None], list[float]] = {bare: [], pgd: []}
    with one_thread():
        network(x)
        for _ in range(rounds):
            for work, times in took.items():
                begun = time.process_time()
                work()
                times.append(time.process_time() - begun)
    passes, whole = (statistics.median(times) for times in took.values())
    return {"ten_passes_cpu_s": round(passes, 3), "pgd_10_cpu_s": round(whole, 3), "ratio": round(whole / passes, 3)}


def main() -> None:
    """Print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=50, help="of Fashion-MNIST")
    parser.add_argument("--steps", type=int, default=100, help="of Adam for each constant")
    parser.add_argument("--rounds", type=int, default=5, help="of the cost")
    asked = parser.parse_args()
    print(json.dumps(cost(asked.rounds)), flush=True)
    network, images, labels = fashion(asked.pictures)
    with one_thread():
        for beside in (
            lambda: beside_torchattacks(network, images, labels),
            lambda: beside_foolbox(network, images, labels, asked.steps),
        ):
            try:
                print(json.dumps(beside()), flush=True)
            except ImportError as error:
                print(f"left out: {error}", flush=True)


if __name__ == "__main__":
    main()
