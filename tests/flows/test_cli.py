import json
import re
import shlex
import shutil
from functools import partial
from pathlib import Path

import pytest
import yaml
from annotated_set import ANNOTATED

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture
def cli(photos, tmp_path, command):
    """Runs the command in a folder with `recipe.yaml` in it."""
    data = {
        "dataset": "d",
        "version": "1.0.0",
        "samples_per_shard": 4,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [{"name": "probe"}],
        "evaluate": [{"name": "brightness"}],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    return partial(command, PYTHONPATH=str(PLUGINS))


def test_from_plan_to_verify(cli, tmp_path):
    planned = cli("plan", "recipe.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "image_folder, 12 samples, 3 classes" in planned.stdout
    assert "3 of up to 4; 0 done already" in planned.stdout

    ran = cli("run", "recipe.yaml", "--runner", "threads", "--workers", "2", fresh=True)
    assert ran.returncode == 0, ran.stderr
    assert "negative_0" in ran.stdout
    edition = tmp_path / "store" / "editions" / "d" / "1.0.0"
    assert {path.name for path in edition.iterdir()} >= {"manifest.json", "README.md", "contact_sheet.png", "data"}
    assert (edition / "evaluation-brightness.json").exists()

    assert "3 done already" in cli("plan", "recipe.yaml").stdout
    assert cli("show").stdout == "d@1.0.0\n"
    assert "load it: " in cli("show", "d").stdout
    verified = cli("verify", "d")
    assert (verified.returncode, verified.stdout) == (0, "d@1.0.0: 3 shards and 24 pictures match their hashes\n")

    shard = next((edition / "data").iterdir()).resolve()
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    verified = cli("verify", "d@1.0.0")
    assert verified.returncode == 1
    assert "content doesn't match its name" in verified.stderr
    named = [path for path in (tmp_path / "store" / "objects").iterdir() if path.name in verified.stderr]
    assert [path.read_bytes() for path in named] == [bytes(content)]


@pytest.mark.parametrize(
    "words",
    [
        *(("plan", "recipe.yaml"), ("curate", "recipe.yaml"), ("release", "recipe.yaml"), ("evaluate", "recipe.yaml")),
        *(("card", "recipe.yaml"), ("rollback", "d"), ("show", "d"), ("verify", "d"), ("diff", "d", "d")),
        ("blocklist", "d", "list.parquet"),
    ],
)
def test_a_mistyped_store_is_not_made(cli, tmp_path, words):
    (tmp_path / "store").mkdir()
    done = cli(*words, "--store", "stroe")
    if words[0] == "plan":  # it may come before the first run
        assert done.returncode == 0
    else:
        assert (done.returncode, done.stderr) == (1, "error: store stroe: doesn't exist; did you mean store?\n")
    assert not (tmp_path / "stroe").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "imagenet_f"), "error: no recipe 'imagenet_f'"),
        (("run", "recipe.yaml", "--runner", "threads", "--set", "generate.probe.strenth=1"), "strenth: no such field"),
        (("run", "recipe.yaml", "--runner", "threads", "--set", "source.path=nowhere"), "path nowhere doesn't exist"),
        (
            ("build", "recipe.yaml", "--runner", "threads", "--store", "recipe.yaml"),
            "choose another place with --store",
        ),
        (
            ("evaluate", "recipe.yaml", "--runner", "threads", "--store", "."),
            "no edition 'd@1.0.0' in .; there are: none yet",
        ),
        (("verify", "e"), "store store: doesn't exist; make one with: variorum run imagenet_e"),
        (("card", "recipe.yaml", "--store", "."), "no edition 'd@1.0.0'"),
    ],
)
def test_an_error_is_one_line_and_no_traceback(cli, arguments, said):
    done = cli(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_an_unknown_option_is_an_error_of_usage(cli):
    done = cli("run", "recipe.yaml", "--stor", "x", fresh=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_curate_release_diff_and_back(cli, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        yaml.safe_dump(
            {**yaml.safe_load(path.read_text()), "curate": [{"name": "bright"}, {"name": "bright_rules", "review": 2}]}
        )
    )
    ran = cli("run", "recipe.yaml", "--runner", "threads")
    assert ran.returncode == 0, ran.stderr
    assert "d@1.0.0-r1" in ran.stdout
    assert re.search(r"^verdicts: .*review 2", ran.stdout, re.MULTILINE)
    assert "editions/d/1.0.0/ledgers/0001.review.csv" in ran.stdout
    editions = tmp_path / "store" / "editions" / "d"
    assert (editions / "1.0.0-r1" / "funnel.png").read_bytes()[:4] == b"\x89PNG"
    assert "too_bright" in (editions / "1.0.0-r1" / "README.md").read_text()
    assert len((editions / "1.0.0" / "ledgers" / "0001.review.csv").read_text().splitlines()) == 3

    curated = cli("curate", "recipe.yaml", "--runner", "threads", "--set", "curate.bright_rules.drop=5")
    assert curated.returncode == 0, curated.stderr
    assert "d@1.0.0 ledger 2" in curated.stdout
    assert "0002.review.csv" in curated.stdout
    assert cli("release", "recipe.yaml", "--runner", "threads").returncode == 0
    between = cli("diff", "d@1.0.0-r1", "d")
    assert "bright_rules: too_bright" in between.stdout
    assert cli("diff", "d@1.0.0-r1", "d", "--json").stdout.count('"kind": "dropped"') == 4
    assert "the same pictures" in cli("diff", "d", "d").stdout

    back = cli("rollback", "d")
    assert "in use: d@1.0.0-r1" in back.stdout
    assert "1.0.0-r1" in cli("show", "d").stdout
    assert cli("verify", "d").returncode == 0
    refused = cli("curate", "recipe.yaml", "--runner", "threads", "--set", "curate.bright_rules.drop=24")
    assert refused.returncode == 1
    assert "would drop all 24 pictures" in refused.stderr
    assert cli("rollback", "d", "--to", "9").stderr.startswith("error: d@1.0.0 has no release 9")


def add_steps(tmp_path, **data) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **data}))


