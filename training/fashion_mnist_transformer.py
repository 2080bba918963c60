"""Train a small vision transformer on Fashion-MNIST, plain or with robust attention (after Guo et al., ICCV 2023).

It has 7×7 tokens of 4×4 pixels, four blocks and 0.2 M parameters. Two options change its attention:

- `--tap`, token-aware average pooling: before attention, each token is mixed with the means of the tokens around it, at
  several distances, by weights that it predicts.
- `--adl 1`, attention diversification: the loss grows, this many times, by how alike the rows of a block's attention
  are to their mean. An attention that is the same for all tokens depends on few of them.

The folder it writes has the weights and a file that a report can name:

    variorum evaluate EDITION --model module:FOLDER/model.py:load --preprocess "grey resize=28x28 mean=0.5 std=0.5"
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from training.fashion_mnist import CLASSES, DEBIAN, SIDE, read
from training.fashion_mnist_judge import BATCH, share, shifted, tensor

PATCH, WIDTH, HEADS, BLOCKS, RATE = 4, 64, 4, 4, 2e-3
TOKENS = SIDE // PATCH
"""Along each side."""
DISTANCES = (0, 1, 2, 3)
"""Between a token and its neighbours in a mean; at 0 it is the token itself."""
LOADED = """from pathlib import Path

from training.fashion_mnist_transformer import loaded


def load():
    return loaded(Path(__file__).parent)
"""


class Pooling(nn.Module):
    """Tokens `[N, T², width]` mixed with means of the 3×3 tokens at each of `DISTANCES`; beyond the border are none."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Linear(WIDTH, len(DISTANCES))
        gaps = torch.cartesian_prod(*2 * [torch.arange(TOKENS)]).float()
        gaps = (gaps[:, None] - gaps).abs()
        near = torch.stack([((gaps == 0) | (gaps == distance)).all(2).float() for distance in DISTANCES])
        self.register_buffer("means", near / near.sum(2, keepdim=True), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The mixed tokens."""
        found = self.means @ tokens[:, None]
        return (found * self.weigh(tokens).softmax(2).transpose(1, 2)[..., None]).sum(1)


class Block(nn.Module):
    """Attention and two layers, each added to what comes in; `attention` is the last one, `[N, heads, T², T²]`."""

    def __init__(self, tap: bool) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.pool = Pooling() if tap else nn.Identity()
        self.asked, self.told = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens `[N, T², width]`."""
        parts = self.asked(self.pool(self.before(tokens))).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        self.attention = (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)
        tokens = tokens + self.told((self.attention @ value).transpose(1, 2).flatten(2))
        return tokens + self.layers(self.after(tokens))


class Transformer(nn.Module):
    """From grey pictures `[N, 1, 28, 28]` in [-1, 1] to logits `[N, 10]`."""

    def __init__(self, *, tap: bool = False) -> None:
        super().__init__()
        self.classes = CLASSES
        self.cut = nn.Conv2d(1, WIDTH, PATCH, PATCH)
        self.places = nn.Parameter(0.02 * torch.randn(TOKENS**2, WIDTH))
        self.blocks = nn.Sequential(*(Block(tap) for _ in range(BLOCKS)))
        self.norm, self.answer = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(CLASSES))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits."""
        tokens = self.cut(batch).flatten(2).transpose(1, 2) + self.places
        return self.answer(self.norm(self.blocks(tokens)).mean(1))

    def likeness(self) -> torch.Tensor:
        """How alike the last attentions' rows are: mean over blocks of `alike`."""
        return torch.stack([alike(block.attention.mean(1)).mean() for block in self.blocks]).mean()


def alike(attention: torch.Tensor) -> torch.Tensor:
    """Mean cosine `[N]` between the rows of attentions `[N, T, T]` and their mean, from 0 to 1.

    What is below twice the mean attention, 2 / T, counts as 0, in the rows and in the mean. The mean's entries average
    1 / T at most, so often nothing is left of it, and the value is 0.
    """
    least = 2 / attention.shape[-1]
    rows = attention * (attention >= least)
    mean = rows.mean(1, keepdim=True)
    return functional.cosine_similarity(rows, mean * (mean >= least), dim=2, eps=1e-8).mean(1)


def loaded(folder: Path) -> Transformer:
    """The trained network of a folder."""
    state = load_file(folder / "model.safetensors")
    model = Transformer(tap=any(".pool." in name for name in state))
    model.load_state_dict(state)
    return model.eval()


def train(arguments: argparse.Namespace) -> dict[str, float]:
    """Train, write the folder, and give accuracy and likeness of attentions on the real test set."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    rng = torch.Generator().manual_seed(arguments.seed)
    images, labels = (part[: arguments.pictures] for part in read("train", arguments.data))
    targets = torch.from_numpy(labels)
    model = Transformer(tap=arguments.tap)
    steps = len(targets) // BATCH * arguments.epochs
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    began = time.process_time()
    for _ in range(arguments.epochs):
        for picked in torch.randperm(len(targets), generator=rng)[: len(targets) // BATCH * BATCH].split(BATCH):
            loss = functional.cross_entropy(model(shifted(tensor(images[picked.numpy()]), rng)), targets[picked])
            if arguments.adl:
                loss = loss + arguments.adl * model.likeness()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    minutes = (time.process_time() - began) / 60
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), arguments.out / "model.safetensors")
    (arguments.out / "model.py").write_text(LOADED)
    model, (images, labels) = loaded(arguments.out), read("t10k", arguments.data)
    found, likeness = [], []
    with torch.inference_mode():
        for batch in tensor(images).split(500):
            found.append(model(batch).argmax(1))
            likeness.append(torch.stack([alike(block.attention.mean(1)) for block in model.blocks]))
    alikes = torch.cat(likeness, 1)
    return {
        "steps": steps,
        "test_accuracy": share(torch.cat(found) == torch.from_numpy(labels)),
        "likeness": share(alikes),
        "nothing_left": share(alikes == 0),
        "cpu_minutes": round(minutes, 2),
    }


def main() -> None:
    """Parse, train, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tap", action="store_true", help="token-aware average pooling")
    parser.add_argument("--adl", type=float, default=0.0, help="weight of attention diversification, such as 1")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--pictures", type=int, help="of the training set, the first of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=DEBIAN, help="folder of the four IDX files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    print(json.dumps(train(parser.parse_args())))


if __name__ == "__main__":
    main()
