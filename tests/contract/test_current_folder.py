"""Nothing of the current folder takes the place of what ships: names, and what child processes import."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from variorum.hub.signatures import Signer
from variorum.kit.copies.shipped import list_path, shipped_lists
from variorum.machine.programs import python
from variorum.schemas.errors import VariorumError
from variorum.schemas.lookup import names_file
from variorum.stages.recipe_files import read_fields, shipped_recipes
from variorum.stages.suite_files import load_suite, suite_names

ROOT = Path(__file__).parents[2]
FOLDERS = ("schemas", "sources", "curation", "generators", "evaluation", "training", "recipes", "flows", "variorum")
STARTS = {
    "flows/own_server.py: launch": "python",
    "sources/exports/stamps.py: _call": "apt-get, dpkg-deb",
    "training/shipped_blocklists.py: version_of": "dpkg-query",
    "variorum/api/trial_gpu.py: ask_driver": "nvidia-smi",
    "variorum/api/trial_process.py: start": "python",
    "variorum/hub/signatures.py: sign": "ssh-keygen",
    "variorum/models/download.py: _fetch_npm": "npm",
    "variorum/models/download.py: _fetch_wheel": "python",
    "variorum/runners/processes.py: __init__": "python",
    "variorum/runners/slurm_jobs.py: has": "squeue",
}
"""Functions that start a program, and which. Python is started by `variorum.machine.programs.python` only."""
SHIELDED = {
    "variorum/runners/dask_workers.py: own_cluster",
    "variorum/runners/ray_actors.py: _connect",
    "variorum/runners/slurm_jobs.py: _executor",
}
"""Functions in which a library starts Python processes, after `variorum.machine.programs.shield`."""
LIBRARIES = {"SpecCluster", "LocalCluster", "AutoExecutor", "SlurmExecutor", "LocalExecutor", "ProcessPoolExecutor"}
OS = {"system", "popen", "fork", "forkpty"}
EVIL = "from pathlib import Path\nPath({ran!r}).write_text('ran')\n"


def called(node: ast.Call) -> str:
    """What a call names, such as `subprocess.run`."""
    return ast.unparse(node.func)


def starts(name: str) -> bool:
    """Return whether a call of this name starts a program."""
    before, _, last = name.rpartition(".")
    return (
        before == "subprocess"
        or (before == "os" and (last in OS or last.startswith(("exec", "spawn", "posix_spawn"))))
        or last in ("Popen", "create_subprocess_exec", "create_subprocess_shell")
        or (before in ("multiprocessing", "mp") and last in ("Process", "Pool", "get_context"))
    )


def functions():
    """Each function of the product that calls something, as `file: function`, with the names that it calls."""
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            inside = {}
            for node in ast.walk(tree):  # outer functions come first
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    inside.update(dict.fromkeys(ast.walk(node), node.name))
            found = {}
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    found.setdefault(inside.get(node, ""), set()).add(called(node))
            for name, calls in found.items():
                yield f"{file.relative_to(ROOT).as_posix()}: {name}", calls


def test_only_these_functions_start_programs():
    found = {where: calls for where, calls in functions() if any(map(starts, calls))}
    assert set(found) == set(STARTS)
    assert {where for where, calls in found.items() if "python" in calls} == {
        where for where, what in STARTS.items() if what == "python"
    }


def test_only_the_helper_names_the_interpreter():
    found = {
        file.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in ("sys.executable", "executable")
    }
    assert found == {"variorum/machine/programs.py"}


def test_libraries_start_theirs_under_the_shield():
    found = {}
    for where, calls in functions():
        if any(name.rpartition(".")[2] in LIBRARIES or name == "ray.init" for name in calls):
            found[where] = "shield" in calls
    assert found == dict.fromkeys(SHIELDED, True)


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """The current folder: one of somebody else."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*words, **variables):
    """The command's exit code and all that it prints."""
    command = [sys.executable, "-P", "-c", "from variorum.flows.cli import command; command()", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})
    return done.returncode, done.stdout + done.stderr


