"""The report on models: asked once, kept, resumed, and refused before any pass where it can't be made."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from edition_to_pull import lay_out

import variorum as va
from variorum.api.model_choice import ModelChoice
from variorum.api.report_models import UnderTest, shortest
from variorum.api.report_work import Asking
from variorum.edition.records import parse
from variorum.hub.pull import edition_at
from variorum.hub.signatures import sign
from variorum.reports.profile.document import Report as Content
from variorum.schemas.errors import GuardFailed, ModelFailed, RecipeError, SourceError, StoreError
from variorum.schemas.rows import Answers

pytestmark = pytest.mark.usefixtures("a_dozen_will_do")

CLASSES = ["astronaut", "chelsea", "coffee"]
MODELS = '''
"""Models that note each picture that they see."""
import hashlib

def noted(name, images):
    with open("seen.txt", "a") as file:
        for image in images:
            file.write(f"{name} {hashlib.sha256(image.tobytes()).hexdigest()}\\n")
    return images

def channels(images):
    return [[float(image[..., channel].mean()) for channel in range(3)] for image in noted("channels", images)]

def spread(images):
    return [[float(image[..., channel].std()) for channel in range(3)] for image in noted("spread", images)]

def two(images):
    return [[0.4, 0.6]] * len(noted("two", images))

def raising(images):
    raise ValueError("no such picture")
'''
BOTH = ["module:models.py:channels", "module:models.py:spread"]
PICTURES = 24
"""Of mine@1.0.0, in six shards: twelve photographs and their negatives."""


@pytest.fixture
def place(here) -> Path:
    """A folder with photographs, editions and a file of models."""
    (here / "models.py").write_text(MODELS)
    return here


def seen(folder: Path) -> list[str]:
    """What models saw: a line per model and picture."""
    file = folder / "seen.txt"
    return file.read_text().split("\n")[:-1] if file.exists() else []


def asked(models=BOTH, editions="mine@1.0.0", **more):
    return va.report(models, editions, **{"classes": CLASSES, "progress": False, **more})


def answered(folder: Path) -> set[str]:
    """The same for the answers that are kept."""
    pixels = {one.id: hashlib.sha256(one.image.tobytes()).hexdigest() for one in va.open("mine@1.0.0")}
    found = set[str]()
    for record in (folder / "store" / "measures").iterdir():
        table = pq.read_table(folder / "store" / "objects" / f"{json.loads(record.read_bytes())['sha256']}.parquet")
        if "classifier" in table.column_names:
            pairs = zip(table["classifier"].to_pylist(), table["id"].to_pylist(), strict=True)
            found |= {f"{name.rpartition(':')[2]} {pixels[one]}" for name, one in pairs}
    return found


def files(report) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in Path(report.path).parent.iterdir()}


def test_each_model_sees_each_picture_once_and_the_report_is_kept(place):
    plan = asked(plan=True)
    assert (plan.passes, plan.kept) == (2 * PICTURES, 0)
    assert not list(place.glob("store/reports/*"))
    report = asked()
    counts = Counter(seen(place))
    assert len(counts) == 2 * PICTURES
    assert sum(counts.values()) == 2 * PICTURES + 2  # the report tried both models on one, the plan none
    wrote = files(report)
    assert set(wrote) == {"report.html", "report.json", "report.md"}
    assert parse(wrote["report.json"], Content) == report.content
    assert report.models == tuple(BOTH)
    assert report.content.work.answers == 2 * PICTURES
    table = report.rows.to_pylist()
    assert {(one["row"], one["model"]) for one in table} == {
        (row.id, model) for row in report.content.rows for model in BOTH
    }
    assert all(one["n"] == 12 for one in table)
    (original,) = (one for one in table if one["row"] == "originals" and one["model"] == BOTH[0])
    assert original["value"] == 25.0
    assert len(list(place.glob("store/editions/mine/1.0.0/results/*.json"))) == 2

    before = seen(place)
    again = asked()
    assert seen(place) == before
    assert again.key == report.key
    assert files(again) == wrote
    assert asked(plan=True).runs == tuple(BOTH)

    other = asked([BOTH[0]])
    assert other.key != report.key
    assert seen(place) == before  # its answers are kept
    Path(report.path).with_name("report.json").unlink()
    assert files(asked()) == wrote
    assert seen(place) == before


def test_answers_of_evaluate_serve_the_report(place):
    va.evaluate("mine@1.0.0", BOTH[0], classes=CLASSES, progress=False)
    before = seen(place)
    assert asked([BOTH[0]]).row("originals").models[BOTH[0]].figure.value == 25.0
    assert seen(place) == before


def test_a_function_without_a_revision_is_asked_each_time(place):
    def first(images):
        calls.append(len(images))
        return [[1, 0, 0]] * len(images)

    calls: list[int] = []
    report = asked({"first": first})
    assert report.content.models[0].pin == ""
    once = sum(calls)
    again = asked({"first": first})
    assert sum(calls) == 2 * once
    assert files(again) == files(report)


def test_values_are_checked_against_limits(place):
    report = asked(fail_below=["originals=99"], fail_worse=["spread:originals=100"])
    assert [(one.row, one.model, one.outcome) for one in report.guards] == [
        ("originals", BOTH[0], "failed"),
        ("originals", BOTH[1], "failed"),
        ("originals", BOTH[1], "kept"),
    ]
    with pytest.raises(GuardFailed, match=r"failed: originals of module:models.py:channels is 25.0 \["):
        report.check({"channels:originals": 99})
    assert [one.outcome for one in report.check({"channels:originals": 25})] == ["undecided"]
    with pytest.raises(GuardFailed):
        report.check({"channels:originals": 25}, strict=True)
    with pytest.raises(RecipeError, match="there is no row 'background'; there are: originals"):
        report.row("background")


def test_files_are_written_where_they_are_asked_for(place):
    report = asked([BOTH[0]])
    for write, name in (
        (report.to_html, "report.html"),
        (report.to_json, "report.json"),
        (report.to_markdown, "report.md"),
    ):
        assert write(place / f"my {name}").read_bytes() == files(report)[name]
    with pytest.raises(StoreError, match=r"nowhere/x\.html: can't be written"):
        report.to_html("nowhere/x.html")
    assert "Originals" in str(report)
    shown = report._repr_html_()
    assert "<iframe" in shown
    assert report.key in shown


SUITE = """
suite: own
version: 1.0.0
most: 12
editions: {negatives: {recipe: negatives.yaml}}
rows:
  - {id: originals, title: Originals, edition: negatives, of: accuracy_drop.originals, chance: classes}
  - {id: negatives, title: Negatives, edition: negatives, of: accuracy_drop.edits}
