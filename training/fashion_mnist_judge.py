"""Train the classifier that judges Fashion-MNIST pictures, on real pictures shifted by up to two pixels.

It never sees a generated picture. So its agreement with the requested class says whether a generated picture looks like
that class in the real data. The packaged weights are half precision; the printed accuracy is theirs.

With `--temperature` it trains a student by defensive distillation (Papernot et al., S&P 2016, arXiv 1511.04508): on
the answers of the packaged judge instead of the labels, both at a temperature T. The student is then used at
temperature 1. Training at T is training softmax(z / T), so here z / T is trained at the usual learning rate, and z is
stored: the last layer times T. In the same way the judge is a teacher that was trained at T.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import functional

from training.fashion_mnist import CLASSES, DEBIAN, read
from variorum.models import ModelTable
from variorum.models.loaders.classifiers import WEIGHTS, network

BATCH = 128
RATE = 2e-3
SHIFT = 2
BEHIND = 0.02
"""Most that a student's accuracy may be below its teacher's."""


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


def accuracy(model: Any, images: Any, labels: torch.Tensor) -> float:
    """Share of the pictures whose likeliest class is their own."""
    model.eval()
    with torch.inference_mode():
        parts = [model(tensor(images[start : start + 1000])).argmax(1) for start in range(0, len(labels), 1000)]
    return float((torch.cat(parts) == labels).double().mean())


def answered(teacher: Any, batch: torch.Tensor) -> torch.Tensor:
    """A teacher's probabilities `[N, K]` of the network's input."""
    with torch.no_grad():
        return teacher((batch.expand(-1, 3, -1, -1) + 1) / 2).exp()


def train(arguments: argparse.Namespace) -> None:
    """Train for some epochs, write the weights, print the accuracy on the real test set.

    Raises:
        SystemExit: the temperature isn't above 0, or a student is more than two points behind its teacher; no weights
            are written.
    """
    if arguments.temperature is not None and not 0 < arguments.temperature < float("inf"):
        raise SystemExit(f"--temperature must be above 0 and finite, not {arguments.temperature:g}")
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    rng = torch.Generator().manual_seed(arguments.seed)
    images, labels = read("train", arguments.data)
    targets = torch.from_numpy(labels)
    test_images, test_labels = read("t10k", arguments.data)
    truth = torch.from_numpy(test_labels)
    model = network(len(CLASSES))
    teacher = ModelTable("embedded").get("judge_adversary") if arguments.temperature else None
    batches = len(targets) // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=arguments.epochs * batches)
    began = time.process_time()
    for epoch in range(arguments.epochs):
        model.train()
        order = torch.randperm(len(targets), generator=rng)[: batches * BATCH].view(batches, BATCH)
        for picked in order:
            batch = shifted(tensor(images[picked.numpy()]), rng)
            loss = functional.cross_entropy(model(batch), answered(teacher, batch) if teacher else targets[picked])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        minutes = (time.process_time() - began) / 60
        report = {"epoch": epoch + 1, "loss": round(loss.item(), 4), "cpu_minutes": round(minutes, 2)}
        print(json.dumps(report), flush=True)
    if teacher:
        with torch.no_grad():
            for weights in model[-1].parameters():
                weights *= arguments.temperature
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    found = {"test_accuracy": accuracy(model, test_images, truth)}
    if teacher:
        said = [answered(teacher, tensor(test_images[at : at + 1000])).argmax(1) for at in range(0, len(truth), 1000)]
        found["teacher_accuracy"] = float((torch.cat(said) == truth).double().mean())
        if found["teacher_accuracy"] - found["test_accuracy"] > BEHIND:
            raise SystemExit(
                f"the student is more than {100 * BEHIND:g} points behind its teacher: {found}; train longer"
            )
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(state, arguments.out / WEIGHTS)
    print(json.dumps(found))


def main() -> None:
    """Parse and train."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, help="distil the packaged judge at it, such as 100")
    parser.add_argument("--data", type=Path, default=DEBIAN, help="folder of the four IDX files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
