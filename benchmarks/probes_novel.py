"""Novel classes of Fashion-MNIST: does training on a sphere help to recognise classes that weren't learnt?

    python benchmarks/probes_novel.py

Perceptrons 784-256-64 learn seven classes from 1000 pictures each, by cross-entropy on linear outputs, or on the scaled
cosine between the embedding and a vector of each class (Pereira et al., arXiv 2102.03243). Pullover, shirt and sneaker
are left out, and recognised by the nearest mean of a few pictures, as in the evaluation `transfer_probe`: 300 test
pictures of each class are asked about. Rows are means over three seeds, with the least and the largest.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from variorum.evaluation.probes.probing import never_seen, prepared, unlike
from variorum.sources.fashion_mnist import DEBIAN, FILES, idx_files
from variorum.sources.folders.idx import read_idx

NOVEL, KNOWN = [2, 6, 7], [0, 1, 3, 4, 5, 8, 9]
SHOTS, DRAWS, SEEDS = (1, 5, 20), 50, 3
EPOCHS, BATCH = 10, 64


def pictures(part: str, per_class: int) -> tuple[torch.Tensor, np.ndarray]:
    """The first pictures of each class in [-1, 1], `[N, 784]`, and their classes."""
    images, labels = (read_idx(path) for path in idx_files(FILES[part], DEBIAN))
    rows = np.concatenate([np.flatnonzero(labels == one)[:per_class] for one in range(10)])
    return torch.from_numpy(images[rows].reshape(-1, 784).astype(np.float32) / 127.5 - 1), labels[rows].astype(int)


def trained(x: torch.Tensor, y: np.ndarray, scale: float, seed: int) -> nn.Module:
    """From pixels to the embedding `[N, 64]`, learnt by cosines times `scale`, or by plain logits if that is 0."""
    torch.manual_seed(seed)
    embed, last = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 64)), nn.Linear(64, 7, bias=not scale)
    optimiser = torch.optim.Adam([*embed.parameters(), *last.parameters()], 1e-3)
    rows, target = torch.from_numpy(np.flatnonzero(np.isin(y, KNOWN))), torch.from_numpy(np.searchsorted(KNOWN, y))
    for _ in range(EPOCHS):
        for batch in rows[torch.randperm(len(rows))].split(BATCH):
            features = embed(x[batch])
            logits = scale * normalize(features) @ normalize(last.weight).T if scale else last(features)
            optimiser.zero_grad()
            cross_entropy(logits, target[batch]).backward()
            optimiser.step()
    return embed


(x, y), (asked, truth) = pictures("train", 1000), pictures("test", 300)
is_novel = np.isin(truth, NOVEL)
print("", "AUROC known/novel", *(f"{shot} shots: among {of}" for shot in SHOTS for of in ("novel", "all")), sep=" | ")
for name, scale in {"pixels": None, "plain": 0.0, "cosine 16": 16.0, "cosine 1": 1.0}.items():
    found = []
    for seed in range(SEEDS):
        embed = nn.Identity() if scale is None else trained(x, y, scale, seed)
        with torch.no_grad():
            one, two = (prepared(embed(part).numpy(), False) for part in (x, asked))
        score, test = unlike(one, y, KNOWN, two), (two[is_novel], truth[is_novel])
        row, rng = [(score[~is_novel][:, None] > score[is_novel]).mean()], np.random.default_rng(seed)
        for shot in SHOTS:
            row += [part.mean() for part in never_seen((one, y), test, (KNOWN, NOVEL), shot, DRAWS, rng) or ()]
        found.append(row)
    middle, ends = np.mean(found, 0), (np.min(found, 0), np.max(found, 0))
    print(name, *(f"{m:.3f} [{a:.3f}, {b:.3f}]" for m, a, b in zip(middle, *ends, strict=True)), sep=" | ")