def test_a_python_process_imports_nothing_of_the_current_folder(downloaded):
    (downloaded / "fractions.py").write_text(EVIL.format(ran=str(downloaded / "ran")))
    subprocess.run(python("-c", "import fractions"), check=True)
    subprocess.run(python("-m", "fractions"), check=True)
    assert not (downloaded / "ran").exists()


def test_pip_of_the_current_folder_is_not_run(downloaded):
    (downloaded / "pip.py").write_text(EVIL.format(ran=str(downloaded / "ran")))
    # No index answers, so that the fetch ends at once.
    code, said = run(
        "doctor",
        "classifier_small",
        "--fetch",
        VARIORUM_CACHE=str(downloaded.parent / "cache"),
        PIP_INDEX_URL="http://127.0.0.1:9/",
        PIP_RETRIES="0",
    )
    assert code, said
    assert not (downloaded / "ran").exists()
    assert "classifier_small" in said


def test_a_file_called_as_a_suite_or_a_recipe_is_not_read(downloaded):
    (downloaded / "evil.py").write_text(EVIL.format(ran=str(downloaded / "ran")))
    evil = "dataset: evil\nversion: 1.0.0\nsource: {name: image_folder, path: .}\ngenerate:\n- name: ./evil.py\n"
    (downloaded / "imagenet_e").write_text(evil)
    (downloaded / "evil.yaml").write_text(evil)
    (downloaded / "quick").write_text(
        "suite: quick\nversion: 1.0.0\neditions: {a: {recipe: evil.yaml}}\n"
        "rows: [{id: a, title: A, edition: a, of: accuracy_drop.edits}]\n"
    )
    (downloaded / "photos").mkdir()
    _, said = run("report", "--source", "photos", "--model", "classifier", "--plan")
    assert "photos" in said
    assert "evil" not in said
    code, said = run("plan", "imagenet_e")
    assert code == 0, said
    assert "imagenet_e" in said
    assert "evil" not in said
    assert not (downloaded / "ran").exists()


OWN = """\
from variorum.schemas.component import Generator
from variorum.schemas.edit import Edit
from variorum.schemas.sample import Sample


class Mine(Generator):
    \"\"\"Each picture flipped left to right.\"\"\"

    def edit(self, sample: Sample, of: Edit):
        yield of.made(sample.image[:, ::-1], variant="flip", requested={})
"""


def test_a_plan_names_the_code_that_does_not_ship(downloaded):
    (downloaded / "photos" / "cat").mkdir(parents=True)
    Image.new("RGB", (96, 96)).save(downloaded / "photos" / "cat" / "a.png")
    (downloaded / "mine.py").write_text(OWN)
    source = "source: {name: image_folder, path: photos}"
    for name, make in {"own": "./mine.py", "shipped": "low_light"}.items():
        recipe = f"dataset: {name}\nversion: 1.0.0\n{source}\ngenerate: [{{name: {make}}}]\n"
        (downloaded / f"{name}.yaml").write_text(recipe)
    code, said = run("plan", "own.yaml", COLUMNS="200")
    assert code == 0, said
    assert "mine.py: code that doesn't come with Variorum" in said
    assert "doesn't come with" not in run("plan", "shipped.yaml", COLUMNS="200")[1]


@pytest.mark.parametrize("named", ["recipe: evil.yaml", "recipe: low_light, set: {generate: [{name: ./evil.py}]}"])
def test_the_plan_of_a_report_runs_no_code_of_a_suite_and_names_it(named, downloaded):
    (downloaded / "photos" / "cat").mkdir(parents=True)
    Image.new("RGB", (96, 96)).save(downloaded / "photos" / "cat" / "a.png")
    (downloaded / "evil.py").write_text(EVIL.format(ran=str(downloaded / "ran")) + OWN)
    (downloaded / "evil.yaml").write_text(
        "dataset: evil\nversion: 1.0.0\nsource: {name: image_folder, path: .}\ngenerate:\n- name: ./evil.py\n"
    )
    (downloaded / "theirs.yaml").write_text(
        f"suite: theirs\nversion: 1.0.0\neditions: {{a: {{{named}}}}}\n"
        "rows: [{id: a, title: A, edition: a, of: accuracy_drop.edits}]\n"
    )
    words = ("report", "--suite", "theirs.yaml", "--source", "photos", "--model", "classifier")
    code, said = run(*words, "--plan", COLUMNS="200")
    assert code == 0, said
    assert "evil.py: Python, which a run executes" in said
    assert not (downloaded / "ran").exists()
    run(*words)  # so the file would have run
    assert (downloaded / "ran").exists()