"""
RECIPE = """
dataset: negatives
version: 1.0.0
source: {name: image_folder, path: photos}
generate: [{name: negative}]
"""


def test_a_suite_builds_its_editions_and_the_same_question_finds_the_report(place, monkeypatch):
    (place / "own.yaml").write_text(SUITE)
    (place / "negatives.yaml").write_text(RECIPE)
    options = {"editions": None, "suite": "own.yaml", "source": "photos"}
    plan = asked(**options, plan=True)
    assert [one.state for one in plan.editions] == ["to build"]
    report = asked(**options)
    assert [row.n for row in report.content.rows] == [12, 12]
    assert report.content.photographs.source == "photos"
    models = " ".join(f"--model {name}" for name in BOTH)
    assert report.content.command == f"variorum report --suite own.yaml --classes CLASSES --source photos {models}"
    with monkeypatch.context() as patch:
        patch.setattr("variorum.api.suite_editions.editions_of", None)  # isn't asked
        assert asked(**options).key == report.key
    with monkeypatch.context() as patch:  # another user's store may hold a planted one
        owner = (place / "store").stat().st_uid
        if os.geteuid():
            patch.setattr(os, "geteuid", lambda: owner + 1)
        else:
            os.chown(place / "store", 54321, -1)
        with pytest.raises(StoreError, match="belongs to the user"):
            asked(**options)
        if not os.getuid():
            os.chown(place / "store", owner, -1)
    (place / "photos" / "coffee" / "0.jpg").unlink()
    assert [row.n for row in asked(**options).content.rows] == [11, 11]


def test_an_edition_that_fails_is_told_as_not_measured_and_the_others_go_on(place):
    (place / "odd.py").write_text(
        "from variorum.schemas.component import Generator\n\n\n"
        "class Odd(Generator):\n"
        '    """Fails on every picture."""\n\n'
        "    def edit(self, sample, of):\n"
        '        yield of.skipped("odd", variant="odd", requested={}, status="failed")\n'
    )
    (place / "negatives.yaml").write_text(RECIPE)
    (place / "odd.yaml").write_text(
        RECIPE.replace("negative}", "./odd.py}").replace("dataset: negatives", "dataset: odd")
    )
    suite = SUITE.replace("}}\nrows:", "}, odd: {recipe: odd.yaml}}\nrows:")
    (place / "own.yaml").write_text(suite + "  - {id: odd, title: Odd, edition: odd, of: accuracy_drop.edits}\n")
    report = asked(editions=None, suite="own.yaml", source="photos")
    assert [row.id for row in report.content.rows] == ["originals", "negatives"]
    (without,) = report.content.not_measured
    assert (without.id, without.why_not) == ("odd", "too many of the photographs failed in it")
    with pytest.raises(RecipeError, match="the row 'odd' can't be measured: too many of the photographs failed"):
        asked(editions=None, suite="own.yaml", source="photos", fail_below=["odd=10"])


def refusals():
    """What is wrong, by name: other arguments, the error, and a part of what it says."""
    twice = {"one": print, "two": print}
    return {
        "no model": ({"models": []}, RecipeError, "report: no model is given"),
        "eleven": ({"models": {f"m{k}": (lambda x: x) for k in range(11)}}, RecipeError, "11 models are given"),
        "unknown model": ({"models": ["classifer"], "classes": None}, RecipeError, "no model alias 'classifer'"),
        "same model": ({"models": twice}, RecipeError, "'one' and 'two' are the same model"),
        "twice": ({"models": [BOTH[0], BOTH[0]]}, RecipeError, "is given twice"),
        "reference": ({"reference": "mine"}, RecipeError, "reference: 'mine' is none of the models"),
        "no edition": ({"editions": []}, RecipeError, "no edition is given"),
        "no pictures": ({"editions": None}, RecipeError, "no pictures are given"),
        "unknown edition": ({"editions": "mime"}, StoreError, "did you mean mine"),
        "edition twice": ({"editions": ["mine@1.0.0", "mine@1.0.0"]}, RecipeError, "is given twice"),
        "hub": ({"editions": "owner/name"}, SourceError, "owner/name@1.0.0"),
        "suite": ({"suite": "qick"}, RecipeError, "did you mean quick"),
        "another suite's edition": ({"suite": "quick"}, RecipeError, "suite quick has no row for it, only for"),
        "both": ({"source": "photos"}, RecipeError, "not both"),
        "row": ({"fail_below": ["original=5"]}, RecipeError, "Do you mean originals"),
        "guard's model": ({"fail_below": ["x:originals=5"]}, RecipeError, "no model is called 'x'"),
        "profile": ({"profile": "tiny"}, RecipeError, "profile: there is no 'tiny'"),
        "workers": ({"workers": 0}, RecipeError, "workers"),
        "other outputs": ({"models": ["module:models.py:two"]}, ModelFailed, "but it has 3 classes"),
        "a missing class": ({"classes": ["astronaut", "chelsea", "tea"]}, RecipeError, "coffee"),
        "no classes": ({"models": ["module:models.py:two"], "classes": None}, RecipeError, "2 scores a picture"),
        "raising": ({"models": ["module:models.py:raising"]}, ModelFailed, "no such picture"),
    }


@pytest.fixture(scope="module")
def untouched(workplace, tmp_path_factory) -> Path:
    """A copy of the folder for tests that write nothing but what their models see."""
    folder = shutil.copytree(workplace, tmp_path_factory.mktemp("untouched") / "here")
    (folder / "models.py").write_text(MODELS)
    return folder


@pytest.mark.parametrize("what", refusals())
def test_what_cannot_work_is_refused_before_the_models_see_the_pictures(untouched, workplace, monkeypatch, what):
    monkeypatch.chdir(untouched)
    monkeypatch.setenv("VARIORUM_CACHE", str(workplace / "cache"))
    (untouched / "seen.txt").unlink(missing_ok=True)
    more, error, said = refusals()[what]
    with pytest.raises(error, match=said) as caught:
        asked(**{**{"models": BOTH, "editions": "mine@1.0.0"}, **more})
    assert "\n" not in str(caught.value)
    assert len(seen(untouched)) <= 2
    assert not list(untouched.glob("store/reports/*"))


def test_too_few_photographs_are_refused(place):
    va.run(dataset="few", version="1.0.0", source={"name": "image_folder", "path": "photos"}, limit=4, progress=False)
    with pytest.raises(RecipeError, match="too few photographs: 4, and 10 are needed"):
        asked(editions="few")
    assert seen(place) == []


def test_an_edition_without_labels_or_of_another_major_version_is_refused(place):
    va.run(dataset="bare", version="1.0.0", source={"name": "image_folder", "path": "photos/coffee"}, progress=False)
    with pytest.raises(SourceError, match=r"bare@1\.0\.0 has no labels"):
        asked(editions="bare")
    va.run(dataset="low_light", version="7.0.0", source={"name": "image_folder", "path": "photos"}, progress=False)
    with pytest.raises(RecipeError, match="another major version"):
        asked(editions="low_light")
    assert seen(place) == []


def test_an_edition_on_the_hub_is_pulled_once(place, monkeypatch):
    lay_out("mine@1.0.0", va.open("mine@1.0.0").store, place / "published")
    there = edition_at(str(place / "published"))
    assert there
    manifest, folder = there
    at = replace(folder, name="owner/mine@1.0.0", tag="1.0.0", revision="c0ffee")
    monkeypatch.setattr("variorum.hub.pull.edition_at", lambda source: (manifest, at))
    options = {"editions": "owner/mine@1.0.0", "store": "other"}
    plan = asked(**options, plan=True)
    assert [(one.state, one.pictures) for one in plan.editions] == [("to pull", PICTURES)]
    assert seen(place) == []
    report = asked(**options)
    assert report.row("originals").models[BOTH[0]].figure.value == 25.0
    monkeypatch.setattr("variorum.hub.pull.edition_at", None)  # isn't asked
    assert asked(**options).key == report.key


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH isn't installed")
def test_an_edition_on_the_hub_by_its_digest_and_signer(place, monkeypatch):
    for name in ("lab", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], check=True, cwd=place)
    edition = va.open("mine@1.0.0")
    lay_out("mine@1.0.0", edition.store, place / "published")
    (place / "published/edition.sig").write_bytes(sign(edition.manifest, str(place / "lab"))["edition.sig"])
    there = edition_at(str(place / "published"))
    assert there
    at = replace(there[1], name="owner/mine@1.0.0", tag="1.0.0", revision="c0ffee")
    monkeypatch.setattr("variorum.hub.pull.edition_at", lambda source: (there[0], at))
    options = {"editions": "owner/mine@1.0.0", "store": "signed"}
    right = {"digest": there[0].digest(), "signed_by": str(place / "lab.pub")}
    wrong = (({"digest": "0" * 64}, "has the digest"), ({"signed_by": str(place / "other.pub")}, "not by whom"))
    for more, said in wrong:
        with pytest.raises(SourceError, match=said):
            asked(**options, **more)
    assert not list(place.glob("signed/objects/*"))
    assert seen(place) == []
    assert asked(**options, **right).row("originals").models[BOTH[0]].figure.value == 25.0
    for more, said in wrong:
        with pytest.raises(SourceError, match=said):
            asked(**options, **more)
    with pytest.raises(SourceError, match="isn't signed"):  # made here, and signed by nobody
        asked(signed_by=right["signed_by"])
    with pytest.raises(RecipeError, match="can't have one digest"):
        asked(editions=["mine@1.0.0", "owner/mine@1.0.0"], digest=right["digest"])


def test_one_network_with_two_preprocessings_is_two_models(place):
    (place / "nets.py").write_text(
        "import torch\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 3))\n"
        "whole = net(), 'resize=8x8'\n"
        "whole[0].trained_on = 'noise'\n"
        "centre = net(), 'resize=16 crop=8'\n"
        "again = net(), 'resize=8x8'\n"
    )
    report = asked(["module:nets.py:whole", "module:nets.py:centre"])
    one, other = report.content.models
    assert one.weights == other.weights
    assert one.parameters == 579
    assert (one.trained_on, other.trained_on) == ("noise", "")
    assert one.preprocessing != other.preprocessing
    with pytest.raises(RecipeError, match="are the same model"):
        asked(["module:nets.py:whole", "module:nets.py:again"])


def test_a_defence_stands_beside_the_bare_model(place):
    defence = f"mixed  with={BOTH[1]} alpha=.75"
    report = asked([BOTH[0]], defences=[defence])
    name = f"{BOTH[0]} + mixed with={BOTH[1]} alpha=.75"
    bare, defended = report.content.models
    assert (report.models, defended.short) == (
        (BOTH[0], name),
        "+ mixed with=module:models.py:spread alpha=.75",
    )
    assert (bare.defence, defended.preprocessing.rpartition(": ")[2]) == (
        "",
        "0.25 of its probabilities and 0.75 of those of module:models.py:spread.",
    )
    assert "arXiv 2301.12554" in defended.defence
    assert all(defended.defence in Path(report.path).with_suffix(end).read_text() for end in (".html", ".md"))
    before = seen(place)
    assert asked([name]).key == report.key  # the bare model is always a row
    assert seen(place) == before
    for words, kind in (("lock x=1", "lock"), (" ", "")):
        with pytest.raises(RecipeError, match=f"no defence is named '{kind}'; there are: "):
            asked([BOTH[0]], defences=[words])
    with pytest.raises(RecipeError, match="11 models are given with those behind defences"):
        asked([BOTH[0]], defences=[f"{defence} scale={one}" for one in range(1, 11)])
    assert [one.name for one in asked(BOTH, defences=[defence], plan=True).models] == [BOTH[0], name, BOTH[1]]


def test_models_that_share_weights_with_a_filter_are_filtered():
    filters = ["gate@sha256:aa+head.1;encoder=net@sha256:bb+loader.1", "unavailable"]
    pins = {"encoder": "other@sha256:bb+embed.2", "mine": "mine@sha256:cc+loader.1", "gone": "unavailable"}
    under = UnderTest(ModelChoice(tuple(pins), {}, (), {}), None, {}, pins)
    assert [under.filtered(name, filters) for name in pins] == [True, False, False]


def test_short_names_tell_models_apart():
    names = ["timm:resnet50.a1_in1k", "timm:resnet50.a2_in1k", "module:a/net.py:load", "load"]
    assert [shortest(name, names) for name in names] == [
        "resnet50.a1_in1k",
        "resnet50.a2_in1k",
        "net.py:load",
        "load",
    ]


KILLED = """
import os, signal, sys
import variorum as va
from variorum.api import report_checks
from variorum.edition.store import Store
from variorum.models.brought.model import BroughtModel
from variorum.reports.profile import measure

