"""Everything on the pages docs/start/technique.md and docs/guides/techniques.md works as it stands, and wrong attempts
end in one line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from warm_command import run_command

from variorum.edition.editions import find
from variorum.edition.ledgers import read_ledger
from variorum.edition.samples import read_sample
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verdicts import read_verdicts, verdicts_of
from variorum.pixels import decode
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Sample
from variorum.sources.exports.stamps import stamps_folder

ROOT = Path(__file__).parents[2]
FIRST = (ROOT / "docs" / "start" / "technique.md").read_text()
PAGE = FIRST + (ROOT / "docs" / "guides" / "techniques.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n((?:.|\n)*?)^```$", PAGE, re.MULTILINE)
FILES = {
    match[1]: code
    for language, code in BLOCKS
    if language in ("python", "yaml", "toml") and (match := re.match(r"# ([\w.]+)\n", code))
}
COMMANDS = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines()]
RUN = "variorum run my_set.yaml --limit 8 --runner threads"
NAMES = {"generate": "frost", "curate": "contrast", "evaluate": "mean_contrast"}
"""One component of each part."""


def write(folder: Path, **edits: list[tuple[str, str]]) -> Path:
    """The page's files in a folder, some with replacements: `frost=[("old", "new")]`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in FILES.items():
        for old, new in edits.pop(name.partition(".")[0], []):
            assert code.count(old) == 1, f"{name} has {code.count(old)} times {old!r}"
            code = code.replace(old, new)
        (folder / name).write_text(code)
    assert not edits
    return folder


def call(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line in a folder: `variorum …` or `python …`."""
    own = {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": "", "VARIORUM_CACHE": str(folder / "cache")}
    whole = {**os.environ, **own, **environment}
    if words[0] == "variorum":
        return run_command(words[1:], folder, whole)
    python = [sys.executable, "-W", "error::SyntaxWarning", *words[1:]]
    return subprocess.run(python, cwd=folder, env=whole, capture_output=True, text=True)


def done(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 0, process.stderr
    return process.stdout


def error_of(process: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed command ends in."""
    assert process.returncode == 1, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    lines = process.stderr.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], process.stderr
    return lines[-1]


def pictures(folder: Path, version: str = "1.0.0-dev-r1") -> list[Sample]:
    store = Store(str(folder / "store"))
    manifest = find(f"my_set@{version}", store)
    return [
        read_sample(key, members)[0]
        for shard in manifest.shards["test"]
        for key, members in read_shard(store.path(shard))
    ]


def digest(folder: Path, name: str = "my_set@1.0.0-dev") -> str:
    return find(name, Store(str(folder / "store"))).digest()


# ── the page as it stands ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The page's files, after the page's command, and what it printed."""
    folder = write(tmp_path_factory.mktemp("page") / "study")
    assert RUN in COMMANDS
    return folder, done(call(folder, *RUN.split()))


def test_the_page_has_every_file():
    kinds = {"frost.py", "contrast.py", "low_contrast.py", "mean_contrast.py", "my_set.yaml"}
    others = {
        "confidence.py",
        "flip.py",
        "spotlight.py",
        "spotlights.py",
        "test_frost.py",
        "try_my_set.py",
        "pyproject.toml",
    }
    assert set(FILES) == kinds | others


def test_the_first_page_ends_with_a_plugin_that_runs():
    assert sum(1 for word in FIRST.split() if re.search("[A-Za-z]", word)) <= 700
    assert FIRST.rindex("\n## ") == FIRST.index("\n## Run it")


def test_the_template_on_the_page_shows_the_figures(tmp_path):
    from variorum.reports.templates import render

    (code,) = (code for language, code in BLOCKS if language == "jinja")
    (tmp_path / "_mean_contrast.md.j2").write_text(code)
    tables: list = []
    shown = {"figures": {"original": 42.94}, "order": ["original", "frost_0.7"]}
    text = render(tmp_path / "_mean_contrast.md.j2", tables, **shown)
    assert "| original | 42.9 |" in text
    assert [table.title for table in tables] == ["Contrast"]


