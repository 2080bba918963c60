"""Maps beside captum's on one network and picture: the largest difference, and the least CPU milliseconds of each.

Without captum (`pip install --no-deps captum`, into a folder that PYTHONPATH names) only our own times are measured.
"""

import importlib.util
import json
import time

import numpy as np
import skimage.data
import torch

from variorum.evaluation.attribution.maps import AT_ONCE, GRADIENTS, STEPS, by_gradients, size_of, window_of
from variorum.models import ModelTable
from variorum.models.device import float32, one_thread

MODELS, IMAGE = ModelTable("embedded"), np.ascontiguousarray(skimage.data.chelsea()[:256, :256])
GROUND = np.full_like(IMAGE, 128)
NETWORK = MODELS.get(MODELS.steering("classifier_gate"))
TARGET, WINDOW = int(NETWORK.answers([IMAGE]).argmax()), window_of(NETWORK.seen(256, 256).numpy())


def captums(name):
    from captum import attr

    x = torch.from_numpy(IMAGE.transpose(2, 0, 1)[None].astype(np.float32) / 255).requires_grad_()
    start, score = torch.full_like(x, np.float32(128) / 255), lambda x: NETWORK._network(NETWORK._input(x))[0]
    if name == "grad_cam":
        way = attr.LayerGradCam(score, NETWORK._network.get_submodule(NETWORK.mapped(x)[2]))
        small = way.attribute(x, TARGET, relu_attributions=True)
        return attr.LayerAttribution.interpolate(small, size_of(WINDOW), "bilinear")[0, 0]
    if name == "integrated_gradients":
        way = attr.IntegratedGradients(score)
        return way.attribute(x, start, TARGET, n_steps=STEPS, internal_batch_size=AT_ONCE)[0].sum(0)
    slope = attr.Saliency(score).attribute(x, TARGET, abs=name == "gradient")
    return slope[0].amax(0) if name == "gradient" else (slope * (x - start))[0].sum(0)


def least(make, name, times=7):
    spent = []
    for _ in range(times):
        began = time.process_time()
        found = make(name)
        spent.append(round(1000 * (time.process_time() - began), 1))
    return found, min(spent)


with one_thread(), float32():
    told = {}
    for one in GRADIENTS:
        ours, ms = least(lambda name: by_gradients(NETWORK, IMAGE, GROUND, TARGET, [name], WINDOW)[0][name], one)
        told[one] = {"ms": ms}
        if importlib.util.find_spec("captum"):
            theirs, told[one]["captum_ms"] = least(captums, one)
            theirs, ours = theirs.detach().numpy(), ours[WINDOW] if one == "grad_cam" else ours
            told[one]["difference"] = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    print(json.dumps(told))
