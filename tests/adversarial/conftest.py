"""Small networks of fixed weights, as users bring them, and pictures that they are right about."""

from __future__ import annotations

import numpy as np
import pytest

from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.sample import CAPTURED, Sample, source_id

CLASSES = ("apple", "bread", "clock", "drum", "egg")
SIDE = 28


def network(seed, *, flat=False):
    """A bare module of PyTorch: two convolutions, an activation that writes into its input, a linear layer."""
    import torch
    from torch import nn

    made = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, len(CLASSES)),
    )  # fmt: skip
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in made.parameters():
            weights.copy_(torch.randn(weights.shape, generator=draw) * (0 if flat else 0.6))
    return made.eval()


def surer_when_bright(inner):
    """A network that is so sure of a bright picture that its cross-entropy has no gradient."""
    import torch
    from torch import nn

    class Surer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x) * 3 * torch.exp(12 * (x.mean((1, 2, 3)) - 0.6))[:, None]

    return Surer().eval()


def without_gradients(inner):
    """A network whose gradient isn't a number, whatever the picture."""
    from torch import nn

    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x) + 0 * (x - x.detach()).abs().sum().sqrt()

    return Broken().eval()


@pytest.fixture(scope="session")
def models():
    """The packaged models and `tiny`, `other`, `bright`, `broken`, `answers`.

    The answers of `flat` don't depend on the picture.
    """

    def brought(name, made):
        return from_function(made, name=name, classes=CLASSES, revision="1", preprocess="none")

    tiny = brought("tiny", network(1))
    given = {"tiny": tiny, "other": brought("other", network(5)), "flat": brought("flat", network(1, flat=True))}
    given["bright"] = brought("bright", surer_when_bright(network(1)))
    given["broken"] = brought("broken", without_gradients(network(1)))
    given["answers"] = from_function(lambda images: tiny(images), name="answers", classes=CLASSES, revision="1")
    return ModelTable("embedded").with_models(given)


@pytest.fixture(scope="session")
def ctx(models):
    classes = tuple(ClassInfo(name, name) for name in CLASSES)
    return Context(seed=3, models=models, memo=lambda key, compute: compute(), classes=classes)


@pytest.fixture(scope="session")
def samples(models):
    """Eight crops of a photograph, labelled as `tiny` answers; the last is labelled otherwise, one is grey."""
    import skimage.data

    cat = skimage.data.chelsea()
    images = [
        np.ascontiguousarray(cat[30 * n : 30 * n + 4 * SIDE : 4, 40 * n : 40 * n + 4 * SIDE : 4]) for n in range(6)
    ]
    images += [np.ascontiguousarray(np.repeat(images[2][..., :1], 3, 2)), images[0][::-1].copy()]
    said = models.get("tiny")(images).argmax(1)
    said[-1] = (said[-1] + 1) % len(CLASSES)
    return [
        Sample(source_id("test", str(n)), image, labels=(CLASSES[label],), digital_source_type=CAPTURED)
        for n, (image, label) in enumerate(zip(images, said, strict=True))
    ]