def test_the_edition_has_complete_records(ran):
    samples = pictures(ran[0])
    frosted = [sample for sample in samples if sample.variant == "frost_0.7"]
    originals = {sample.id: sample for sample in samples if sample.variant == "original"}
    assert len(frosted) == len(originals) >= 2
    for sample in frosted:
        (op,) = sample.ops
        assert sample.parent in originals
        assert set(op) == {"name", "revision", "requested", "achieved", "gates", "models", "seed"}
        assert (op["name"], op["revision"], op["models"], op["gates"]) == ("frost", 1, {}, {})
        assert op["requested"] == {"strength": 0.7}
        assert op["achieved"]["brightness"] == pytest.approx(decode(sample.image).mean())
        assert op["achieved"]["brightness"] > decode(originals[sample.parent].image).mean()
        assert 0 <= op["seed"] < 2**63
    assert len({sample.ops[0]["seed"] for sample in frosted}) == len(frosted)


def test_the_verdicts_are_those_of_the_decider(ran):
    folder = ran[0]
    store = Store(str(folder / "store"))
    number, ledger = read_ledger(find("my_set@1.0.0-dev", store), store, None)
    low = {sample.id for sample in pictures(folder) if decode(sample.image).mean(axis=2).std() < 25}
    verdicts = list(verdicts_of(read_verdicts(ledger.verdicts, store)))
    assert number == 1
    assert {verdict.id for verdict in verdicts} == low
    assert {(one.action, one.by, one.reason) for one in verdicts} == {("review", "low_contrast", "low_contrast")}
    assert all(0 < verdict.value < 25 for verdict in verdicts)
    queue = (folder / "store/editions/my_set/1.0.0-dev/ledgers/0001.review.csv").read_text()
    assert len(queue.splitlines()) == 1 + len(low)


def test_the_figures_stand_in_the_card_and_on_the_terminal(ran):
    folder, out = ran
    kept = json.loads((folder / "store/editions/my_set/1.0.0-dev-r1/evaluation-mean_contrast.json").read_text())
    figures = kept["figures"]
    contrast: dict[str, list[float]] = {}
    for sample in pictures(folder):
        contrast.setdefault(sample.variant, []).append(float(decode(sample.image).mean(axis=2).std()))
    assert figures == {variant: round(float(np.mean(values)), 1) for variant, values in contrast.items()}
    curation, evaluations = re.split("^## Evaluations$", card(folder), flags=re.MULTILINE)
    median = round(float(np.median([value for values in contrast.values() for value in values])), 1)
    assert f"| contrast | median | {median:.4g} |" in curation
    for variant, value in figures.items():
        assert f"| {variant} | {value:.4g} |" in evaluations
        assert re.search(rf"^{re.escape(variant)} +{value:.4g} *$", out, re.MULTILINE)


def test_the_evaluation_with_a_classifier_has_its_plot(tmp_path):
    folder = write(tmp_path / "study", my_set=[("  - name: ./mean_contrast.py", "  - name: ./confidence.py")])
    done(call(folder, *RUN.replace("8", "2").split(), VARIORUM_CACHE=os.environ.get("VARIORUM_CACHE", "")))
    beside = folder / "store/editions/my_set/1.0.0-dev-r1"
    figures = json.loads((beside / "evaluation-confidence.json").read_text())["figures"]
    assert set(figures) == {"original", "frost_0.7"}
    assert all(0.01 < one["value"] <= 1 and one["low"] <= one["value"] <= one["high"] for one in figures.values())
    assert "(confidence-means.png)" in card(folder)
    assert (beside / "confidence-means.png").exists()


def card(folder: Path) -> str:
    return (folder / "store/editions/my_set/1.0.0-dev-r1/README.md").read_text()


@pytest.mark.skipif(stamps_folder() is None, reason="the page shows the output with Debian's stamps")
def test_the_page_shows_what_the_command_prints(ran):
    folder, out = ran
    (shown,) = (code for language, code in BLOCKS if language == "text" and "my_set@" in code)
    printed = out.replace(str(folder), "…")
    hexadecimal = re.compile(r"\b[0-9a-f]{16}\b")  # encoders differ between machines, and with them the digest
    assert [hexadecimal.sub("", line).split() for line in printed.splitlines()] == [
        hexadecimal.sub("", line).split() for line in shown.splitlines()
    ]


def test_the_path_of_a_file_is_in_no_record(ran):
    folder = ran[0]
    for version in ("1.0.0-dev", "1.0.0-dev-r1"):
        for file in (folder / "store/editions/my_set" / version).rglob("*"):
            if file.is_file():
                assert str(folder).encode() not in file.read_bytes(), file
    manifest = find("my_set@1.0.0-dev", Store(str(folder / "store")))
    (generator,) = manifest.recipe["generate"]
    assert generator.keys() == {"name", "strength", "file"}
    assert generator["name"] == "frost"


