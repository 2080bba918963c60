"""Find the prompts of the defence `frequency_prompt` for a model: patterns of middle and high frequencies.

After Huang et al. (ICCV 2023, arXiv 2308.10315), whose repository has no code. The training pictures are put into
clusters by the model's embedding, and each cluster gets a pattern that lowers the model's cross-entropy on its
pictures, clean and under noise. The model itself stays as it is. All pictures have one size.

    python training/frequency_prompt.py judge prompts.safetensors --pictures 2000
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from variorum.kit.predicted.answers import outputs_of
from variorum.models import ModelTable
from variorum.models.gradients import adversary
from variorum.models.loaders.frequency_prompt import prompted
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Sample

BATCH = 64


def band(side: int, low: float) -> Any:
    """The frequencies that prompts may have, `[side, side // 2 + 1]`: radius at least `low` times Nyquist's."""
    down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    return (down**2 + across**2).sqrt() >= low / 2


def limited(spectra: Any, mask: Any, budget: float) -> Any:
    """Spectra `[…, side, side // 2 + 1]` inside of the band, no value larger than the budget."""
    size = spectra.abs().clamp_min(1e-12)
    return spectra * mask * (budget / size).clamp_max(1)


def clusters(embedding: Any, number: int, seed: int) -> tuple[Any, Any]:
    """Centres `[C, d]` of k-means, and the nearest one of each row, `[N]`."""
    from sklearn.cluster import KMeans

    found = KMeans(number, n_init=3, random_state=seed).fit(embedding)
    return torch.from_numpy(found.cluster_centers_.astype(np.float32)), torch.from_numpy(found.labels_.astype(np.int64))


def find(
    network: Any, pictures: Any, labels: Any, cluster: Any, *, number: int, low: float, budget: float, noise: float,
    passes: int, rate: float, seed: int,
) -> Any:  # fmt: skip
    """Prompts `[C, 1 or 3, side, side // 2 + 1]` by Adam on the cross-entropy of clean and of noisy pictures."""
    draw = torch.Generator().manual_seed(seed)
    side, grey = pictures.shape[-1], bool((pictures == pictures[:, :1]).all())
    mask = band(side, low)
    values = torch.zeros(number, 1 if grey else 3, side, side // 2 + 1, 2, requires_grad=True)
    steps = torch.optim.Adam([values], rate)
    for done in range(passes):
        losses = []
        for rows in torch.randperm(len(pictures), generator=draw).split(BATCH):
            spectra = limited(torch.view_as_complex(values), mask, budget)[cluster[rows]]
            shape = pictures[rows][:, :1].shape if grey else pictures[rows].shape
            noisy = (pictures[rows] + noise * torch.randn(shape, generator=draw)).clamp(0, 1)
            said = torch.cat([network(prompted(one, spectra)) for one in (pictures[rows], noisy)])
            loss = torch.nn.functional.nll_loss(said, labels[rows].repeat(2))
            steps.zero_grad()
            loss.backward()
            steps.step()
            losses.append(float(loss.detach()))
        print(f"pass {done + 1}: loss {np.mean(losses):.4f}")
    return limited(torch.view_as_complex(values.detach()), mask, budget)


def main() -> None:
    """Train and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an alias, or a network by timm: or module:")
    parser.add_argument("file", type=Path)
    parser.add_argument("--source", default="fashion_mnist", help="fashion_mnist, or a folder with one for each class")
    parser.add_argument("--pictures", type=int, default=2000, help="how many, at random")
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--low", type=float, default=0.3, help="the lowest frequency, as a share of Nyquist's")
    parser.add_argument("--budget", type=float, default=1.0, help="largest value of an orthonormal spectrum, of [0, 1]")
    parser.add_argument("--noise", type=float, default=0.1, help="standard deviation, of [0, 1]")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    table = ModelTable("embedded")
    named = (
        {"name": "fashion_mnist"} if asked.source == "fashion_mnist" else {"name": "image_folder", "path": asked.source}
    )
    source: Any = build_component("source", named, "source")
    ctx = Context(asked.seed, table, lambda _, compute: compute(), source)
    ctx = Context(asked.seed, table, ctx.memo, source, source.classes(ctx))
    size = source.size(ctx)
    rows = np.random.default_rng(asked.seed).permutation(size)[: asked.pictures]
    samples = [one for row in rows for one in source.read(int(row), int(row) + 1, ctx) if isinstance(one, Sample)]
    images: list[Any] = [one.image for one in samples]
    model = table.get(asked.model)
    outputs = outputs_of(asked.model, model, ctx, {one.labels[0] for one in samples})
    assert outputs is not None, "the model must name its classes"
    network = adversary(asked.model, table.get(table.steering(asked.model)))
    centres, cluster = clusters(np.asarray(model.features(images)), asked.clusters, asked.seed)
    pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor([outputs[one.labels[0]] for one in samples])
    found = find(network, pictures, labels, cluster, number=asked.clusters, low=asked.low, budget=asked.budget,
                 noise=asked.noise, passes=asked.passes, rate=asked.rate, seed=asked.seed)  # fmt: skip
    save_file({"prompts": torch.view_as_real(found).contiguous(), "centres": centres}, asked.file)


if __name__ == "__main__":
    main()
