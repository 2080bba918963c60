"""Every shipped recipe still makes the editions that it made: the digests in digests.json.

Fingerprints (source data, components, model pins, seed) hold on every machine. Digests of whole editions also depend on
how a processor and its libraries round, so they are compared only where those are the recorded ones. To record them
anew after a change that is meant, and noted in CHANGELOG.md: `python tests/contract/test_digests.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from variorum.edition.editions import editions, resolve
from variorum.pipeline import Job, Threads, build, curate, release
from variorum.stages.recipe_files import load_recipe, shipped_recipes

PINNED = Path(__file__).parent / "digests.json"
PACKAGES = (
    "deflate",
    "faiss-cpu",
    "numpy",
    "onnxruntime",
    "opencv-contrib-python-headless",
    "pillow",
    "pyarrow",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "torch",
)
"""Those whose arithmetic or encoding stands in an edition's bytes."""
FOLDER = ["source.name=image_folder", "source.path=photos"]
CLOTHES = ["source.name=image_folder", "source.path=clothes", "samples_per_shard=6"]
STYLES = "generate.domain_stylization.styles={sketch: [pencil], weather: [fog]}"
UNSEEN = ["generate.domain_stylization.detector=null", "evaluate=[]"]
EPISODES = ["way=2", "shot=[1]", "queries=1", "episodes=4", "frame=64"]
TILES = ("windows=1", "tile=64", "most_uneven=9")
ATTACK = "generate.adversarial_example.attacks=[{kind: pgd, epsilon: 8, steps: 3}]"
GUESSED = "generate.adversarial_example.against=prediction"
FEATURES = ("frame=64", "attacks=[{kind: mi_fgsm, epsilon: 18, steps: 3}]", "against=prediction")
EVOLVED = [f"generate.fooling_image.{one}" for one in ("generations=2", "population=20")]
PATCHES = ("frame=64", "patch=14", "steps=3", "positions=[gradient, grid]", "against=prediction")
REGIONS = "generate.safety_verification.regions=[{pixels: 1, levels: 4}, {pixels: 2, levels: 255, step: 255}]"
SHORT = {
    "adversarial": ([*FOLDER, "generate.adversarial_example.frame=64", ATTACK, GUESSED, "evaluate=[]"], 2),
    "adversarial_transfer": (
        [*FOLDER, *(f"generate.feature_distillation.{one}" for one in FEATURES), "evaluate=[]"],
        2,
    ),
    "adversarial_distilled": ([*CLOTHES, "generate.adversarial_example.batch=2", GUESSED, "evaluate=[]"], 2),
    "adversarial_patch": ([*FOLDER, *(f"generate.patch_perturbation.{one}" for one in PATCHES), "evaluate=[]"], 1),
    "adversarial_detection": ([*CLOTHES, GUESSED, "curate=[]", "evaluate=[]"], 2),
    "ai_detection": ([*FOLDER, "generate.detection_arms.frame=64", "splits={}", "curate=[]"], 2),
    "ai_detection_clothes": ([*CLOTHES, "splits={}", "curate=[]"], 2),
    "cnn_filters": (["source.models=[judge]"], 4),
    "coco_o": ([*FOLDER, "generate.domain_stylization.domains=[sketch, weather]", STYLES, *UNSEEN], 2),
    "content_dilution": (["source.name=image_folder", "source.path=told"], 3),
    "cue_conflict": ([*FOLDER], 2),
    "imagenet_c": ([*FOLDER], 1),
    "imagenet_e": ([*FOLDER], 4),
    "fmr": ([*FOLDER, "generate.oracle_perturbation.frame=64", "evaluate=[]"], 2),
    "few_shot": ([*FOLDER, *[f"generate.few_shot_episodes.{one}" for one in EPISODES]], 6),
    "curate_folder": ([*FOLDER, "samples_per_shard=4", "curate.features.encoder=encoder"], 12),
    "fooling": ([*EVOLVED, "evaluate=[]"], 2),
    "imagenet_e_guided": ([*FOLDER, "generate.attribute_edit.frame=64"], 2),
    "imagenet_g": ([*CLOTHES, "curate.leakage.trained_on=null"], 12),
    "low_light": ([*FOLDER], 2),
    "natural_transformation": ([*FOLDER], 2),
    "tileable_texture": ([*FOLDER, *(f"generate.tileable_texture.{field}" for field in TILES)], 4),
    "box_noise": (["source.name=image_folder", "source.path=boxed"], 3),
    "translation": ([*FOLDER, "generate.translation.frame=128"], 2),
    "unsafebench": ([*FOLDER], 2),
    "verification": ([*CLOTHES, REGIONS, "evaluate=[]"], 2),
    "watermark": ([*FOLDER, "generate.watermark.frame=128"], 1),
    "watermark_generative": (["samples_per_shard=3"], 3),
    "multi_label_review": ([*FOLDER, "samples_per_shard=4", "curate.features.encoder=encoder"], 12),
}
"""Overrides and limit of a short run of each recipe with a folder as its source."""
HUB = {"coco_o_diffusion": [*FOLDER, "evaluate=[]"], "imagenet_g_text": []}
"""Overrides of the recipes that want a GPU, of which only fingerprints are pinned. The photographs of coco_o_diffusion
depend on installed packages, so it has a folder."""
NOT_PINNED = ("major_errors", "viewpoint", "watermark_adaptive")
"""The source of `major_errors` is an edition, whose digest depends on the machine; test_major_errors runs it. The
objects of `viewpoint` are of a package. In `watermark_adaptive` a network is trained, on more photographs than are
here."""
QUICK = ("box_noise", "content_dilution", "imagenet_c", "imagenet_e", "low_light", "unsafebench")
"""Short runs that take about a CPU second each. Of the others the default tests compare fingerprints."""
SLOW = tuple(sorted({*SHORT} - {*QUICK, "multi_label_review"}))
"""Without votes, multi_label_review is part of curate_folder."""
WHOLE = ("curate_folder", "imagenet_e", "imagenet_g")
"""Recipes that run whole in a few minutes. imagenet_e_guided takes twenty, imagenet_g_text wants a GPU, the photographs
of coco_o depend on installed packages, and of imagenet_c the short run is enough."""