@pytest.mark.slow
def test_a_second_run_in_another_folder_gives_the_same_edition(ran, tmp_path):
    folder = write(tmp_path / "elsewhere")
    done(call(folder, *RUN.split()))
    for name in ("my_set@1.0.0-dev", "my_set@1.0.0-dev-r1"):
        assert digest(folder, name) == digest(ran[0], name)


def test_components_lists_no_file(ran):
    listed = done(call(ran[0], "variorum", "components"))
    assert "frost" not in listed


def test_the_tests_on_the_page_pass(tmp_path):
    folder = write(tmp_path)
    assert "pytest test_frost.py" in COMMANDS
    assert "2 passed" in done(call(folder, "python", "-m", "pytest", "-q", "test_frost.py"))


@pytest.mark.slow
def test_a_recipe_runs_from_python(ran, tmp_path):
    folder = write(tmp_path)
    out = done(call(folder, "python", "try_my_set.py"))
    assert out.startswith("1.0.0-dev-r1 {'original': {'accepted': ")
    assert digest(folder) == digest(ran[0])


def test_objects_are_flipped_with_their_picture(tmp_path):
    flip = build_component("generate", {"name": str(write(tmp_path) / "flip.py")}, "generate.0")
    ctx = Context(seed=1, models=None, memo=None)
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[4:10, 2:12] = 255
    sample = Sample("0" * 32, pixels, annotations=Annotations((Object((2, 4, 10, 6)),)))
    (flipped,) = flip.generate([sample], ctx)
    ((left, top, width, height),) = (item.box for item in flipped.annotations.objects)
    assert (flipped.image[int(top) : int(top + height), int(left) : int(left + width)] == 255).all()
    assert flipped.digital_source_type == "algorithmicallyEnhanced"
    assert flip.keeps_objects


@pytest.mark.slow
def test_generators_with_a_model(tmp_path):
    """One by one and in batches: the same pictures, up to what a batch changes in a model's last bits."""
    made: dict[str, list[np.ndarray]] = {}
    for name in ("spotlight", "spotlights"):
        recipe = FILES["my_set.yaml"].partition("generate:")[0] + f"generate:\n  - name: ./{name}.py\n"
        folder = write(tmp_path / name)
        (folder / "my_set.yaml").write_text(recipe)
        process = call(folder, *RUN.split(), VARIORUM_CACHE=os.environ.get("VARIORUM_CACHE", ""))
        done(process)
        samples = pictures(folder, "1.0.0-dev")
        manifest = find("my_set@1.0.0-dev", Store(str(folder / "store")))
        assert manifest.models.keys() == {"segmenter"}
        assert all(sample.ops[0]["models"] == manifest.models for sample in samples)
        assert {sample.variant for sample in samples} == {"spotlight"}
        made[name] = [decode(sample.image) for sample in samples]
    assert len(made["spotlight"]) >= 2
    for one, two in zip(*made.values(), strict=True):
        assert np.abs(one.astype(int) - two).max() <= 2


# ── identity ─────────────────────────────────────────────────────────────────────────────────────────────────────────


LOOKING = (
    "for sample in samples:\n",
    "for sample in samples:\n            print('looked', file=__import__('sys').stderr)\n",
)


@pytest.mark.slow
def test_a_changed_file_is_another_edition(ran, tmp_path):
    folder = write(tmp_path)
    run = [*RUN.split(), "--set", "version=1.0.0"]
    done(call(folder, *run))
    first = digest(folder, "my_set@1.0.0")
    write(folder, frost=[(".uniform(0.5, 1,", ".uniform(0.6, 1,")])
    said = error_of(call(folder, *run))
    assert "my_set@1.0.0" in said
    done(call(folder, *RUN.split()))
    assert digest(folder) != digest(ran[0])
    write(folder)
    done(call(folder, *run))
    assert digest(folder, "my_set@1.0.0") == first


@pytest.mark.slow
def test_a_changed_detector_makes_another_ledger_of_the_same_edition(ran, tmp_path):
    folder = write(tmp_path)
    done(call(folder, *RUN.split()))
    write(folder, contrast=[("mean(axis=2).std()", "mean(axis=2).std() / 2"), LOOKING])
    process = call(folder, *RUN.split())
    assert "my_set@1.0.0-dev-r2" in done(process)
    assert "making pictures" not in process.stderr
    assert "looked" in process.stderr
    assert digest(folder) == digest(ran[0])


