"""Find the prompts of the defence `frequency_prompt` for a model: patterns of middle and high frequencies.

After Huang et al. (ICCV 2023, arXiv 2308.10315), whose repository has no code. The training pictures are put into
clusters by the model's embedding, and each cluster gets a pattern that lowers the model's cross-entropy on its
pictures, clean and under noise. The model itself stays as it is. All pictures have one size, with even sides.

    python training/frequency_prompt.py judge prompts.safetensors --pictures 2000
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from variorum.kit.predicted.answers import answers
from variorum.models import ModelTable
from variorum.models.gradients import adversary
from variorum.models.loaders.frequency_prompt import prompted
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component

BATCH, NOISE, RATE = 64, 0.1, 0.02
"""Pictures a step, standard deviation of the noise in [0, 1], and Adam's learning rate."""


def limited(values: Any, low: float, budget: float) -> Any:
    """Spectra of real and imaginary parts `[…, H, W // 2 + 1, 2]` above a frequency, no value beyond the budget."""
    spectra = torch.view_as_complex(values)
    height, width = spectra.shape[-2:]
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(2 * (width - 1))[None]
    inside = (down**2 + across**2).sqrt() >= low / 2  # of Nyquist's
    return spectra * inside * (budget / spectra.abs().clamp_min(1e-12)).clamp_max(1)


def find(network: Any, pictures: Any, labels: Any, cluster: Any, asked: argparse.Namespace) -> Any:
    """Prompts `[C, 1 or 3, H, W // 2 + 1, 2]` by Adam on the cross-entropy of clean and of noisy pictures."""
    draw = torch.Generator().manual_seed(asked.seed)
    channels = 1 if (pictures == pictures[:, :1]).all() else 3
    height, width = pictures.shape[2:]
    values = torch.zeros(asked.clusters, channels, height, width // 2 + 1, 2, requires_grad=True)
    steps = torch.optim.Adam([values], RATE)
    for done in range(asked.passes):
        total = 0.0
        for rows in torch.randperm(len(pictures), generator=draw).split(BATCH):
            clean, spectra = pictures[rows], limited(values, asked.low, asked.budget)[cluster[rows]]
            noisy = (clean + NOISE * torch.randn(clean[:, :channels].shape, generator=draw)).clamp(0, 1)
            said = torch.cat([network(prompted(one, spectra)) for one in (clean, noisy)]).cpu()
            loss = torch.nn.functional.nll_loss(said, labels[rows].repeat(2))
            steps.zero_grad()
            loss.backward()
            steps.step()
            total += loss.item() * len(rows) / len(pictures)
        print(f"pass {done + 1}: loss {total:.4f}")
    return torch.view_as_real(limited(values.detach(), asked.low, asked.budget)).contiguous()


def main() -> None:
    """Train, and write the file."""
    from sklearn.cluster import KMeans

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an alias, or a network by timm: or module:")
    parser.add_argument("file")
    parser.add_argument("--folder", help="with a folder of pictures for each class; by default Fashion-MNIST")
    parser.add_argument("--pictures", type=int, default=2000, help="how many, at random")
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--low", type=float, default=0.3, help="the lowest frequency, as a share of Nyquist's")
    parser.add_argument("--budget", type=float, default=1.0, help="largest value of an orthonormal spectrum, of [0, 1]")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    table = ModelTable("embedded")
    named = {"name": "image_folder", "path": asked.folder} if asked.folder else {"name": "fashion_mnist"}
    source: Any = build_component("source", named, "source")
    ctx = Context(asked.seed, table, lambda _, compute: compute(), source)
    ctx = Context(asked.seed, table, ctx.memo, source, source.classes(ctx))
    rows = np.random.default_rng(asked.seed).permutation(source.size(ctx))[: asked.pictures].tolist()
    samples: list[Any] = [one for row in rows for one in source.read(row, row + 1, ctx)]
    labels = torch.tensor([one.labels[0] for one in answers(samples, [asked.model], ctx)])
    images = [one.image for one in samples]
    found = KMeans(asked.clusters, n_init=3, random_state=asked.seed).fit(table.get(asked.model).features(images))
    network = adversary(asked.model, table.get(table.steering(asked.model)))
    pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    prompts = find(network, pictures, labels, torch.from_numpy(found.labels_).long(), asked)
    save_file({"prompts": prompts, "centres": torch.from_numpy(found.cluster_centers_).float()}, asked.file)


if __name__ == "__main__":
    main()
