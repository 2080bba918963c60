"""Train the classifier that judges Fashion-MNIST pictures, on real pictures shifted by up to two pixels.

It never sees a generated picture. So its agreement with the requested class says whether a generated picture looks like
that class in the real data. The packaged weights are half precision; the printed figures are theirs.

With `--trick NAME:VALUE`, given once for each trick, it is trained in another way, for another question:

- `noise:σ` adds noise of standard deviation σ, in values of [0, 1].
- `half:0` or `half:1` shows only the even or the odd fields of a checkerboard of pixels; the others are black.
- `adversarial:ε` changes each picture by at most ε in each pixel so that the loss grows (Madry et al., ICLR 2018, arXiv
  1706.06083): two steps of ¾ ε from a random start. The network is attacked in evaluation mode.
- `consistency:σ` asks that two noisy copies get the same answer (Jeong & Shin, NeurIPS 2020, arXiv 2006.04062).
- `mixup:α` blends pictures and labels of two pictures (Zhang et al., ICLR 2018, arXiv 1710.09412).
- `cosine:s` makes the scores s times the cosine between embedding and class (Gidaris & Komodakis, CVPR 2018, arXiv
  1804.09458). The stored last layer is linear without bias: the same class, but not the same probabilities.
- `tract:λ` steps in the space of the first layer's activations (TrAct; Petersen et al., NeurIPS 2024).
- `shared:1` keeps all but the last convolution and the last layer as `--from` has them.
- `distil:ALIAS` learns the answers of another network instead of the labels, both at `--temperature` T (defensive
  distillation; Papernot et al., S&P 2016, arXiv 1511.04508). The student is then used at temperature 1. Training at T
  is training softmax(z / T), so here z / T is trained at the usual learning rate, and z is stored: the last layer
  times T. In the same way the judge is a teacher that was trained at T.

`--from ALIAS` starts from a packaged network; `--epochs 0` then only measures it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from training.fashion_mnist import CLASSES, DEBIAN, read
from variorum.models import ModelTable
from variorum.models.loaders.classifiers import WEIGHTS, network

BATCH = 128
RATE = 2e-3
SHIFT = 2
BEHIND = 0.02
"""Most that a student's accuracy may be below its teacher's."""
KEPT = 11
"""Layers of the network before the last convolution."""
TRICKS: dict[str, tuple[float, float]] = {
    "noise": (0.01, 2),
    "half": (0, 1),
    "adversarial": (0.001, 1),
    "consistency": (0.01, 2),
    "mixup": (0.01, 100),
    "cosine": (0.1, 100),
    "tract": (1e-6, 1e6),
    "shared": (1, 1),
    "distil": (0, 0),
}
"""Tricks, and the least and largest value of each."""


def tensor(images: Any) -> torch.Tensor:
    """The network's input `[N, 1, 28, 28]` in [-1, 1] from uint8 pictures `[N, 28, 28]`."""
    return torch.from_numpy(images)[:, None].float() / 127.5 - 1