def test_the_release_command_that_curate_prints_releases_that_ledger(cli, tmp_path):
    add_steps(tmp_path, curate=[{"name": "bright"}, {"name": "bright_rules", "drop": 2}])
    options = ("--set", "card.title=a b", "--limit", "8", "--store", "else where", "--runner", "threads")
    assert cli("build", "recipe.yaml", *options).returncode == 0
    assert cli("curate", "recipe.yaml", *options).returncode == 0
    assert "ledger 2" in cli("curate", "recipe.yaml", *options, "--set", "curate.bright_rules.drop=3").stdout
    again = cli("curate", "recipe.yaml", *options)  # as the first: ledger 1, though there is a newer one
    printed = again.stdout.splitlines()[-1].removeprefix("to carry it out: ")
    program, *arguments = shlex.split(printed)
    assert (program, arguments[:2], arguments[-2:]) == ("variorum", ["release", "recipe.yaml"], ["--ledger", "1"])
    released = cli(*arguments)
    assert released.returncode == 0, released.stderr
    assert "d@1.0.0-dev-r1" in released.stdout
    sealed = json.loads((tmp_path / "else where/editions/d/1.0.0-dev-r1/manifest.json").read_text())
    assert sum(counts.get("dropped:too_bright", 0) for counts in sealed["counts"].values()) == 2


def test_another_folder_doesnt_take_a_name_that_is_in_use(cli, tmp_path, photos):
    add_steps(tmp_path, curate=[{"name": "bright"}, {"name": "bright_rules"}])
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    (other / "coffee" / "0.jpg").unlink()
    assert cli("run", "recipe.yaml", "--runner", "threads", "--limit", "8").returncode == 0
    before = (tmp_path / "store/editions/d/1.0.0-dev/manifest.json").read_bytes()
    options = ("--runner", "threads", "--limit", "8", "--set", "source.path=other")
    for command in ("run", "build", "curate"):
        refused = cli(command, "recipe.yaml", *options)
        assert refused.returncode == 1
        assert f"d@1.0.0-dev in store is made from image_folder path={photos}" in refused.stderr
        assert f"this is image_folder path={other}; give the new edition a name" in refused.stderr
        assert "--set dataset=NAME" in refused.stderr
    assert (tmp_path / "store/editions/d/1.0.0-dev/manifest.json").read_bytes() == before
    assert cli("run", "recipe.yaml", *options, "--set", "dataset=mine").returncode == 0
    assert "mine@1.0.0-dev-r1" in cli("show").stdout
    shutil.copy(other / "coffee" / "1.jpg", other / "chelsea" / "new.jpg")  # the folder itself may grow
    grown = cli("run", "recipe.yaml", *options, "--set", "dataset=mine")
    assert grown.returncode == 0, grown.stderr


