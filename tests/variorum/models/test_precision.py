"""TF32 is set for a call and put back: PyTorch's settings exist without a GPU, so they are tested on any machine."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
import torch
from torch import backends

from variorum.models.device import float32, inference

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