@pytest.mark.slow
def test_a_late_field_measures_nothing_again(tmp_path):
    folder = write(tmp_path, contrast=[LOOKING])
    first = call(folder, *RUN.split())
    second = call(folder, *RUN.split(), "--set", "curate.contrast.least=60")
    assert "my_set@1.0.0-dev-r1" in done(first)
    assert "looked" in first.stderr
    assert "my_set@1.0.0-dev-r2" in done(second)
    assert "looked" not in second.stderr


@pytest.mark.slow
def test_a_changed_evaluation_is_computed_again(tmp_path):
    folder = write(tmp_path)
    done(call(folder, *RUN.split()))
    write(folder, mean_contrast=[("deviation[variant == name].mean()", "deviation[variant == name].max()")])
    before, out = card(folder), done(call(folder, *RUN.split()))
    assert "my_set@1.0.0-dev-r1" in out
    assert card(folder) != before


# ── a package ────────────────────────────────────────────────────────────────────────────────────────────────────────


def package(folder: Path, name: str = "acme-frost", **edits: list[tuple[str, str]]) -> Path:
    """The page's package, installed offline; returns the folder for PYTHONPATH."""
    pytest.importorskip("setuptools")
    project, target = folder / name, folder / f"{name}-installed"
    module = name.replace("-", "_")
    write(project / module, **edits)
    text = (project / module / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace("acme-frost", name).replace("acme_frost.", f"{module}."))
    for file in (project / module).iterdir():
        if file.name not in ("frost.py", "contrast.py", "low_contrast.py", "mean_contrast.py"):
            file.unlink()
    (project / module / "__init__.py").touch()
    install = [
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
        "--target",
        str(target),
    ]
    done(call(folder, "python", "-m", "pip", "install", *install, str(project)))
    return target


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package(tmp_path_factory.mktemp("package"))


def by_name(folder: Path) -> Path:
    """The recipe with names in place of paths, without the files."""
    folder.mkdir(exist_ok=True)
    (folder / "my_set.yaml").write_text(re.sub(r"\./(\w+)\.py", r"\1", FILES["my_set.yaml"]))
    return folder


def test_the_layout_on_the_page_is_that_of_the_package():
    (layout,) = (code for language, code in BLOCKS if language == "text" and "pyproject.toml" in code)
    assert re.findall(r"[\w-]+\.(?:py|toml)", layout) == [
        *("pyproject.toml", "__init__.py", "frost.py", "contrast.py", "low_contrast.py", "mean_contrast.py"),
    ]
    assert {"pip install -e acme-frost", "variorum components"} <= set(COMMANDS)


@pytest.mark.slow
def test_a_package_makes_the_names_work(installed, ran, tmp_path):
    folder = by_name(tmp_path)
    done(call(folder, *RUN.split(), PYTHONPATH=str(installed)))
    ours, theirs = pictures(folder), pictures(ran[0])
    assert [decode(one.image).tobytes() for one in ours] == [decode(one.image).tobytes() for one in theirs]
    assert [one.ops for one in ours] == [one.ops for one in theirs]
    manifest = find("my_set@1.0.0-dev", Store(str(folder / "store")))
    assert manifest.recipe["generate"] == [{"name": "frost", "strength": 0.7}]


@pytest.mark.slow
def test_components_lists_the_package(installed, tmp_path):
    listed = done(call(tmp_path, "variorum", "components", PYTHONPATH=str(installed)))
    for name in ("frost", "contrast", "low_contrast", "mean_contrast"):
        assert re.search(rf"^  {name} .*\(acme-frost 1\.0\)$", listed, re.MULTILINE)
    rows = json.loads(done(call(tmp_path, "variorum", "components", "--json", PYTHONPATH=str(installed))))
    found = {row["name"]: (row["part"], row["kind"]) for row in rows["components"] if row["from"] == "acme-frost 1.0"}
    assert found == {
        "frost": ("generate", "generator"),
        "contrast": ("curate", "detector"),
        "low_contrast": ("curate", "decider"),
        "mean_contrast": ("evaluate", "evaluation"),
    }
    assert not rows["broken"]


