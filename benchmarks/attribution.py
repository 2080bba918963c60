"""Maps beside captum's, of the same network on the same pictures: the largest difference, and how long each takes.

A map must be equal to 1e-5 of its largest value, and at least as fast. captum has no RISE, and without captum only our
own times are measured: install it with `pip install --no-deps captum` into a folder that PYTHONPATH names.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch

from variorum.evaluation.attribution.maps import AT_ONCE, GRADIENTS, STEPS, by_gradients, size_of, window_of
from variorum.models import ModelTable
from variorum.models.device import float32, one_thread

SIDE = 256


def captums(name: str, network: Any, layer: str) -> Callable[..., Any]:
    """How captum makes a map, from the picture, the start and the target to `[H, W]`, or what is seen of it."""
    from captum import attr

    def score(pictures: Any) -> Any:
        return network._network(network._input(pictures))[0]

    if name == "grad_cam":
        ours = attr.LayerGradCam(score, network._network.get_submodule(layer))
        size = size_of(window_of(network.seen(SIDE, SIDE).numpy()))
        return lambda x, _, target: attr.LayerAttribution.interpolate(
            ours.attribute(x.requires_grad_(), target, relu_attributions=True), size, "bilinear"
        )[0, 0]
    if name == "integrated_gradients":
        way = partial(attr.IntegratedGradients(score).attribute, n_steps=STEPS, internal_batch_size=AT_ONCE)
        return lambda x, start, target: way(x, start, target)[0].sum(0)
    slope = attr.Saliency(score)
    if name == "gradient":
        return lambda x, _, target: slope.attribute(x.requires_grad_(), target)[0].amax(0)
    return lambda x, start, target: (slope.attribute(x.requires_grad_(), target, abs=False) * (x - start))[0].sum(0)


def timed(work: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    """What comes of it, and CPU milliseconds, whose least is told: others may share the processor."""
    began = time.process_time()
    return work(*given), 1000 * (time.process_time() - began)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alias", default="classifier_gate")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    models = ModelTable("embedded")
    network: Any = models.get(models.steering(options.alias))
    images = [getattr(skimage.data, name)() for name in ("chelsea", "astronaut", "coffee")]
    images = [cv2.resize(one[:300, :300], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in images]
    window, peer = window_of(network.seen(SIDE, SIDE).numpy()), importlib.util.find_spec("captum") is not None
    found: dict[str, Any] = {"alias": options.alias, "pictures": len(images), "captum": peer}

    def own(image: Any, ground: Any, target: int, name: str) -> Any:
        return by_gradients(network, image, ground, target, [name], window)[0][name]

    def others(image: Any, ground: Any, target: int, make: Any) -> Any:
        x, start = (torch.from_numpy(one.transpose(2, 0, 1)[None].astype(np.float32) / 255) for one in (image, ground))
        return make(x, start, target).detach().numpy().astype(np.float64)

    with one_thread(), float32():
        layer = network.last_map(SIDE, SIDE)
        for name in GRADIENTS:
            make = captums(name, network, layer) if peer else None
            ms, captum_ms, apart = (list[float]() for _ in range(3))
            for image in images * options.rounds:
                given = image, np.full_like(image, 128), int(network.answers([image]).argmax())
                ours, spent = timed(own, *given, name)
                ms.append(spent)
                if make:
                    theirs, spent = timed(others, *given, make)
                    captum_ms.append(spent)
                    ours = ours if theirs.shape == ours.shape else ours[window]
                    apart.append(float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
            found[name] = {"ms": round(min(ms), 1)}
            if make:
                found[name] |= {"captum_ms": round(min(captum_ms), 1), "difference": max(apart)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
