"""Novel classes of Fashion-MNIST: does training on a sphere help to recognise classes that weren't learnt?

    python benchmarks/probes_novel.py [seeds]

Perceptrons 784-256-64 learn seven classes from 1000 pictures each, by cross-entropy on linear outputs, or on the scaled
cosine between the embedding and a vector of each class (Pereira et al., arXiv 2102.03243). Pullover, shirt and sneaker
are left out, and recognised by the nearest mean of a few pictures, as in the evaluation `transfer_probe`: 300 pictures
of each class of the test set are asked about. Rows are means over seeds, with the least and the largest.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from variorum.evaluation.probes.probing import never_seen, prepared, unlike
from variorum.sources.class_names import read_classes
from variorum.sources.fashion_mnist import DEBIAN, FILES, idx_files
from variorum.sources.folders.idx import read_idx

NOVEL = ("pullover", "shirt", "sneaker")
SHOTS, DRAWS = (1, 5, 20), 50
LEARNT, ASKED = 1000, 300
EPOCHS, BATCH = 10, 64


class Perceptron(torch.nn.Module):
    """Pixels `[N, 784]` to logits, and to the embedding `[N, 64]`; `scale` is that of cosines, 0 for plain logits."""

    def __init__(self, classes: int, scale: float) -> None:
        super().__init__()
        self.embed = torch.nn.Sequential(torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64))
        self.last, self.scale = torch.nn.Linear(64, classes, bias=scale == 0), scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[N, classes]`."""
        normal = torch.nn.functional.normalize
        features = self.embed(x)
        return self.scale * normal(features) @ normal(self.last.weight).T if self.scale else self.last(features)


def pictures(part: str, per_class: int) -> tuple[torch.Tensor, np.ndarray]:
    """The first pictures of each class in [-1, 1], and their classes."""
    images, labels = (read_idx(path) for path in idx_files(FILES[part], DEBIAN))
    rows = np.concatenate([np.flatnonzero(labels == one)[:per_class] for one in range(10)])
    return torch.from_numpy(images[rows].reshape(-1, 784).astype(np.float32) / 127.5 - 1), labels[rows].astype(int)


def trained(x: torch.Tensor, y: np.ndarray, known: list[int], scale: float, seed: int) -> Perceptron:
    """A perceptron after `EPOCHS` on the known classes."""
    torch.manual_seed(seed)
    model, rows = Perceptron(len(known), scale), np.flatnonzero(np.isin(y, known))
    target = torch.from_numpy(np.searchsorted(known, y))
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for batch in torch.from_numpy(rows)[torch.randperm(len(rows))].split(BATCH):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), target[batch]).backward()
            optimiser.step()
    return model


def main() -> None:
    """Print a row for each way to train, and for pixels."""
    names = [one.id for one in read_classes("fashion_mnist")]
    novel = sorted(names.index(one) for one in NOVEL)
    known = [one for one in range(10) if one not in novel]
    (x, y), (asked, truth) = pictures("train", LEARNT), pictures("test", ASKED)
    print(f"{'':12}AUROC known/novel", *(f"{shot:>2} shots: among novel / among all" for shot in SHOTS), sep=" | ")
    for name, scale in (("pixels", None), ("plain", 0.0), ("cosine 16", 16.0), ("cosine 1", 1.0)):
        found = []
        for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
            embed = torch.nn.Identity() if scale is None else trained(x, y, known, scale, seed).embed
            with torch.no_grad():
                one, two = (prepared(embed(part).numpy(), False) for part in (x, asked))
            score, is_novel = unlike(one, y, known, two), np.isin(truth, novel)
            row = [(score[~is_novel][:, None] > score[is_novel]).mean()]
            for shot in SHOTS:
                rng = np.random.default_rng(seed)
                test = two[is_novel], truth[is_novel]
                row += [part.mean() for part in never_seen((one, y), test, (known, novel), shot, DRAWS, rng) or ()]
            found.append(row)
        values = np.array(found)
        print(f"{name:12}", *(f"{m:.3f} [{a:.3f}, {b:.3f}]" for m, a, b in zip(values.mean(0), values.min(0), values.max(0), strict=True)), sep=" | ")  # fmt: skip  # noqa: E501


if __name__ == "__main__":
    main()