@pytest.mark.parametrize(
    "runner",
    [
        (
            "--runner",
            "threads",
        ),
        pytest.param((), marks=pytest.mark.slow),
    ],
)
def test_run_is_forced_to_drop_everything(cli, tmp_path, runner):
    add_steps(tmp_path, generate=[], evaluate=[], curate=[{"name": "bright"}, {"name": "bright_rules", "drop": 12}])
    refused = cli("run", "recipe.yaml", *runner)
    assert refused.returncode == 1
    assert "would drop all 12 pictures (bright_rules too_bright: 12); loosen the rule, or --force" in refused.stderr
    forced = cli("run", "recipe.yaml", *runner, "--force")
    assert forced.returncode == 0, forced.stderr
    assert "too_bright 12" in forced.stdout


def test_splits_configurations_and_annotations_are_told(command, tmp_path):
    recipe = {"dataset": "shapes", "version": "1.0.0", "masters": "original", "configs": "place", "source": ANNOTATED}
    (tmp_path / "shapes.yaml").write_text(yaml.safe_dump(recipe))
    other = {**recipe, "version": "1.1.0", "splits": {"validation": 0.5, "test": 0.25}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**other, "source": {**ANNOTATED, "shifted": True}}))
    planned = command("plan", "other.yaml").stdout
    assert re.search(r"splits +train 0.25, validation 0.5, test 0.25 of the photographs", planned)
    assert re.search(r"configurations +one for each place", planned)
    assert json.loads(command("plan", "other.yaml", "--json").stdout)["configs"] == "place"

    ran = command("run", "shapes.yaml", "--runner", "threads")
    assert ran.returncode == 0, ran.stderr
    folder = f"{tmp_path}/store/editions/shapes/1.0.0"
    shown = command("show", "shapes").stdout
    assert shown in ran.stdout
    assert "Pictures by configuration and split" in shown
    assert re.search(r"hall +│ 3 +│ 3 +│ 0 +│ 6", shown)
    assert "members: jpg or png, annotations.json, cls, json, txt\n" in shown
    assert "objects: 12 in 8 pictures\n" in shown
    assert f'load it: datasets.load_dataset("{folder}")\n' in shown
    assert f'load one of 2 configurations: datasets.load_dataset("{folder}", "hall")\n' in shown
    told = json.loads(command("show", "shapes", "--json").stdout)
    assert told["splits"] == {"train": 6, "validation": 3, "test": 3}
    assert told["configs"]["hall"] == {"train": 3, "validation": 3}
    assert told["formats"] == ["annotations.json", "cls", "jpg", "json", "png", "txt"]
    assert told["objects"] == 12

    loaded = command("verify", "shapes", "--load", HF_DATASETS_CACHE=str(tmp_path / "hf"))
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.splitlines()[0].endswith("shards and 12 pictures match their hashes")
    assert loaded.stdout.splitlines()[-1] == f'load_dataset("{folder}", "street_5"): train 3, test 3 rows'
    assert len(loaded.stdout.splitlines()) == 8

    assert command("build", "other.yaml", "--runner", "threads").returncode == 0
    between = command("diff", "shapes@1.0.0", "shapes@1.1.0").stdout
    assert re.search(r"annotated +│ +│ +1 ", between)
    assert re.search(r"moved .*hall/\w+ → hall/\w+", between)
    lines = command("diff", "shapes@1.0.0", "shapes@1.1.0", "--json").stdout.splitlines()
    assert {json.loads(line)["kind"] for line in lines} == {"annotated", "moved", "rank"}


def test_an_entry_in_the_terminal_is_that_of_the_page(cli):
    page = Path(__file__).parents[2] / "docs" / "reference" / "detectors_and_deciders.md"
    said = cli("components", "duplicates").stdout
    assert said.startswith("## duplicates\n")
    assert said.strip() in page.read_text(encoding="utf-8")
    unknown = cli("components", "duplicate")
    said = "error: no component 'duplicate'; `variorum components` lists all\n"
    assert (unknown.returncode, unknown.stderr) == (1, said)


@pytest.mark.parametrize("folder", ["2024", "a: b #c", "[x]"])
def test_source_is_short_for_a_folder_of_pictures(cli, photos, tmp_path, folder):
    shutil.copytree(photos, tmp_path / folder)
    short = cli("plan", "imagenet_e", "--source", folder, "--json")
    assert short.returncode == 0, short.stderr
    assert json.loads(short.stdout)["samples"] == 12
    quoted = json.dumps(folder)
    long = cli("plan", "imagenet_e", "--set", "source.name=image_folder", "--set", f"source.path={quoted}", "--json")
    # Free space on the disk changes by itself.
    said, again = (re.sub(r"[\d.]+ [kMGT]?B are free", "", run.stdout) for run in (long, short))
    assert said == again
    assert cli("plan", "imagenet_e", "--source", "").returncode == 2
