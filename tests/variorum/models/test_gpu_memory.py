"""Too little GPU memory: reported before work begins if possible, else by one readable line."""

import logging
from dataclasses import replace

import pytest

from variorum.kit.pictures.batches import in_parts
from variorum.models import ModelTable, memory
from variorum.models.loaders import shift_map
from variorum.models.memory import free_gpu_memory, running_out, too_large
from variorum.models.table_entries import Entry
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelUnavailable


def entry(vram, name="mine", each=0):
    return Entry(name=name, loader="shift_map", licence="none", source="me", vram=vram, vram_each=each)


@pytest.fixture
def free(monkeypatch):
    def gib(value):
        monkeypatch.setattr(memory, "free_gpu_memory", lambda: value)

    return gib


def test_a_model_larger_than_what_is_free_is_named_with_the_ways_out(free):
    free(3.25)
    (line,) = too_large({"painter": entry(10, "sdxl"), "judge": entry(2), "tiny": entry(0)}, {})
    assert "'painter' (sdxl) wants 10 GiB of GPU memory, but 3.25 are free" in line
    assert "offload, vae_slicing and vae_tiling" in line
    assert "$VARIORUM_MODELS" in line
    free(10)
    assert too_large({"painter": entry(10)}, {}) == []
    free(None)  # no GPU
    assert too_large({"painter": entry(10)}, {}) == []


def test_models_that_fit_one_by_one_are_only_warned_of(free, caplog):
    free(10)
    with caplog.at_level(logging.WARNING, "variorum.models.memory"):
        assert too_large({"painter": entry(8), "judge": entry(3)}, {}) == []
    (record,) = caplog.records
    assert "painter, judge want an estimated 11 GiB of GPU memory together, but 10 are free" in record.getMessage()


def test_a_batch_that_doesn_t_fit_is_warned_of_with_one_that_does(free, caplog):
    free(12)
    with caplog.at_level(logging.WARNING, "variorum.models.memory"):
        assert too_large({"painter": entry(8, each=1.5)}, {"painter": 8}) == []
        assert too_large({"painter": entry(8, each=1.5)}, {"painter": 3}) == []
    (record,) = caplog.records
    said = "model 'painter' wants 18.5 GiB of GPU memory for a batch of 8, but 12 are free: set `batch` to 3"
    assert record.getMessage() == said
    free(7)
    (line,) = too_large({"painter": entry(8, each=1.5)}, {"painter": 8})
    assert "wants 8 GiB of GPU memory, but 7 are free" in line


def test_a_recipe_s_batch_reaches_the_check(table, free, caplog):
    from variorum.schemas.lookup import build_component
    from variorum.stages.job import check_models

    free(20)
    ctx = Context(seed=0, models=table, memo=None)
    route = build_component("generate", {"name": "text_to_image", "model": "mine", "batch": 32}, "generate")
    with caplog.at_level(logging.WARNING, "variorum.models.memory"):
        check_models([route.model_copy(update={"safety": route.safety.model_copy(update={"checker": None})})], ctx)
    assert (
        "model 'mine' wants 21.5 GiB of GPU memory for a batch of 32, but 20 are free: set `batch` to 29" in caplog.text
    )


def test_nobody_asks_pytorch_where_no_model_wants_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_gpu_memory", lambda: pytest.fail("asked"))
    assert too_large({"small": entry(0)}, {}) == []


def test_without_a_gpu_there_is_nothing_to_measure(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert free_gpu_memory() is None


def test_what_pytorch_keeps_unused_counts_as_free(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * 2**30, 8 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 2**30)
    assert free_gpu_memory() == 4


LONG = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which 1.00 GiB is free. "
    "Of the allocated memory 6.00 GiB is allocated by PyTorch. If reserved but unallocated memory is large …"
)


def test_the_last_error_for_too_little_memory_is_one_line():
    from torch import OutOfMemoryError

    @running_out()
    def work():
        raise OutOfMemoryError(LONG)

    with pytest.raises(ModelUnavailable, match=r"^the GPU ran out of memory \(CUDA out of memory\. Tried") as raised:
        work()
    said = str(raised.value)
    assert "1.00 GiB is free): end other programs" in said
    assert "lower `batch` or `size`" in said
    assert "\n" not in said
    assert isinstance(raised.value.__cause__, OutOfMemoryError)


def test_too_little_memory_for_one_picture_says_whose():
    from torch import OutOfMemoryError

    def call(part):
        raise OutOfMemoryError(LONG)

    said = r"^painter, one picture at a time: the GPU ran out of memory \(.*2\.00 GiB.*1\.00 GiB is free\): end other"
    with pytest.raises(ModelUnavailable, match=said), running_out():
        in_parts(call, range(4), 4, "painter")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("no")])
def test_other_errors_pass(error):
    with pytest.raises(type(error), match=str(error)), running_out("x"):
        raise error


@pytest.fixture
def table(tmp_path, monkeypatch):
    """`mine` uses `other`; both want memory."""
    text = ""
    for alias, vram, uses in (("mine", 6, '["other"]'), ("other", 3, "[]")):
        text += f'[{alias}]\nname = "{alias}"\nloader = "shift_map"\nuses = {uses}\nvram = {vram}\n'
        text += "vram_each = 0.5\n"
        text += f'options = {{ side = {100 + vram} }}\nlicence = "none"\nsource = "me"\n'
    (tmp_path / "mine.toml").write_text(text)
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "mine.toml"))
    return ModelTable("embedded", tmp_path)


def test_a_table_looks_at_what_isnt_loaded_yet_and_at_what_it_uses(table, free):
    free(2)
    with pytest.raises(ModelUnavailable, match=r"'mine' .*6 GiB.*\n.*'other' .*3 GiB"):
        table.check(["mine", "inpainter"])
    table.get("other")
    with pytest.raises(ModelUnavailable, match="'mine'") as raised:
        table.check(["mine"])
    assert "'other'" not in str(raised.value)
    table.get("mine")
    table.check(["mine"])


def test_a_model_that_doesnt_fit_when_it_is_loaded_is_named(table, monkeypatch):
    from torch import OutOfMemoryError

    def load(*_args):
        raise OutOfMemoryError(LONG)

    monkeypatch.setattr(shift_map, "SHIFT_MAP", replace(shift_map.SHIFT_MAP, make=load))
    with pytest.raises(ModelUnavailable, match=r"model 'other' \(other\) doesn't fit: the GPU ran out of memory"):
        table.get("other")