def shifted(batch: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Each picture shifted by up to `SHIFT` pixels along both axes; black fills the border."""
    side = batch.shape[-1]
    padded = functional.pad(batch, (SHIFT,) * 4, value=-1)
    rows, columns = torch.randint(2 * SHIFT + 1, (2, len(batch), 1), generator=rng)
    grid = torch.arange(side)
    picked = torch.arange(len(batch))[:, None, None]
    return padded[picked, 0, (rows + grid)[:, :, None], (columns + grid)[:, None, :]][:, None]


def told(text: str) -> tuple[str, Any]:
    """Name and value of a trick as it is written on the command line.

    Raises:
        argparse.ArgumentTypeError: there is no such trick, or its value is out of range.
    """
    name, _, value = text.partition(":")
    if name not in TRICKS:
        raise argparse.ArgumentTypeError(f"no trick is named {name!r}; there are {', '.join(TRICKS)}")
    if name == "distil":
        if not value:
            raise argparse.ArgumentTypeError("distil needs the alias of a teacher, such as distil:judge_adversary")
        return name, value
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    low, high = TRICKS[name]
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{name} needs a number from {low:g} to {high:g}, not {value!r}")
    return name, number


def scores(model: Any, batch: torch.Tensor, scale: float | None = None) -> torch.Tensor:
    """Logits `[N, K]`; with a scale, that many times the cosine between embedding and class."""
    if not scale:
        return model(batch)
    return scale * functional.linear(functional.normalize(model[:-1](batch)), functional.normalize(model[-1].weight))


def attacked(
    model: Any,
    batch: torch.Tensor,
    target: torch.Tensor,
    rng: torch.Generator,
    *,
    bound: float,
    steps: int,
    rate: float,
    scale: float | None = None,
) -> torch.Tensor:
    """Pictures whose cross-entropy is larger, by projected gradient from a random start, for the network in evaluation.

    Args:
        model: as `scores` takes it, with `scale`.
        batch: `[N, 1, 28, 28]` in [-1, 1].
        target: class indices `[N]` or probabilities `[N, K]`.
        rng: of the start.
        bound: the most that a pixel changes, in values of [0, 1].
        steps: of the ascent.
        rate: length of a step, in values of [0, 1].
        scale: of cosines.
    """
    mode, bound, rate = model.training, 2 * bound, 2 * rate  # the network's values are in [-1, 1]
    model.eval()
    found = batch + bound * (2 * torch.rand(batch.shape, generator=rng) - 1)
    for _ in range(steps):
        found = found.clamp(-1, 1).requires_grad_()
        (slope,) = torch.autograd.grad(functional.cross_entropy(scores(model, found, scale), target), found)
        found = batch + (found.detach() + rate * slope.sign() - batch).clamp(-bound, bound)
    model.train(mode)
    return found.clamp(-1, 1)


def loss_of(
    model: Any, batch: torch.Tensor, target: torch.Tensor, tricks: dict[str, Any], rng: torch.Generator
) -> torch.Tensor:
    """The mean loss of a batch.

    Args:
        model: of `network`, in training mode.
        batch: `[N, 1, 28, 28]` in [-1, 1].
        target: class indices `[N]` or probabilities `[N, K]`.
        tricks: value by name; those without a part in the loss are ignored.
        rng: of noise, attacks and pairs.
    """
    if "mixup" in tricks:
        share = torch.distributions.Beta(tricks["mixup"], tricks["mixup"]).sample()
        other = torch.randperm(len(batch), generator=rng)
        if not target.is_floating_point():
            target = functional.one_hot(target, len(CLASSES)).float()
        batch, target = share * batch + (1 - share) * batch[other], share * target + (1 - share) * target[other]
    if "adversarial" in tricks:
        bound = tricks["adversarial"]
        how: dict[str, Any] = {"bound": bound, "steps": 2, "rate": 0.75 * bound, "scale": tricks.get("cosine")}
        batch = attacked(model, batch, target, rng, **how)
    if "consistency" in tricks:
        batch, target = batch.repeat(2, 1, 1, 1), torch.cat([target, target])
    if sigma := tricks.get("noise") or tricks.get("consistency"):
        batch = batch + 2 * sigma * torch.randn(batch.shape, generator=rng)
    if "half" in tricks:
        batch = shown(batch, tricks["half"])
    found = scores(model, batch, tricks.get("cosine"))
    loss = functional.cross_entropy(found, target)
    if "consistency" in tricks:
        logs = found.log_softmax(1).unflatten(0, (2, -1))
        mean = logs.exp().mean(0)
        of_mean = mean.clamp_min(1e-20).log()
        divergence, entropy = (mean * (of_mean - logs)).sum(2).mean(), -(mean * of_mean).sum(1).mean()
        loss = loss + (10 if sigma <= 0.25 else 20) * divergence + 0.5 * entropy
    return loss


def shown(batch: torch.Tensor, half: int) -> torch.Tensor:
    """The even (0) or the odd (1) fields of a checkerboard of pixels; the others are black."""
    side = torch.arange(batch.shape[-1])
    return torch.where((side[:, None] + side) % 2 == half, batch, -1.0)


def in_activations(layer: Any, seen: torch.Tensor, damping: float) -> None:
    """TrAct: replace the gradient of a layer's weights by the one of a step in the space of its activations.

    With the layer's unfolded input a `[m, d]`, ∇W becomes ∇W (aᵀa / m + λI)⁻¹. It is called between `backward` and the
    optimiser's step, and changes nothing once the network is trained.

    Args:
        layer: a linear layer, or a convolution without groups and dilation.
        seen: its input of this step.
        damping: λ; the paper takes .1.
    """
    if isinstance(layer, torch.nn.Conv2d):
        seen = functional.unfold(seen, layer.kernel_size, padding=layer.padding, stride=layer.stride).transpose(1, 2)
    rows = seen.flatten(0, -2)
    square = rows.T @ rows / len(rows) + damping * torch.eye(rows.shape[1])
    slope = layer.weight.grad
    slope.copy_(torch.linalg.solve(square, slope.flatten(1).T).T.view_as(slope))


def right(model: Any, batches: Iterable[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Whether the likeliest class of each picture is its own."""
    with torch.inference_mode():
        return torch.cat([model(batch).argmax(1) for batch in batches]) == labels


def measured(model: Any, images: Any, labels: torch.Tensor, tricks: dict[str, Any]) -> dict[str, Any]:
    """Accuracy on test pictures: of all, under noise of .25, of the first 1000 under ten steps of ℓ∞ .1, by class."""
    model.eval()
    rng = torch.Generator().manual_seed(0)
    batches = [tensor(images[start : start + 1000]) for start in range(0, len(labels), 1000)]
    if "half" in tricks:
        batches = [shown(batch, tricks["half"]) for batch in batches]
    clean = right(model, batches, labels)
    noisy = [batch + 0.5 * torch.randn(batch.shape, generator=rng) for batch in batches]
    if "half" in tricks:
        noisy = [shown(batch, tricks["half"]) for batch in noisy]
    pushed = attacked(model, batches[0], labels[:1000], rng, bound=0.1, steps=10, rate=0.025)
    by_class = {name: clean[labels == label] for label, name in enumerate(CLASSES)}
    return {
        "test_accuracy": share(clean),
        "under_noise": share(right(model, noisy, labels)),
        "under_attack": share(right(model, [pushed], labels[:1000])),
        "by_class": {name: share(found) for name, found in by_class.items() if len(found)},
    }


def share(found: torch.Tensor) -> float:
    """The mean of booleans."""
    return round(float(found.double().mean()), 4)


def answered(teacher: Any, batch: torch.Tensor) -> torch.Tensor:
    """A teacher's probabilities `[N, K]` of the network's input."""
    with torch.no_grad():
        return teacher((batch.expand(-1, 3, -1, -1) + 1) / 2).exp()


def train(arguments: argparse.Namespace) -> None:
    """Train for some epochs, write the weights, print their figures on the real test set.

    Raises:
        SystemExit: tricks don't go together, the temperature isn't above 0, or a student is more than two points behind
            its teacher; no weights are written.
    """
    tricks, start = dict(arguments.tricks), getattr(arguments, "from")
    if not 0 < arguments.temperature < float("inf"):
        raise SystemExit(f"--temperature must be above 0 and finite, not {arguments.temperature:g}")
    if "shared" in tricks and (start is None or "tract" in tricks):
        raise SystemExit("shared:1 keeps the first layers of a network: name it with --from, and leave out tract")
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    rng = torch.Generator().manual_seed(arguments.seed)
    images, labels = (part[: arguments.pictures] for part in read("train", arguments.data))
    targets = torch.from_numpy(labels)
    test_images, test_labels = read("t10k", arguments.data)
    truth = torch.from_numpy(test_labels)
    table = ModelTable("embedded")
    model = network(len(CLASSES))
    if start is not None:
        model.load_state_dict(table.read_weights(start, lambda folder: load_file(folder / WEIGHTS)))
    teacher = table.get(table.steering(tricks["distil"])) if "distil" in tricks else None
    kept = model[:KEPT].requires_grad_("shared" not in tricks)
    if "tract" in tricks:
        model[0].register_forward_pre_hook(lambda layer, given: setattr(layer, "seen", given[0]))
    batches = len(targets) // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=max(1, arguments.epochs * batches))
    began = time.process_time()
    for epoch in range(arguments.epochs):
        model.train()
        if "shared" in tricks:
            kept.eval()
        order = torch.randperm(len(targets), generator=rng)[: batches * BATCH].view(batches, BATCH)
        for picked in order:
            batch = shifted(tensor(images[picked.numpy()]), rng)
            loss = loss_of(model, batch, answered(teacher, batch) if teacher else targets[picked], tricks, rng)
            optimiser.zero_grad()
            loss.backward()
            if "tract" in tricks:
                in_activations(model[0], model[0].seen, tricks["tract"])
            optimiser.step()
            schedule.step()
        minutes = (time.process_time() - began) / 60
        report = {"epoch": epoch + 1, "loss": round(loss.item(), 4), "cpu_minutes": round(minutes, 2)}
        print(json.dumps(report), flush=True)
    with torch.no_grad():
        if teacher:
            for weights in model[-1].parameters():
                weights *= arguments.temperature
        if "cosine" in tricks:
            model[-1].weight.copy_(tricks["cosine"] * functional.normalize(model[-1].weight))
            model[-1].bias.zero_()
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    found = measured(model, test_images, truth, tricks)
    if teacher:
        said = right(lambda batch: answered(teacher, batch), map(tensor, np.array_split(test_images, 10)), truth)
        found["teacher_accuracy"] = share(said)
        if found["teacher_accuracy"] - found["test_accuracy"] > BEHIND:
            raise SystemExit(
                f"the student is more than {100 * BEHIND:g} points behind its teacher: {found}; train longer"
            )
    if arguments.epochs:
        arguments.out.mkdir(parents=True, exist_ok=True)
        save_file(state, arguments.out / WEIGHTS)
    print(json.dumps(found))


def main() -> None:
    """Parse and train."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trick", dest="tricks", type=told, action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--from", metavar="ALIAS", help="start from this packaged network")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--pictures", type=int, help="of the training set, the first of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0, help="of distil, such as 100")
    parser.add_argument("--data", type=Path, default=DEBIAN, help="folder of the four IDX files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
