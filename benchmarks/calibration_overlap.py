"""Calibration where classes overlap: a plain network and one trained by mixup, before and after temperature scaling.

After Chidambaram and Ge (arXiv 2306.00740), on Fashion-MNIST with labels that the source `label_overlap` changes.
Errors are counted against the labels of that law and, as their code does, against the clean ones. Their temperature is
one call of LBFGS; the best one is beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

from variorum.kit.predicted.calibration import (
    adaptive_calibration_error,
    error_by_chance,
    expected_calibration_error,
    reliability,
)
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.statistics import best_temperature, log_total

EACH, EPOCHS, BATCH, CLASSES = 300, 40, 64, 10


def pictures(rate: float) -> tuple[Any, Any, Any]:
    """Pictures `[6000, 784]` in [0, 1], given and clean labels; of each class the first 300 are for training."""
    clothes = {"name": "fashion_mnist", "per_class": 2 * EACH}
    fields = {"name": "label_overlap", "of": clothes, "rate": rate, "pairs": "confusable"}
    source: Any = build_component("source", fields, "source")
    ctx = Context(1, ModelTable("embedded"), lambda key, compute: compute())
    place = {one.id: number for number, one in enumerate(source.classes(ctx))}
    samples = list(source.read(0, source.size(ctx), ctx))
    given, clean = (
        np.array([place[one] for one in names])
        for names in ([one.labels[0] for one in samples], [one.metadata["clean_label"] for one in samples])
    )
    order = np.argsort(clean, kind="stable").reshape(CLASSES, 2, EACH).swapaxes(0, 1).reshape(-1)
    x = np.stack([one.image[..., 0].ravel() for one in samples]).astype(np.float32) / 255
    return x[order], given[order], clean[order]


def trained(x: Any, y: Any, mixup: bool, seed: int) -> Any:
    """An MLP 784-512-10 after 40 epochs of Adam; mixup draws one share from Beta(1, 1) for each batch."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = torch.nn.Sequential(torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, CLASSES))
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    x, target = torch.from_numpy(x), torch.nn.functional.one_hot(torch.from_numpy(y), CLASSES).float()
    for _ in range(EPOCHS):
        order = torch.from_numpy(rng.permutation(len(x)))
        for batch in order.split(BATCH):
            part, wanted = x[batch], target[batch]
            if mixup:
                other, share = torch.from_numpy(rng.permutation(len(batch))), float(rng.beta(1, 1))
                part, wanted = (share * one + (1 - share) * one[other] for one in (part, wanted))
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(part), wanted).backward()
            optimiser.step()
    return net


def one_call(z: Any, y: Any, rate: float) -> float:
    """The temperature that one call of LBFGS finds from 1, at this learning rate."""
    t, (z, y) = torch.ones(1, requires_grad=True), (torch.from_numpy(one) for one in (z, y))
    optimiser = torch.optim.LBFGS([t], lr=rate)

    def loss() -> Any:
        optimiser.zero_grad()
        found = torch.nn.functional.cross_entropy(z / t, y)
        found.backward()
        return found

    optimiser.step(loss)
    return float(t.detach())


def errors(logp: Any, y: Any) -> dict[str, float]:
    """Expected and adaptive error, the floor of the first, and the likelihood."""
    p = np.exp(logp)
    ece = expected_calibration_error(reliability(p.max(axis=1), p.argmax(axis=1) == y))
    found = {"ece": ece, "floor": error_by_chance(p.max(axis=1), 0), "nll": float(-logp[np.arange(len(y)), y].mean())}
    return found | {"adaptive": adaptive_calibration_error(p, y, 0)[0]}


def measured(rate: float, mixup: bool, seed: int) -> dict[str, Any]:
    """The figures of one network on the 3,000 pictures that it wasn't trained on; temperatures are cross-fitted."""
    x, given, clean = pictures(rate)
    half = len(x) // 2
    net = trained(x[:half], given[:half], mixup, seed)
    with torch.inference_mode():
        z = net(torch.from_numpy(x)).double().numpy()
    given_test, clean_test, z_test = given[half:], clean[half:], z[half:]
    logp = z_test - log_total(z_test, 1.0)[:, None]
    side = np.random.default_rng(seed).permutation(half) % 2
    fits = [best_temperature(logp[side == one], logp[side == one, given_test[side == one]]) for one in (0, 1)]
    t = np.array(fits)[1 - side]
    after = logp / t[:, None] - log_total(logp, t)[:, None]
    return {
        "training_accuracy": float((z[:half].argmax(axis=1) == given[:half]).mean()),
        "temperature": float(np.mean(fits)),
        "lbfgs": {str(lr): one_call(z_test, given_test, lr) for lr in (0.01, 1.0)},
        "given": errors(logp, given_test),
        "clean": errors(logp, clean_test),
        "given_tempered": errors(after, given_test),
        "clean_tempered": errors(after, clean_test),
    }


def main() -> None:
    """Train, measure, and print JSON, a list of seeds for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds, begun = range(parser.parse_args().seeds), time.process_time()
    cases = {"plain": (0.3, False), "mixup": (0.3, True), "without_overlap": (0.0, False)}
    found: dict[str, Any] = {name: [measured(*case, seed) for seed in seeds] for name, case in cases.items()}
    print(json.dumps({**found, "cpu_seconds": round(time.process_time() - begun, 1)}, indent=1))


if __name__ == "__main__":
    main()