@pytest.mark.slow
def test_two_packages_with_one_name(installed, tmp_path):
    other = package(tmp_path, "winter")
    folder = by_name(tmp_path / "study")
    both = os.pathsep.join([str(installed), str(other)])
    said = error_of(call(folder, *RUN.split(), PYTHONPATH=both))
    assert "two generators are named 'frost': from acme-frost 1.0 and from winter 1.0" in said
    assert "rename one, or uninstall its package" in said
    assert "two generators are named 'frost'" in done(call(folder, "variorum", "components", PYTHONPATH=both))


@pytest.mark.slow
def test_an_entry_point_with_another_name_than_its_module(installed, tmp_path):
    for file in installed.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            copy = tmp_path / "installed" / file.relative_to(installed)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes().replace(b"frost = acme_frost.frost", b"rime = acme_frost.frost"))
    folder, path = by_name(tmp_path), str(tmp_path / "installed")
    recipe = (folder / "my_set.yaml").read_text()
    (folder / "my_set.yaml").write_text(recipe.replace("name: frost", "name: rime"))
    said = error_of(call(folder, *RUN.split(), PYTHONPATH=path))
    assert "entry point rime = 'acme_frost.frost' of acme-frost 1.0: both names must be the same" in said
    assert "rename the entry point, or the module to rime" in said
    listed = call(folder, "variorum", "components", PYTHONPATH=path)
    assert "plugin rime from acme-frost 1.0 can't be used" in listed.stderr
    assert "frost" not in re.findall(r"^  (\w+)", done(listed), re.MULTILINE)


@pytest.mark.slow
def test_a_package_that_cannot_be_imported(tmp_path):
    path = package(tmp_path, "acme-frost", frost=[("import numpy as np", "import numpie as np")])
    folder = by_name(tmp_path / "study")
    said = error_of(call(folder, *RUN.split(), PYTHONPATH=str(path)))
    assert "'frost' from acme-frost 1.0 can't be imported: ModuleNotFoundError: No module named 'numpie'" in said
    assert re.search(r"acme_frost/frost\.py, line \d+\)$", said)


# ── wrong attempts ───────────────────────────────────────────────────────────────────────────────────────────────────

MADE = "yield of.made(pixels, variant=variant, requested=requested, achieved=achieved, extras=sample.extras)"
STRENGTH = "strength: float = Field(default=0.5, gt=0, le=1)"
ROUNDED = "round(float(deviation[variant == name].mean()), 1)"
DEVIATION = 'yield {"deviation": float(sample.image.mean(axis=2).std())}'
LATE = 'late: ClassVar[frozenset[str]] = frozenset({"least"})'
SECOND = "class Other(Generator):\n    def edit(self, sample, of):\n        yield sample\n\n\nclass Frost(Generator):"
BY_HAND = (
    'yield sample.child(pixels, {"name": "frost", "requested": requested, "achieved": {}, "gates": {}}, '
    "variant=variant, fingerprint=self.fingerprint())"
)
AS_LIST = (
    "return [of.made(pixels, variant='frost', requested={}), of.made(255 - pixels, variant='frost', requested={})]"
)
FIGURES = 'return {"median": round(float(np.median(table["deviation"])), 1)}'
NO_YIELD = [("yield sample", "pass"), ("yield of.skipped", "of.skipped"), (MADE, MADE.removeprefix("yield "))]
ALL_IN_A_LIST = [("yield sample", "pass"), ("yield of.skipped", "return [] #"), (MADE, AS_LIST)]

