"""Which runner a name means, its settings, and what is said if it can't be used."""

from __future__ import annotations

import pytest

from variorum.runners import chosen as module
from variorum.runners.chosen import chosen
from variorum.runners.dask_workers import Settings as DaskSettings
from variorum.runners.ray_actors import Settings as RaySettings
from variorum.runners.ray_actors import engine as ray_engine
from variorum.schemas.errors import RecipeError


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("processes", "thread=2", r"for processes: \.?thread: no such field; there are: threads"),
        ("processes", "threads=many", r"threads: .*valid integer.*'many'"),
        ("processes", "threads", "threads: give a setting as KEY=VALUE; processes has: threads"),
        ("ray", "cpus=0", "cpus: .*greater than or equal to 1"),
        ("dask", "adress=tcp://here:1", "adress: no such field; there are: address, threads, resource"),
        ("slurm", "cluster=debug", "cluster: .*'slurm' or 'local'"),
        ("threads", "threads=2", "runner threads has no settings; processes, ray, dask, slurm have some"),
        ("prefect", "threads=2", "runner prefect has no settings"),
    ],
)
def test_a_wrong_setting_is_named(name, given, said):
    with pytest.raises(RecipeError, match=said):
        chosen(name, 2, [given])


def test_settings_are_numbers_and_texts():
    with chosen("slurm", 2, ["cluster=local", "gpus=2", "partition=long", "memory=1.5"]) as runner:
        found = runner.engine.settings
    assert (found.gpus, found.partition, found.memory, found.minutes) == (2, "long", 1.5, 60)


@pytest.mark.parametrize("name", ["ray", "dask", "slurm"])
def test_a_missing_package_is_named_with_its_extra(name, monkeypatch):
    monkeypatch.setattr(module, "there", lambda package: False)
    with pytest.raises(RecipeError, match=rf"needs the package \w+: pip install 'variorum\[{name}\]'$"):
        chosen(name, 2)


def test_slurm_needs_sbatch(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecipeError, match="needs the command sbatch"):
        chosen("slurm", 2)


@pytest.mark.parametrize(
    ("devices", "workers", "share"), [("0,1", 2, 1.0), ("0,1", 3, 0.5), ("0,1", 4, 0.5), ("0", 4, 0.25), ("", 4, 0.0)]
)
def test_rays_workers_share_the_gpus_of_this_machine(monkeypatch, devices, workers, share):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert ray_engine(RaySettings(), workers).gpus() == share
    assert ray_engine(RaySettings(gpus=0.1), workers).gpus() == 0.1
    assert ray_engine(RaySettings(address="there:1"), workers).gpus() == 0


def test_dasks_settings_have_defaults():
    assert DaskSettings() == DaskSettings(address="", threads=0, resource="")
