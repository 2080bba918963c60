"""API tests on random weights that need a GPU: half precision, and offloading together with overlap."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hub_layouts.stable_diffusion import dit

from variorum.models.device import gpu_used
from variorum.models.loaders import find_loader
from variorum.models.memory import free_gpu_memory
from variorum.models.table_entries import Entry

pytestmark = pytest.mark.gpu

TASKS = [("text_to_image", "text_to_image"), ("text_to_image", "xl"), ("image_to_image", "xl"), ("inpaint", "inpaint")]
FAR = 3
"""Grey levels by which pixels may change on average, in half precision on random weights, whose pictures are noise."""


@pytest.fixture(autouse=True)
def _a_gpu():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")


def load(folder, loader="diffusion", dtype="float16", **options):
    fields = {"name": "tiny", "loader": loader, "local": {"path": str(folder)}, "licence": "none", "source": "random"}
    entry = Entry(**fields, dtype=dtype, options=options)
    assert find_loader(loader).problem(entry) == ""
    return find_loader(loader).load(entry, folder, {})


def make(model, task, numbers):
    images = [np.random.default_rng(n).integers(0, 256, (64, 64, 3)).astype(np.uint8) for n in numbers]
    prompts, nothing, seeds = [f"a picture of {n}" for n in numbers], [""] * len(numbers), list(numbers)
    settings = {"steps": 3, "guidance": 4.0}
    if task == "text_to_image":
        return model(prompts, nothing, seeds, size=None, **settings)
    if task == "image_to_image":
        return model(images, prompts, nothing, seeds, strength=0.5, **settings)
    holes = [np.ones((64, 64), bool)] * len(numbers)
    return [filled.image for filled in model(images, holes, seeds)]


def distance(first, second):
    return max(float(np.abs(a.astype(float) - b).mean()) for a, b in zip(first, second, strict=True))


def at_once(model, task):
    """Four batches of two by three threads, so that one is decoded while another is denoised."""
    with ThreadPoolExecutor(3) as pool:
        parts = pool.map(lambda start: make(model, task, [start, start + 1]), range(0, 8, 2))
        return [picture for part in parts for picture in part]


@pytest.mark.parametrize(("task", "folder"), TASKS)
@pytest.mark.parametrize("offload", ["none", "model", "sequential"])
def test_half_precision_beside_overlap_and_offloading(tiny, task, folder, offload):
    """SDXL's VAE changes its dtype to decode, so no other call may use it meanwhile."""
    extra = {"steps": 3} if task == "inpaint" else {}
    model = load(tiny / folder, task=task, offload=offload, **extra)
    assert (model._decoding is model._denoising) == (offload != "none" or (task, folder) == ("image_to_image", "xl"))
    together = at_once(model, task)
    one_by_one = [picture for start in range(0, 8, 2) for picture in make(model, task, [start, start + 1])]
    assert distance(together, one_by_one) < 0.1
    assert min(picture.std() for picture in together) > 2
    full = load(tiny / folder, dtype="float32", task=task, **extra)
    assert distance(together, [picture for n in range(0, 8, 2) for picture in make(full, task, [n, n + 1])]) < FAR


@pytest.mark.parametrize("offload", ["none", "model", "sequential"])
def test_the_transformer_in_half_precision(tmp_path, offload):
    dit(tmp_path)
    settings = {"guidance": 3.0, "steps": 3, "sampler": "ddim"}
    half = load(tmp_path, "class_diffusion", offload=offload)
    made = half([1, 2], [11, 12], **settings)
    with ThreadPoolExecutor(2) as pool:
        again = list(pool.map(lambda _: half([1, 2], [11, 12], **settings), range(4)))
    assert all(distance(made, other) < 0.1 for other in again)
    assert distance(made, load(tmp_path, "class_diffusion", dtype="float32")([1, 2], [11, 12], **settings)) < FAR


@pytest.mark.parametrize("options", [{"compile": True}, {"attention": "xformers"}], ids=["compile", "xformers"])
def test_kernels_change_next_to_nothing(tiny, options):
    if "attention" in options:
        pytest.importorskip("xformers")
    plain, fast = (load(tiny / "text_to_image", task="text_to_image", **more) for more in ({}, options))
    assert distance(make(fast, "text_to_image", [1, 2]), make(plain, "text_to_image", [1, 2])) < FAR


def test_free_memory_is_less_while_something_is_held():
    import torch

    before = free_gpu_memory()
    held = torch.zeros(2**28, device="cuda")  # 1 GiB
    assert before - free_gpu_memory() == pytest.approx(1, abs=0.1)
    del held
    assert free_gpu_memory() == pytest.approx(before, abs=0.1)  # memory that PyTorch has reserved counts as free


def test_a_process_knows_the_gpu_that_it_has_used():
    import torch

    held = torch.zeros(1 << 20, device="cuda")
    assert gpu_used()["gpu"] == torch.cuda.get_device_name()
    assert gpu_used()["gpu_peak_memory"] >= held.nbytes