WRONG: dict[str, tuple[dict[str, list[tuple[str, str]]], str]] = {
    # fields
    "a required field is missing": (
        {"frost": [(STRENGTH, "strength: float")], "my_set": [("    strength: 0.7\n", "")]},
        "generate.0.strength: missing; give it a value",
    ),
    "an unknown field": (
        {"my_set": [("strength: 0.7", "strenth: 0.7")]},
        "generate.0.strenth: no such field; there are: strength",
    ),
    "a value out of range": (
        {"my_set": [("strength: 0.7", "strength: 7")]},
        "generate.0.strength: input should be less than or equal to 1 (got 7)",
    ),
    "a field without a type": (
        {"frost": [(STRENGTH, "strength = 0.5")]},
        "frost.py can't be imported: PydanticUserError: A non-annotated attribute was detected: `strength = 0.5`. All "
        "model fields require a type annotation",
    ),
    "a hook as a field": (
        {"contrast": [("    late:", "    needs_labels: bool = True\n    late:")]},
        "contrast: `needs_labels` of Contrast has the name of a hook; give the field another name, or annotate it as "
        "ClassVar if it is the hook",
    ),
    "`late` as a field": (
        {"contrast": [("late: ClassVar[frozenset[str]]", "late: frozenset[str]")]},
        "contrast: `late` of Contrast must be annotated as ClassVar; it is no field",
    ),
    "`late` names no field": (
        {"contrast": [('frozenset({"least"})', 'frozenset({"lest"})')]},
        "contrast: `late` must be a set of fields, not 'lest'; there are: least",
    ),
    "`late` is a text": (
        {"contrast": [('frozenset({"least"})', '"least"')]},
        "contrast: `late` must be a set of fields, not 'least'; there are: least",
    ),
    "`needs` is a text": (
        {"low_contrast": [('("contrast",)', '"contrast"')]},
        "curate.1: needs of LowContrast must return a tuple of names: ('contrast',)",
    ),
    # the file
    "two components in a file": (
        {"frost": [("class Frost(Generator):", SECOND)]},
        "frost.py defines 2 generators: Other, Frost; keep one per file",
    ),
    "no component in the file": (
        {"frost": [("class Frost(Generator)", "class Frost")]},
        "frost.py defines no generator: its class must inherit Generator",
    ),
    "a component of another kind": (
        {"my_set": [("./frost.py\n    strength: 0.7", "./mean_contrast.py")]},
        "mean_contrast.py defines no generator; MeanContrast goes under `evaluate`",
    ),
    "no such file": (
        {"my_set": [("./frost.py", "./frst.py")]},
        "frst.py: No such file or directory; a name that ends in .py is the path of a Python file",
    ),
    "a syntax error": (
        {"frost": [("yield sample\n", "yield sample)\n")]},
        "frost.py can't be imported: SyntaxError: unmatched ')' (frost.py, line 20)",
    ),
    "an import error": (
        {"frost": [("import numpy as np", "import numpie as np")]},
        "frost.py can't be imported: ModuleNotFoundError: No module named 'numpie' (",
    ),
    "an import of a file beside it": (
        {"frost": [("import numpy as np\n", "import numpy as np\n\nimport contrast\n")]},
        "frost.py imports a file beside it; a file named by path must stand alone",
    ),
    "a relative import": (
        {"frost": [("import numpy as np\n", "import numpy as np\n\nfrom . import contrast\n")]},
        "frost.py imports a file beside it; a file named by path must stand alone",
    ),
    "neither `edit` nor `generate`": (
        {"frost": [("def edit(", "def edits(")]},
        "frost: Frost must define `edit` or `generate`",
    ),
    "neither `measure` nor `score`": (
        {"contrast": [("def measure(", "def measures("), ("def score(", "def scores(")]},
        "contrast: Contrast must define `measure` or `score`",
    ),
    "no `decide`": (
        {"low_contrast": [("def decide(", "def judge(")]},
        "low_contrast: LowContrast must define `decide`",
    ),
    "no `figures`": (
        {"mean_contrast": [("def figures(", "def figure(")]},
        "mean_contrast: MeanContrast must define `figures`",
    ),
    # pictures
    "an op by hand": (
        {"frost": [(MADE, BY_HAND)]},
        "frost: its op lacks revision, seed, models; `of.made(...)` in `edit` sets all keys",
    ),
    "a picture twice": (
        {"frost": ALL_IN_A_LIST},
        "frost: two pictures of scikit-image chelsea.png have the variant 'frost' and the same `requested`, so they "
        "have one id; give each its own",
    ),
    "no yield": (
        {"frost": NO_YIELD},
        "frost: edit gave NoneType; it must `yield of.made(...)` or `yield of.skipped(...)`",
    ),
    "pixels alone": (
        {"frost": [(MADE, "yield pixels")]},
        "frost: edit gave ndarray; it must `yield of.made(...)` or `yield of.skipped(...)`",
    ),
    "floats as pixels": (
        {"frost": [(".round().astype(np.uint8)", "")]},
        "frost: the picture is float64 [300, 451, 3]; it must be a NumPy array, uint8 [H, W, 3] or [H, W]",
    ),
    "a list as a picture": (
        {"frost": [("of.made(pixels,", "of.made(pixels.tolist(),")]},
        "frost: the picture is list; it must be a NumPy array, uint8 [H, W, 3] or [H, W]",
    ),
    "an array requested": (
        {"frost": [('{"strength": self.strength}', '{"strength": np.array(self.strength)}')]},
        "frost: in its op, requested.strength: numpy.ndarray has no canonical JSON form; convert it, as by float()",
    ),
    "an array requested of a picture that is skipped": (
        {"frost": [("> 200", "> 0"), ('{"strength": self.strength}', '{"strength": np.array(self.strength)}')]},
        "requested.strength: numpy.ndarray has no canonical JSON form; convert it, as by float()",
    ),
    "NaN achieved": (
        {"frost": [("float(pixels.mean())", 'float("nan")')]},
        "frost: in its op, achieved.brightness: nan has no canonical JSON form; use None",
    ),
    "members that differ": (
        {"frost": [("extras=sample.extras", 'extras={"mask.png": pixels[..., 0]}')]},
        "all must have the same, apart from the picture's format; a generator passes on those of its input with "
        "extras=sample.extras",
    ),
    "a model that `uses` doesn't name": (
        {"frost": [("yield sample\n", 'of.model("segmenter")\n')]},
        "frost: asks for the model 'segmenter', so `uses` must return Use('segmenter')",
    ),
    "a model without `Use`": (
        {"frost": [("    def edit", '    def uses(self):\n        return ("segmenter",)\n\n    def edit')]},
        'frost: uses has str; it must return entries such as `[Use("segmenter")]`',
    ),
    "a model that doesn't exist": (
        {
            "frost": [
                ("import Generator", "import Generator, Use"),
                ("    def edit", '    def uses(self):\n        return [Use("segmentr")]\n\n    def edit'),
            ]
        },
        "no model alias 'segmentr' in profile embedded; there are: ",
    ),
    # tables
    "a wrong column of its own": (
        {"contrast": [('deviation = table["deviation"]', 'deviation = table["devation"]')]},
        "contrast: no column 'devation'. There are: id, sha256, parent, source, variant, status, reason, label, "
        "labels, origin, licence, split, config, photograph, digital_source_type, credentials, objects, deviation",
    ),
    "a wrong column of another": (
        {"low_contrast": [('table["contrast.score"]', 'table["contrst.score"]')]},
        "low_contrast: no column 'contrst.score'. Is 'contrst' in the recipe's curate list, before",
    ),
    "a wrong column of an evaluation": (
        {"mean_contrast": [('table["deviation"]', 'table["devation"]')]},
        "mean_contrast: no column 'devation'. There are: variant, deviation",
    ),
    "the detector that a decider needs is missing": (
        {"my_set": [("  - name: ./contrast.py\n", "")]},
        "curate.0: low_contrast needs contrast before it",
    ),
    "a row too few": (
        {"contrast": [("for sample in samples", "for sample in samples[1:]")]},
        "curate.contrast: measure gave 3 rows for 4 samples; give one row per sample",
    ),
    "a number in place of a row": (
        {"contrast": [(DEVIATION, "yield float(sample.image.mean())")]},
        "curate.contrast: measure gave float; it must yield mappings from column to value",
    ),
    "an object in a row": (
        {"mean_contrast": [(DEVIATION.replace("{", '{"variant": sample.variant, '), 'yield {"deviation": sample}')]},
        "evaluate.mean_contrast: column 'deviation' isn't of one shape and type: Could not convert Sample(",
    ),
    "a score too few": (
        {"contrast": [("self.least - deviation,", "self.least - deviation[1:],")]},
        "curate.contrast: column 'score' has 3 values for 4 samples",
    ),
    "no scores": (
        {"contrast": [('return {"score"', 'found = {"score"')]},
        "curate.contrast: score gave NoneType; it must return a mapping from column to values",
    ),
    "a name of the edition's own": (
        {"contrast": [('{"score"', '{"variant"')]},
        "curate.contrast: column 'variant' has the name of a column of every edition; rename it",
    ),
    # verdicts and figures
    "an action that doesn't exist": (
        {"low_contrast": [('"review"', '"look"')]},
        "curate.low_contrast: no action 'look'; there are: audit, drop, keep, note, relabel, review, unasked, weight",
    ),
    "rows in place of verdicts": (
        {"low_contrast": [('table.verdict(row, "review", "low_contrast", value=score[row])', "score[row]")]},
        "curate.low_contrast: decide gave float64; it must yield or return `table.verdict(row, action, reason)`",
    ),
    "an array as a figure": (
        {"mean_contrast": [(ROUNDED, "deviation")]},
        "evaluate.mean_contrast: figures.frost_0.7: numpy.ndarray has no canonical JSON form; convert it",
    ),
    "NaN as a figure": (
        {"mean_contrast": [(ROUNDED, "float('nan')")]},
        "evaluate.mean_contrast: figures.frost_0.7: nan has no canonical JSON form; use None",
    ),
    "no figures returned": (
        {"mean_contrast": [("return {name", "found = {name")]},
        "evaluate.mean_contrast: figures gave NoneType; it must return a mapping from name to figure",
    ),
    "an array as a detector's figure": (
        {"contrast": [(FIGURES, 'return {"median": np.ones(1)}')]},
        "curate.contrast: figures.median: numpy.ndarray has no canonical JSON form; convert it, as by float()",
    ),
    "NaN as a detector's figure": (
        {"contrast": [(FIGURES, 'return {"median": float("nan")}')]},
        "curate.contrast: figures.median: nan has no canonical JSON form; use None",
    ),
}