@pytest.mark.parametrize("behind", [(), ("--defence", "tempered t=2"), ("--defence", "mixed with=module:evil.py:load")])
def test_the_plan_of_a_report_imports_no_model(behind, downloaded):
    (downloaded / "photos" / "tabby cat").mkdir(parents=True)
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (32, 96, 96, 3), np.uint8)):
        Image.fromarray(pixels).save(downloaded / "photos" / "tabby cat" / f"{number}.png")
    (downloaded / "evil.py").write_text(EVIL.format(ran=str(downloaded / "ran")))
    model = ("--model", "classifier" if "with" in str(behind) else "module:evil.py:load")
    code, said = run("report", "--source", "photos", *model, *behind, "--plan", COLUMNS="200")
    assert code == 0, said
    assert "module:evil.py:load: Python, which a run executes" in said
    assert not (downloaded / "ran").exists()


@pytest.mark.parametrize("name", [*shipped_recipes()[:3], "imagenet_e"])
def test_a_shipped_recipe_is_read_by_its_name_only(name, downloaded):
    (downloaded / name).write_text("nothing")
    assert read_fields(name)["dataset"]


@pytest.mark.parametrize("name", suite_names())
def test_a_shipped_suite_is_read_by_its_name_only(name, downloaded):
    (downloaded / name).write_text("nothing")
    assert load_suite(name).rows


def test_a_shipped_list_is_read_by_its_name_only(downloaded):
    name = next(iter(shipped_lists()))
    (downloaded / name).write_text("nothing")
    assert list_path(name).is_absolute()


@pytest.mark.parametrize("read", [read_fields, load_suite, list_path])
def test_another_name_is_no_file_and_the_error_says_how_to_give_one(read, downloaded):
    (downloaded / "mine").write_text("nothing")
    with pytest.raises(VariorumError, match=r"no (recipe|suite|blocklist) 'mine'.*for the file here write \./mine"):
        read("mine")
    with pytest.raises(VariorumError) as error:
        read("mime")
    assert "./" not in str(error.value)


def test_a_file_called_as_a_signer_is_not_read(downloaded):
    (downloaded / "author@lab.example").write_text("ssh-ed25519 " + "A" * 68)
    assert Signer.named("author@lab.example", "https://vouches.example").identity == "author@lab.example"


@pytest.mark.parametrize(("given", "file"), [("quick", False), ("./quick", True), ("a/b", True), ("b.yaml", True)])
def test_a_file_has_an_ending_or_a_folder(given, file):
    assert names_file(given) is file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "PREFECT_API_URL=http://127.0.0.1:9/api\n"),
        ("prefect.toml", '[api]\nurl = "http://127.0.0.1:9/api"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://127.0.0.1:9/api"\n'),
    ],
)
def test_prefect_is_not_led_elsewhere_by_the_current_folder(name, text, downloaded):
    (downloaded / name).write_text(text)
    (downloaded / "photos" / "cat").mkdir(parents=True)
    Image.new("RGB", (96, 96)).save(downloaded / "photos" / "cat" / "a.png")
    (downloaded / "q.yaml").write_text("dataset: q\nversion: 1.0.0\nsource: {name: image_folder, path: photos}\n")
    code, said = run("run", "q.yaml")
    assert code == 1
    assert f"{downloaded / name} has settings of Prefect" in " ".join(said.split())
    assert "no Prefect server answers" not in said