measure.FEWEST = report_checks.FEWEST = 10
left = int(sys.argv[1])

def counting(function):
    def called(*args, **more):
        global left
        left -= 1
        before = left & 1
        if left <= 0 and before:
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*args, **more)
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return called

BroughtModel.__call__ = counting(BroughtModel.__call__)
for name in ("keep", "put", "put_if_absent"):
    setattr(Store, name, counting(getattr(Store, name)))
va.report(%r, "many@1.0.0", classes=%r, progress=False)
"""
"""Ends itself at its n-th event, before or after it: a model is asked, or a file is written."""


@pytest.mark.slow
def test_a_report_that_is_killed_ten_times_goes_on_and_has_the_same_bytes(place, tmp_path):
    source = {"name": "image_folder", "path": "photos"}
    fields = {"generate": [{"name": "negative"}], "samples_per_shard": 1}
    va.run(dataset="many", version="1.0.0", source=source, progress=False, **fields)
    code, draw, grown = KILLED % (BOTH, CLASSES), random.Random(0), [0]
    for _ in range(10):
        kept, before = answered(place), len(seen(place))
        done = subprocess.run([sys.executable, "-c", code, str(draw.randint(1, 12))], cwd=place, check=False)
        assert done.returncode == -signal.SIGKILL
        assert kept.isdisjoint(seen(place)[before:])
        grown.append(len(answered(place)))
    assert grown == sorted(grown)
    assert grown[-1] > 0
    kept, before = answered(place), len(seen(place))
    wrote = files(asked(editions="many@1.0.0"))
    assert kept.isdisjoint(seen(place)[before:])
    assert len(answered(place)) == 2 * PICTURES
    (place / "store" / "reports").rename(tmp_path / "reports")
    (place / "store" / "measures").rename(tmp_path / "measures")
    assert files(asked(editions="many@1.0.0")) == wrote


def test_notes_and_reasons_name_models_without_folders():
    names = {"judge": "judge", "judge + tempered from=/home/me/fit": "judge + tempered from=fit"}
    work = object.__new__(Asking)
    work.under = SimpleNamespace(called=names)
    for name, called in names.items():
        found = work._named(name, "a.b", Answers("b", name, note=f"{name}: σ = 1", why_not=f"'{name}' has no gradient"))
        assert (found.model, found.note, found.why_not) == (called, f"{called}: σ = 1", f"'{called}' has no gradient")