@pytest.fixture
def fails(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the page's recipe with replacements on two pictures, in this process; returns the line that it ends in."""

    def fail(**edits: list[tuple[str, str]]) -> str:
        from variorum.flows.cli import main

        monkeypatch.chdir(write(tmp_path / "study", **edits))
        monkeypatch.setattr(sys, "argv", [*RUN.replace("8", "2").split()])
        with pytest.raises(SystemExit) as stop:
            main()
        lines = capsys.readouterr().err.splitlines()
        assert stop.value.code == 1, lines
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:], lines
        return lines[-1]

    return fail


@pytest.mark.filterwarnings("ignore:Field name .late. in:UserWarning")
@pytest.mark.parametrize("attempt", WRONG)
def test_a_wrong_attempt_ends_in_one_line(attempt, fails):
    edits, says = WRONG[attempt]
    said = fails(**edits)
    assert says in said
    assert len(said) < 800


def test_a_wrong_attempt_in_a_process_of_its_own(tmp_path):
    folder = write(tmp_path, frost=[(MADE, BY_HAND)])
    assert error_of(call(folder, *RUN.split())).endswith(WRONG["an op by hand"][1])


def test_a_bug_is_a_line_with_its_place_and_a_traceback_if_asked_for(tmp_path):
    folder = write(tmp_path, frost=[("self.strength * of.rng", "self.strngth * of.rng")])
    process = call(folder, *RUN.split())
    assert process.returncode == 70
    line = process.stderr.splitlines()[-1]
    assert line.startswith(
        "error: unexpected AttributeError: 'Frost' object has no attribute 'strngth' (frost.py, line "
    )
    assert line.endswith("; run the same command with --debug for the traceback")
    assert "Traceback" not in process.stderr
    asked = call(folder, *RUN.split(), "--debug")
    assert asked.returncode == 70
    assert "Traceback" in asked.stderr
    assert "frost.py" in asked.stderr


