"""Networks that users trained, named as `timm:` and `torchvision:` checkpoints, are attacked like any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from variorum.evaluation.adversarial.adversarial_transfer import AdversarialTransfer
from variorum.generators.adversarial.feature_distillation import FeatureDistillation, variant_of
from variorum.models import ModelTable
from variorum.pixels import decode
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Failure
from variorum.sources.fashion_mnist import DEBIAN, FashionMnist

CLOTHES = ("bag", "sneaker", "trouser")


def trained(network, images, labels, side):
    """A network after a few passes over pictures, shown at this size."""
    x = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    x = torch.nn.functional.interpolate(x, (side, side), mode="bilinear")
    x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    y, draw = torch.tensor(labels), torch.Generator().manual_seed(0)
    steps = torch.optim.Adam(network.parameters(), 0.002)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.3  # few steps
    for _ in range(4):
        for rows in torch.randperm(len(y), generator=draw).split(15):
            steps.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            steps.step()
    return network.eval()


@pytest.mark.slow
def test_checkpoints_of_timm_and_torchvision_are_attacked(tmp_path):
    """90 pictures of Fashion-MNIST train two small networks; then 12 others are attacked."""
    import timm
    from safetensors.torch import save_file
    from timm.models._hub import save_for_hf
    from torchvision.models import get_model

    if not DEBIAN.exists():
        pytest.skip("Fashion-MNIST isn't here: make fashion")
    there: dict[str, list[np.ndarray]] = {name: [] for name in CLOTHES}
    for one in FashionMnist(part="test").read(
        0, 600, Context(seed=1, models=None, memo=lambda key, compute: compute())
    ):
        if one.labels[0] in there:
            there[one.labels[0]].append(one.image if isinstance(one.image, np.ndarray) else decode(one.image))
    images = [image for name in CLOTHES for image in there[name][:30]]
    labels = [number for number in range(3) for _ in range(30)]
    for name in CLOTHES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number, image in enumerate(there[name][30:34]):
            Image.fromarray(image).save(tmp_path / "photos" / name / f"{number}.png")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        small = timm.create_model("resnet10t", num_classes=3)
        other = get_model("shufflenet_v2_x0_5", weights=None, num_classes=3)
        trained(small, images, labels, 64)
        trained(other, images, labels, 224)
    config = {"label_names": [*CLOTHES]}
    small.pretrained_cfg |= {"input_size": (3, 64, 64), "crop_pct": 1.0}
    save_for_hf(small, tmp_path / "small", model_config=config, safe_serialization=True)
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    names = (f"timm:local-dir:{tmp_path / 'small'}", f"torchvision:shufflenet_v2_x0_5@{tmp_path / 'other.safetensors'}")

    source = build_component("source", {"name": "image_folder", "path": str(tmp_path / "photos")}, "source")
    ctx = Context(seed=1, models=ModelTable("embedded"), memo=lambda key, compute: compute(), source=source)
    own = {"kind": "pgd", "epsilon": 18, "steps": 5}
    attacks = tuple({**own, "name": f"pgd_{n}", "adversaries": (name,)} for n, name in enumerate(names))
    generator = FeatureDistillation(adversaries=names, frame=28, attacks=attacks)
    generator.check(ctx)
    samples = [replace(one, image=decode(one.image)) for one in source.read(0, 12, ctx)]
    made = [one for one in generator.generate(samples, ctx) if not isinstance(one, Failure)]
    control = {one.parent: one for one in made if one.variant == "control"}
    for number, name in enumerate(names):
        attacked = [one for one in made if one.variant == f"pgd_{number}"]
        assert len(attacked) >= 8
        p_label = np.array(
            [[it.ops[-1]["achieved"]["p_label"][name] for it in (control[one.parent], one)] for one in attacked]
        )
        assert (p_label[:, 1] < p_label[:, 0]).all()
        assert (p_label[:, 0] - p_label[:, 1]).mean() > 0.2
        features = [one for one in made if one.variant == variant_of(name)]
        assert len(features) >= 8
        assert all(one.ops[-1]["gates"]["ratio"]["value"] < 0.95 for one in features)
        assert len({one.ops[-1]["achieved"]["layer"] for one in features}) > 4
    seen = replace(ctx, classes=source.classes(ctx))
    rows = list(AdversarialTransfer(classifiers=names[1:], white_box=names).measure(made, seen))
    white = {(row["classifier"], row["variant"]) for row in rows if row["white_box"]}
    assert white == {(name, one) for n, name in enumerate(names) for one in (f"pgd_{n}", variant_of(name))}
    with pytest.raises(RecipeError, match="is a model that the pictures were made to fool"):
        list(AdversarialTransfer(classifiers=names[:1], white_box=()).measure(made, seen))
