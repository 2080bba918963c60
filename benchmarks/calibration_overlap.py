"""Calibration where classes overlap: a plain network and one trained by mixup, before and after temperature scaling.

After Chidambaram and Ge (arXiv 2306.00740), on Fashion-MNIST with labels that `label_overlap` changes. Errors
are counted against these labels and, as in their code, against the clean ones. `lbfgs` has what one call finds.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax

from variorum.kit.predicted import calibration as kit
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.statistics import best_temperature

EACH, EPOCHS, BATCH, CLASSES, SEEDS = 300, 40, 64, 10, 3


def pictures(rate: float) -> tuple[Any, Any, Any]:
    """Pictures `[6000, 784]` in [0, 1], given and clean labels; of each class the first 300 are for training."""
    clothes = {"name": "fashion_mnist", "per_class": 2 * EACH}
    fields = {"name": "label_overlap", "of": clothes, "rate": rate, "pairs": "confusable"}
    source: Any = build_component("source", fields, "source")
    ctx = Context(1, ModelTable("embedded"), lambda key, compute: compute())
    place = {one.id: number for number, one in enumerate(source.classes(ctx))}
    samples = list(source.read(0, source.size(ctx), ctx))
    given = np.array([place[one.labels[0]] for one in samples])
    clean = np.array([place[one.metadata["clean_label"]] for one in samples])
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
        for batch in torch.from_numpy(rng.permutation(len(x))).split(BATCH):
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
    t, z, y = torch.ones(1, requires_grad=True), torch.from_numpy(z), torch.from_numpy(y)
    optimiser = torch.optim.LBFGS([t], lr=rate)

    def loss() -> Any:
        optimiser.zero_grad()
        found = torch.nn.functional.cross_entropy(z / t, y)
        found.backward()
        return found

    optimiser.step(loss)
    return float(t.detach())


def errors(logp: Any, y: Any) -> dict[str, float]:
    """Expected error with its floor, adaptive error and negative log-likelihood."""
    p = np.exp(logp)
    ece = kit.expected_calibration_error(kit.reliability(p.max(axis=1), p.argmax(axis=1) == y))
    adaptive, nll = kit.adaptive_calibration_error(p, y, 0)[0], float(-logp[np.arange(len(y)), y].mean())
    return {"ece": ece, "floor": kit.error_by_chance(p.max(axis=1), 0), "adaptive": adaptive, "nll": nll}


def measured(rate: float, mixup: bool, seed: int) -> dict[str, Any]:
    """The figures of one network on the 3,000 pictures that it wasn't trained on; temperatures are cross-fitted."""
    x, given, clean = pictures(rate)
    half = len(x) // 2
    net = trained(x[:half], given[:half], mixup, seed)
    with torch.inference_mode():
        z = net(torch.from_numpy(x)).double().numpy()
    accuracy = float((z[:half].argmax(axis=1) == given[:half]).mean())
    z, given, clean = z[half:], given[half:], clean[half:]
    logp = log_softmax(z, axis=1)
    side = np.random.default_rng(seed).permutation(half) % 2
    fits = [best_temperature(logp[side == one], logp[side == one, given[side == one]]) for one in (0, 1)]
    t = np.array(fits)[1 - side]
    after = log_softmax(logp / t[:, None], axis=1)
    lbfgs = {str(lr): one_call(z, given, lr) for lr in (0.01, 1.0)}
    cases = {"given": (logp, given), "clean": (logp, clean), "given_t": (after, given), "clean_t": (after, clean)}
    told = {name: errors(*case) for name, case in cases.items()}
    return {"training_accuracy": accuracy, "temperature": float(np.mean(fits)), "lbfgs": lbfgs, **told}


if __name__ == "__main__":
    cases = {"plain": (0.3, False), "mixup": (0.3, True), "without_overlap": (0.0, False)}
    found: dict[str, Any] = {name: [measured(*case, seed) for seed in range(SEEDS)] for name, case in cases.items()}
    print(json.dumps({**found, "cpu_seconds": round(time.process_time(), 1)}, indent=1))