def machine() -> dict[str, str]:
    """What the bytes of an edition depend on beside the recipe."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    found = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    flags = hashlib.sha256(" ".join(sorted(found.get("flags", "").split())).encode()).hexdigest()[:16]
    cpu = f"{found.get('model name', 'unknown')}, flags {flags}"
    return {"cpu": cpu, **{package: version(package) for package in PACKAGES}}


def folders(root: Path) -> None:
    """Folders of bitmaps, whose bytes no encoder decides: crops of scikit-image's photographs, some with captions."""
    import skimage.data
    from PIL import Image

    for folder, classes in (("photos", ("astronaut", "chelsea", "coffee")), ("clothes", ("trouser", "bag", "coat"))):
        for picture, name in zip(("astronaut", "chelsea", "coffee"), classes, strict=True):
            place = root / folder / name
            place.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(getattr(skimage.data, picture)())
            for number in range(4):
                x, y = 40 * number, 30 * number
                image.crop((x, y, x + 192, y + 160)).save(place / f"{number}.bmp")
    told = root / "told"
    told.mkdir(exist_ok=True)
    for name in ("astronaut", "chelsea", "coffee"):
        shutil.copy(root / "photos" / name / "0.bmp", told / f"{name}.bmp")
    lines = [f"{name}.bmp,A part of the photograph {name}." for name in ("astronaut", "chelsea", "coffee")]
    boxed = root / "boxed"
    boxed.mkdir(exist_ok=True)
    for name in ("astronaut", "chelsea", "coffee"):
        shutil.copy(root / "photos" / name / "0.bmp", boxed / f"{name}.bmp")
    boxes = {"bbox": [[20, 30, 60, 40], [100, 90, 50, 60]], "category": ["left", "right"]}
    rows = [json.dumps({"file_name": f"{name}.bmp", "objects": boxes}) for name in ("astronaut", "chelsea", "coffee")]
    (boxed / "metadata.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (told / "metadata.csv").write_text("\n".join(["file_name,text", *lines]) + "\n", encoding="utf-8")


def job(name: str, root: Path, short: bool) -> Job:
    overrides, limit = SHORT[name] if short else ([], None)
    placed = [item.replace("source.path=", f"source.path={root}/") for item in overrides]
    return Job(load_recipe(name, placed, limit), str(root / f"store_{name}"))


def hub_job(name: str, root: Path) -> Job:
    placed = [item.replace("source.path=", f"source.path={root}/") for item in HUB[name]]
    return Job(load_recipe(name, placed), str(root / f"store_{name}"), "hub")


def digests(work: Job) -> dict[str, str]:
    """Version to digest of what a recipe's edition and release come to."""
    manifest = build(work, Threads(2))
    if work.recipe.curate:
        release(work, manifest, *curate(work, manifest, Threads(2)), Threads(2))
    known = editions(work.store)
    return {number: resolve(f"{dataset}@{number}", work.store).digest() for dataset, number in known}


def digests_apart(names: Sequence[str], root: Path, *, short: bool) -> dict[str, dict[str, str]]:
    """`digests` by recipe, in a process of their own, which no other test has changed."""
    command = [sys.executable, __file__, "short" if short else "whole", str(root), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def pinned() -> dict:
    return json.loads(PINNED.read_text())


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("digests")
    folders(root)
    return root


@pytest.fixture(scope="module")
def same_machine() -> None:
    here, there = machine(), pinned()["machine"]
    if differ := [f"{name} {here[name]}, not {there[name]}" for name in here if here[name] != there.get(name)]:
        pytest.skip(f"digests were recorded elsewhere: {'; '.join(differ)}")


@pytest.fixture(scope="module")
def quick(root: Path, same_machine: None) -> dict[str, dict[str, str]]:
    return digests_apart(QUICK, root, short=True)


def test_every_shipped_recipe_is_pinned():
    pinned_here = [*SHORT, *HUB]
    assert sorted(pinned()["fingerprints"]) == sorted(pinned_here)
    assert sorted([*pinned_here, *NOT_PINNED]) == shipped_recipes()


@pytest.mark.parametrize("name", sorted(SHORT))
def test_the_fingerprint_of_a_short_run(name, root):
    assert job(name, root, short=True).plan.fingerprint == pinned()["fingerprints"][name]


@pytest.mark.parametrize("name", sorted(HUB))
def test_the_fingerprint_of_a_recipe_for_a_gpu(name, root):
    assert hub_job(name, root).plan.fingerprint == pinned()["fingerprints"][name]


@pytest.mark.parametrize("name", QUICK)
def test_the_digests_of_a_quick_run(name, quick):
    assert quick[name] == pinned()["short"][name]


@pytest.mark.slow
def test_the_digests_of_short_runs(root, same_machine):
    assert digests_apart(SLOW, root, short=True) == {name: pinned()["short"][name] for name in SLOW}


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_the_digests_of_the_whole_recipe(name, tmp_path, same_machine):
    if name == "imagenet_g" and not Path("/usr/share/datasets/fashion-mnist").exists():
        pytest.skip("its leakage check compares with Debian's dataset-fashion-mnist")
    assert digests_apart([name], tmp_path, short=False)[name] == pinned()["whole"][name]


def record() -> None:
    """Write digests.json from what the code makes now."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        folders(root)
        found = {
            "machine": machine(),
            "fingerprints": {name: job(name, root, short=True).plan.fingerprint for name in SHORT},
            "short": {name: digests(job(name, root, short=True)) for name in SHORT},
        }
        found["fingerprints"] |= {name: hub_job(name, root).plan.fingerprint for name in HUB}
        found["whole"] = {name: digests(job(name, root / name, short=False)) for name in WHOLE}
    PINNED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    if "VARIORUM_KEYS" not in os.environ:
        sys.path.append(str(Path(__file__).parents[1] / "plugins"))
        from watermark_keys import use_own_keys

        use_own_keys()
    if len(sys.argv) == 1:
        record()
    else:
        length, folder, *recipes = sys.argv[1:]
        found = {recipe: digests(job(recipe, Path(folder), length == "short")) for recipe in recipes}
        sys.stdout.write(json.dumps(found) + "\n")
