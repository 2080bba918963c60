"""TF32 is set for a call and put back: PyTorch's settings exist without a GPU, so they are tested on any machine."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest
import torch
from random_models import save_random_resnet
from torch import backends

from variorum.models.device import float32, inference
from variorum.models.loaders import find_loader
from variorum.models.table_entries import Entry

PLACES = (backends.cuda.matmul, backends.mkldnn.matmul, backends.cudnn.conv, backends.cudnn.rnn)


def now():
    return [place.fp32_precision for place in PLACES]


def read_by_the_older_interface():
    """None where PyTorch refuses, as it does if a process has used both."""
    try:
        return torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    except RuntimeError:
        return None


@pytest.fixture(params=["untouched", "all", "none", "older"])
def users(request):
    """What a process may have set, by PyTorch's present or its older interface; the state before is put back."""
    before, older = now(), (torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32)
    if request.param == "older":
        torch.set_float32_matmul_precision("medium")
        backends.cudnn.allow_tf32 = False
    elif request.param != "untouched":
        for place in PLACES:
            place.fp32_precision = {"all": "tf32", "none": "ieee"}[request.param]
    yield now()
    torch.set_float32_matmul_precision(older[0])
    backends.cudnn.allow_tf32 = older[1]
    for place, precision in zip(PLACES, before, strict=True):
        place.fp32_precision = precision


@pytest.mark.parametrize(("tf32", "expected"), [(False, ["ieee"] * 4), (True, ["tf32"] * 4)])
def test_it_is_as_asked_inside_and_as_before_behind(users, tf32, expected):
    older = read_by_the_older_interface()
    with inference(tf32):
        assert now() == expected
        if older:
            assert read_by_the_older_interface() == ("high" if tf32 else "highest", tf32)
        assert torch.is_inference_mode_enabled()
        with float32(not tf32):  # the outer one decides
            assert now() == expected
    assert now() == users
    assert older in (None, read_by_the_older_interface())
    with pytest.raises(KeyError), float32(tf32):
        raise KeyError
    assert now() == users


def test_threads_share_a_precision_and_wait_for_another():
    before, inside, leave, order = now(), Barrier(3, timeout=30), Event(), []

    def judge():
        with float32():
            inside.wait()  # both are inside at once
            leave.wait(30)
            order.append(("judge", *now()))

    def painter():
        with float32(True):
            order.append(("painter", *now()))

    with ThreadPoolExecutor(3) as pool:
        judges = [pool.submit(judge), pool.submit(judge)]
        inside.wait()
        waiting = pool.submit(painter)
        leave.set()
        for one in (*judges, waiting):
            one.result()
    assert order == [("judge", *["ieee"] * 4)] * 2 + [("painter", *["tf32"] * 4)]
    assert now() == before


PICTURES = [np.random.default_rng(number).integers(0, 256, (64, 64, 3)).astype(np.uint8) for number in range(2)]
CALLS = {
    "image_classification": ("resnet", lambda model: model(PICTURES)),
    "zero_shot": ("clip", lambda model: model(PICTURES, ["a cat", "a dog"])),
    "clip_embedding": ("clip", lambda model: model(PICTURES)),
    "safety_checker": ("text_to_image", lambda model: model(PICTURES)),
    "autoencoder": ("text_to_image/vae", lambda model: model.decode(model.encode(PICTURES))),
}


@pytest.mark.parametrize("loader", CALLS)
def test_judges_compute_in_full_whatever_a_process_has_set(loader, tiny, tmp_path_factory):
    folder, call = CALLS[loader]
    place = tiny / folder
    if folder == "resnet":
        place = tmp_path_factory.mktemp("resnet")
        save_random_resnet(place, 1000)
    where = {"local": {"path": str(place)}, "licence": "none", "source": "random weights"}
    model = find_loader(loader).load(Entry(name="tiny", loader=loader, **where), place, {})
    before, seen = now(), []
    torch.set_float32_matmul_precision("high")
    hook = torch.nn.modules.module.register_module_forward_pre_hook(lambda *_: seen.append(now()))
    try:
        call(model)
    finally:
        hook.remove()
        torch.set_float32_matmul_precision("highest")
        for one, precision in zip(PLACES, before, strict=True):
            one.fp32_precision = precision
    assert seen
    assert all(one == ["ieee"] * 4 for one in seen)