# ── easy to get right ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_one_picture_may_be_returned(tmp_path):
    single = [("yield sample", "pass"), ("yield of.skipped", "return of.skipped"), (MADE, f"return {MADE[6:]}")]
    folder = write(tmp_path, frost=single)
    done(call(folder, *RUN.split()))
    assert {sample.variant for sample in pictures(folder)} == {"frost_0.7"}


@pytest.mark.slow
def test_skipped_pictures_are_counted_with_their_reason(tmp_path):
    folder = write(tmp_path, frost=[("> 200", "> 0")])
    assert "too_bright" in done(call(folder, *RUN.split()))
    store = Store(str(folder / "store"))
    rows = read_table(store, find("my_set@1.0.0-dev", store).rows).to_pylist()
    skipped = [row for row in rows if row["status"] == "ineligible"]
    assert {row["reason"] for row in skipped} == {"too_bright"}
    assert {row["variant"] for row in skipped} == {"frost_0.7"}


@pytest.mark.slow
def test_a_raised_revision_is_recorded(tmp_path):
    folder = write(tmp_path, frost=[(STRENGTH, f"revision = 2\n\n    {STRENGTH}")])
    done(call(folder, *RUN.split()))
    assert {op["revision"] for sample in pictures(folder) for op in sample.ops} == {2}


def test_the_picture_that_came_in_cannot_be_overwritten(tmp_path):
    folder = write(
        tmp_path, frost=[("        if sample.image", "        sample.image[:8] = 255\n        if sample.image")]
    )
    process = call(folder, *RUN.split())
    assert process.returncode == 70
    assert "ValueError: assignment destination is read-only (frost.py, line " in process.stderr.splitlines()[-1]
