"""Three networks that mostly agree, as users bring them, and pictures that they all recognise."""

from __future__ import annotations

import numpy as np
import pytest

from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.sample import CAPTURED, Sample, source_id

CLASSES = ("apple", "bread", "clock", "drum", "egg")
SIDE = 28


def network(away, size=0.6):
    """Two convolutions and a linear layer of fixed weights, which are moved a little in a direction of their own."""
    import torch
    from torch import nn

    made = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, len(CLASSES)),
    )  # fmt: skip
    base, own = torch.Generator().manual_seed(1), torch.Generator().manual_seed(away)
    with torch.no_grad():
        for weights in made.parameters():
            whole = torch.randn(weights.shape, generator=base) + 0.1 * torch.randn(weights.shape, generator=own)
            weights.copy_(whole * size)
    return made.eval()


@pytest.fixture(scope="session")
def models():
    """The packaged models, `pushed`, `oracle` and `audit`, and `flat`, which answers bread whatever the picture."""
    made = {"pushed": network(2), "oracle": network(3), "audit": network(4), "flat": network(5, 0.0)}
    made["flat"][-1].bias.data[CLASSES.index("bread")] = 1
    given = {
        name: from_function(one, name=name, classes=CLASSES, revision="1", preprocess="none")
        for name, one in made.items()
    }
    return ModelTable("embedded").with_models(given)


@pytest.fixture(scope="session")
def ctx(models):
    classes = tuple(ClassInfo(name, name) for name in CLASSES)
    return Context(seed=3, models=models, memo=lambda key, compute: compute(), classes=classes)


@pytest.fixture(scope="session")
def samples(models):
    """Crops of a photograph that `pushed` and `oracle` agree on, with their answer as label; the last is grey."""
    import skimage.data

    cat = skimage.data.chelsea()
    images = [
        np.ascontiguousarray(cat[9 * n : 9 * n + 4 * SIDE : 4, 16 * n : 16 * n + 4 * SIDE : 4]) for n in range(20)
    ]
    images += [np.ascontiguousarray(np.repeat(image[..., :1], 3, 2)) for image in images]
    said = [models.get(name)(images) for name in ("pushed", "oracle")]
    agreed = [
        Sample(source_id("test", str(n)), image, labels=(CLASSES[one.argmax()],), digital_source_type=CAPTURED)
        for n, (image, one, other) in enumerate(zip(images, *said, strict=True))
        if one.argmax() == other.argmax() and other.max() > 0.5
    ]
    grey = [(one.image == one.image[..., :1]).all() for one in agreed]
    return [*[one for one, same in zip(agreed, grey, strict=True) if not same][:6], agreed[grey.index(True)]]
