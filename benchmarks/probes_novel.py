"""Novel classes of Fashion-MNIST: does training on a sphere help to recognise classes that weren't learnt?

Perceptrons 784-256-64 learn seven classes by plain logits or scaled cosines (Pereira et al., arXiv 2102.03243); the
nearest mean recognises three others, as in `transfer_probe`. One JSON, with mean, least and largest of three seeds: the
AUROC, and for 1, 5 and 20 shots the accuracy among novel and among all classes.
"""

import json

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from variorum.evaluation.probes.probing import never_seen, prepared, unlike
from variorum.sources.fashion_mnist import DEBIAN, FILES, idx_files
from variorum.sources.folders.idx import read_idx

NOVEL, KNOWN = [2, 6, 7], [0, 1, 3, 4, 5, 8, 9]


def pictures(part: str, per_class: int) -> tuple[torch.Tensor, np.ndarray]:
    """The first pictures of each class in [-1, 1], `[N, 784]`, and their classes."""
    images, labels = map(read_idx, idx_files(FILES[part], DEBIAN))
    rows = np.concatenate([np.flatnonzero(labels == one)[:per_class] for one in range(10)])
    return torch.from_numpy(images[rows].reshape(-1, 784).astype(np.float32) / 127.5 - 1), labels[rows].astype(int)


def trained(scale: float, seed: int) -> nn.Module:
    """From pixels to the embedding `[N, 64]`, learnt by cosines times `scale`, or by plain logits if that is 0."""
    torch.manual_seed(seed)
    embed, last = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 64)), nn.Linear(64, 7, bias=not scale)
    optimiser = torch.optim.Adam([*embed.parameters(), *last.parameters()], 1e-3)
    rows, target = torch.from_numpy(np.flatnonzero(np.isin(y, KNOWN))), torch.from_numpy(np.searchsorted(KNOWN, y))
    for batch in (part for _ in range(10) for part in rows[torch.randperm(len(rows))].split(64)):
        features = embed(x[batch])
        logits = scale * normalize(features) @ normalize(last.weight).T if scale else last(features)
        optimiser.zero_grad()
        cross_entropy(logits, target[batch]).backward()
        optimiser.step()
    return embed


(x, y), (asked, truth) = pictures("train", 1000), pictures("test", 300)
new, told = np.isin(truth, NOVEL), {}
for name, scale in {"pixels": None, "plain": 0.0, "cosine 16": 16.0, "cosine 1": 1.0}.items():
    found = []
    for seed in range(3):
        embed, rng = nn.Identity() if scale is None else trained(scale, seed), np.random.default_rng(seed)
        one, two = (prepared(embed(part).detach().numpy(), False) for part in (x, asked))
        score, test = unlike(one, y, KNOWN, two), (two[new], truth[new])
        shares = [never_seen((one, y), test, (KNOWN, NOVEL), shot, 50, rng) or () for shot in (1, 5, 20)]
        found.append([(score[~new][:, None] > score[new]).mean(), *(part.mean() for both in shares for part in both)])
    told[name] = [[round(float(of(one)), 3) for of in (np.mean, min, max)] for one in np.transpose(found)]
print(json.dumps(told))
