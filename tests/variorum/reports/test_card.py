import csv
import io
import json
import re
import shutil
import string
import uuid
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from variorum.edition.editions import folder_of, read_beside, resolve, write_beside
from variorum.edition.store import Store
from variorum.edition.verdicts import read_verdicts, verdicts_of
from variorum.pipeline import Job, build, curate, evaluate, release, run
from variorum.reports.card import evaluation_tables, evaluations, header_text, render_card, write_card
from variorum.reports.card_plots import plots_of
from variorum.reports.contact_sheet import contact_sheet
from variorum.reports.figures import Shown, flat_figures, inert, markdown, table_cell
from variorum.reports.hub_types import check_header, read_back
from variorum.reports.templates import check_template
from variorum.schemas.component import Evaluation
from variorum.schemas.errors import CorruptShard, RecipeError, StoreError
from variorum.schemas.plot import CurvePlot, CurvePoint, IntervalPlot, RadarPlot
from variorum.schemas.recipe import Recipe
from variorum.schemas.verdict import Verdict

pytestmark = pytest.mark.usefixtures("own_cache")

NASTY = ["a|b", "<script>alert(1)<", "tick`s`", "[x](y)", "line\nbreak", "---", "a: b", "long " * 30, "ünïcödé", "$(x)"]


@pytest.fixture
def edition(photos, tmp_path):
    """An edition whose class names and paths try to break out, with quarantined and failed pictures."""
    folder = tmp_path / "nasty"
    for name in NASTY:
        (folder / name).mkdir(parents=True)
        shutil.copy(photos / "coffee" / "0.jpg", folder / name / "a|b <b>\n`x`.jpg")
    (folder / NASTY[0] / "broken|\n<i>.jpg").write_bytes(b"\xff\xd8\xff")
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 4,
            "source": {"name": "image_folder", "path": str(folder), "licence": "CC0 | <b>"},
            "generate": [{"name": "probe", "quarantine": "tick", "fail": "long"}],
            "card": {"title": "T: 'x' # y"},
        }
    )
    store = Store(str(tmp_path / "store"))
    return recipe, build(Job(recipe, store)), store


def test_markup_in_data_stays_text(edition):
    text = render_card(*edition)
    _, header, body = text.split("---\n", 2)
    data = yaml.safe_load(header)
    assert data["pretty_name"] == "T: 'x' # y"
    (info,) = [info for info in data["dataset_info"] if info["config_name"] == "all"]
    (cls,) = [column for column in info["features"] if column["name"] == "cls"]
    names = set(cls["dtype"]["class_label"]["names"].values())
    assert names == {" ".join(name.split()) for name in NASTY}
    assert "<script" not in body
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables if "negative" in line or "original" in line}) == 1


@given(st.text(string.printable + "ü|<>`[]\u2028", max_size=40))
def test_a_cell_is_one_line_without_markup(text):
    cell = table_cell(text)
    assert not set(cell) & set("|<>`*~${}\\\n\r\x0b\x0c\u2028")
    assert not re.search(r"\]\s*[(\[:]", cell)


@given(st.text('[]()!<>`|\\: ^a*_~"&;', max_size=24))
@example("**a**")
@example("_a_ __b__ snake_case")
@example("~~a~~ &lt;b&gt;")
@example("[[a]b](c)")
@example("![a](b)")
@example("[a]: b")
def test_a_cell_holds_no_link_picture_code_or_tag(text):
    from markdown_it import MarkdownIt

    shown = MarkdownIt("commonmark").enable("table").parse(f"| head |\n|---|\n| {table_cell(text)} |")
    assert sum(token.type == "td_open" for token in shown) == 1
    inline = {child.type for token in shown for child in token.children or ()}
    assert not inline - {"text", "text_special"}
    (cell,) = [token for token, before in zip(shown[1:], shown, strict=False) if before.type == "td_open"]
    assert "".join(child.content for child in cell.children) == " ".join(text.split())


@pytest.mark.parametrize("text", ["a\x1b[2J", "a\u202eb", "a\u200bb", "\udcff", "a\0b", "\x9b31m", "\ufeffx"])
def test_what_cannot_be_seen_is_shown_as_such(text):
    assert "\ufffd" in table_cell(text)
    assert "\ufffd" in inert(text)


def test_text_that_no_template_escapes_has_no_tags_links_and_lines():
    text = inert("<img src=x>\n\n# head\r\n[a](b) ![c](d)\u2028---\n")
    assert "\n" not in text
    assert "<" not in text
    assert "](" not in text
    assert inert(3) == 3


HOSTILE = "<img src=x>](javascript:x)\n\n# owned\n```\n---\n{{7*7}}${{7*7}}|**b**\x1b[2J\u202e"


def test_other_peoples_figures_cannot_put_markup_into_a_card(curated, photos, tmp_path):
    """Every text of a ledger's figures and of an evaluation's, also in places where a number belongs."""
    curated({}, drop=1)
    store = Store(str(tmp_path / "store"))
    manifest = resolve("d@1.0.0-r1", store)
    what = Recipe.parse(
        {
            **manifest.recipe,
            "source": {"name": "image_folder", "path": str(photos)},
            "evaluate": [{"name": "brightness"}],
        }
    )
    plain = render_card(what, manifest, store)
    figures = {"audit": {"state": HOSTILE}, "bright": {HOSTILE: HOSTILE, "n": [HOSTILE]}, "owned": {"a": {HOSTILE: 1}}}
    ledger = manifest.ledger.model_copy(update={"figures": figures})
    changed = manifest.model_copy(update={"ledger": ledger})
    kept = {"edition": changed.digest(), "key": "", "models": {}, "figures": {HOSTILE: HOSTILE}}
    write_beside(changed, "evaluation-brightness.json", json.dumps(kept).encode(), store)
    text = render_card(what, changed, store)
    assert "owned" in text
    assert not [
        mark for mark in ("<img", "](javascript", "\n# owned", "\n```\n---", "{{7", "**b**", "\x1b") if mark in text
    ]
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert set(heads) - {line for line in plain.splitlines() if line.startswith("#")} <= {
        "## Evaluations",
        "### brightness",
    }


@pytest.mark.parametrize(
    "figures", [{}, {"state": "x", "error_rate": {"before": "<b>"}}, {"state": "x", "error_rate": 3}]
)
def test_figures_that_no_template_can_show_are_one_line(curated, photos, tmp_path, figures):
    curated({}, drop=1)
    store = Store(str(tmp_path / "store"))
    manifest = resolve("d@1.0.0-r1", store)
    what = Recipe.parse({**manifest.recipe, "source": {"name": "image_folder", "path": str(photos)}})
    changed = manifest.model_copy(update={"ledger": manifest.ledger.model_copy(update={"figures": {"audit": figures}})})
    with pytest.raises(CorruptShard, match=r"^figures of audit can't be shown \([^\n]*\); make them again, [^\n]*$"):
        render_card(what, changed, store)


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n\u2028\x85-'\"#:&*!|>{}[]"), max_size=30),
        unique=True,
        max_size=4,
    )
)
@example(["a\n---\nb", "\u2028---\u2028", "--- a", "x" * 3000 + " --- " + "y" * 2000])
def test_names_of_classes_cannot_end_the_header(names):
    header = {"dataset_info": [{"features": [{"names": {str(k): name for k, name in enumerate(names)}}]}]}
    text = f"---\n{header_text(header)}---\n\n# x\n"
    lines = text.splitlines()
    assert lines[0] == "---"
    end = lines.index("---", 1)
    assert lines[end + 1 :] == ["", "# x"]
    assert yaml.safe_load(text.split("\n---\n", 1)[0].removeprefix("---\n")) == header


def test_a_header_that_names_other_files_is_not_loaded(everything):
    job, manifest = everything
    folder = Path(folder_of(manifest, job.store))
    assert check_header(str(folder), manifest) == []
    kept = (folder / "README.md").read_text()
    try:
        for old, new in (
            ("data/*/train-*.tar", "/etc/*"),
            ("data/*/train-*.tar", "https://example.org/x.tar"),
            ("square", "cat"),
            ("---\n", "--\n"),
            ("configs:", "configs: [*x, &x"),
        ):
            (folder / "README.md").write_text(kept.replace(old, new))
            assert len(check_header(str(folder), manifest)) == 1
            with pytest.raises(StoreError, match=r"README\.md: its header doesn't have the \w+ of shapes@1\.0\.0"):
                read_back(str(folder), manifest)
    finally:
        (folder / "README.md").write_text(kept)


def test_an_interval_keeps_its_brackets_in_a_cell():
    assert table_cell("70.0 [60.1, 79.9]") == "70.0 [60.1, 79.9]"


def test_the_contact_sheet_shows_all(edition):
    _, manifest, store = edition
    sheet = Image.open(io.BytesIO(contact_sheet(manifest, store)))
    assert sheet.format == "PNG"
    assert sheet.width > 120 + 2 * 144
    assert contact_sheet(manifest, store) == contact_sheet(manifest, store)


def test_the_card_and_its_files_lie_beside_the_manifest(edition):
    recipe, manifest, store = edition
    text = write_card(recipe, manifest, store)
    assert read_beside(manifest, "README.md", store).decode() == text
    kept = yaml.safe_load(read_beside(manifest, "recipe.yaml", store))
    assert kept["dataset"] == "d"
    assert "path" not in kept["source"]


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_reads_the_edition_with_its_types(edition, tmp_path, monkeypatch, streaming):
    import datasets

    recipe, manifest, store = edition
    write_card(recipe, manifest, store)
    folder = folder_of(manifest, store)
    cache = str(tmp_path / "hf")
    data = datasets.load_dataset(folder, split="test", streaming=streaming, cache_dir=cache)
    assert isinstance(data.features["cls"], datasets.ClassLabel)
    assert data.features["cls"].names == [name for _, name in manifest.classes]
    assert isinstance(data.features["png"], datasets.Image)
    rows = list(data)
    assert len(rows) == sum(shard.samples for shard in manifest.shards["test"])
    ids = {class_id: index for index, (class_id, _) in enumerate(manifest.classes)}
    assert all(ids[row["json"]["labels"][0]] == row["cls"] for row in rows)
    assert rows[0]["png"].size == (96, 64)
    quarantine = datasets.load_dataset(folder, "quarantine", split="quarantine", streaming=streaming, cache_dir=cache)
    assert [row["json"]["reason"] for row in quarantine] == ["asked_for"]


def test_another_edition_of_the_same_version_is_not_answered_from_the_cache(photos, tmp_path):
    import datasets

    found = []
    for place, limit in (("one", 3), ("two", 5)):
        source = {"name": "image_folder", "path": str(photos)}
        recipe = Recipe.parse({"dataset": "d", "version": "1.0.0-dev", "limit": limit, "source": source})
        store = Store(str(tmp_path / place))
        manifest = build(Job(recipe, store))
        write_card(recipe, manifest, store)
        rows = datasets.load_dataset(folder_of(manifest, store), split="test", cache_dir=str(tmp_path / "hf"))
        assert manifest.digest() in rows.info.description
        found.append(len(rows))
    assert found == [3, 5]


def test_a_card_of_a_memory_store(photos):
    recipe = Recipe.parse({"dataset": "d", "version": "1.0.0", "source": {"name": "image_folder", "path": str(photos)}})
    store = Store(f"memory://{uuid.uuid4().hex}")
    manifest = build(Job(recipe, store))
    assert write_card(recipe, manifest, store)
    assert not Path(store.root).exists()


@pytest.mark.parametrize("template", ["default", "imagenet_e"])
def test_every_template_tells_splits_annotations_kinds_and_licences(everything, template):
    job, manifest = everything
    card = job.recipe.card.model_copy(update={"template": template})
    text = render_card(job.recipe.model_copy(update={"card": card}), manifest, job.store)
    table = rows_of(text)
    assert table["hall"] == ["3", "3", "0", "6"]
    assert table["all"] == ["6", "3", "3", "12"]
    assert table["objects"] == ["12", "8"]
    assert {term: table[term] for term in ("*unknown*", "digitalCapture", "composite")} == {
        "*unknown*": ["4"],
        "digitalCapture": ["4"],
        "composite": ["4"],
    }
    assert "http://cv.iptc.org/newscodes/digitalsourcetype/" in text
    assert "\n1 picture is of source files with content credentials" in text
    assert table["CC-BY-4.0 &#124; &lt;i&gt;"] == ["9"]
    assert table["CC0-1.0"] == ["3"]
    assert table["`jpg`, `png`"][0].startswith("the picture, in the source's own file; each row has one of these")
    assert {"`txt`", "`cls`", "`json`", "`annotations.json`", "· `objects`", "· `states`"} <= table.keys()
    assert "<b>" not in text.split("---\n", 2)[2]


def test_a_card_without_annotations_says_nothing_of_them(photos, tmp_path):
    job, manifest = evaluated(photos, tmp_path)
    text = render_card(job.recipe, manifest, job.store)
    for absent in ("annotations.json", "Annotations:", "digitalsourcetype", "credentials (C2PA)", "by split", "`txt`"):
        assert absent not in text
    assert rows_of(text)["`png`"] == ["the picture, lossless"]
    assert yaml.safe_load(text.split("---\n", 2)[1])["task_categories"] == ["image-classification"]


# ── what curation did ────────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(text: str) -> dict[str, list[str]]:
    """The card's table rows by their first cell."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in cells}


@pytest.fixture
def curated(photos, tmp_path):
    """A function: the card of what `bright` and, if asked for, an audit with these answers make of twelve pictures."""
    store = Store(str(tmp_path / "store"))

    def card(audit=None, **rules):
        what = Recipe.parse(
            {
                "dataset": "d",
                "version": "1.0.0",
                "source": {"name": "image_folder", "path": str(photos)},
                "curate": [
                    {"name": "bright"},
                    {"name": "bright_rules", **rules},
                    *([] if audit is None else [{"name": "audit", **audit}]),
                ],
            }
        )
        job = Job(what, store)
        manifest = build(job)
        number, ledger = curate(job, manifest)
        made = release(job, manifest, number, ledger)
        return render_card(what, made, store), list(verdicts_of(read_verdicts(ledger.verdicts, store)))

    return card


def answers(path: Path, verdicts: list[Verdict], new_wrong: str) -> dict[str, str]:
    """Fields of an audit: the two darkest pictures, which get another label, have a wrong one, and all others not."""
    new = {verdict.id for verdict in verdicts if verdict.action == "relabel"}
    rows = [
        (verdict.id, verdict.sha256, int(verdict.id in new), new_wrong if verdict.id in new else "")
        for verdict in verdicts
        if verdict.action == "audit"
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "sha256", "wrong", "new_wrong"), *rows])
    return {"answers": str(path), "sample": 20, "sample_relabelled": 20}


def test_the_error_rates_that_people_found_stand_in_the_card(curated, tmp_path):
    text, verdicts = curated({"sample": 20, "sample_relabelled": 20}, drop=2, relabel=2)
    assert "Not audited: 12 pictures in the queue, which tell the error rate." in text
    text, _ = curated(answers(tmp_path / "a.csv", verdicts, "0"), drop=2, relabel=2)
    table = rows_of(text)
    assert table["**wrong labels before**, in the edition"] == ["16.7", "16.7 to 16.7"]
    assert table["**wrong labels after**, in this release"] == ["0.0", "0.0 to 0.0"]
    assert table["wrong among the 2 new labels"] == ["0.0", "0.0 to 0.0"]
    assert table["recall: wrong labels that are flagged"][0] == "0.0"  # there are no detectors
    assert table["harm: right labels that are flagged, middle classes"][0] == "0.0"
    assert table["precision: flagged labels that are wrong"] == ["–", ""]
    text, _ = curated(answers(tmp_path / "a.csv", verdicts, ""), drop=2, relabel=2)
    assert rows_of(text)["**wrong labels after**, in this release"] == ["–", ""]
    assert "2 relabelled pictures have no answer on their new label yet" in text
    text, _ = curated(answers(tmp_path / "a.csv", verdicts, "1"), drop=2, relabel=2)
    assert rows_of(text)["**wrong labels after**, in this release"][0] == "20.0"


def test_the_card_tells_by_class_why_pictures_went_and_what_their_source_is(curated):
    text, _ = curated(drop=3, relabel=2, review=1)
    table = rows_of(text)
    assert table["**all**"] == ["12", "3", "2", "1", "too_bright 3, dark_is_a_cat 2, odd 1"]
    touched = [table[name] for name in ("astronaut", "chelsea", "coffee") if name in table]
    assert sum(int(cells[1]) for cells in touched) == 3
    assert sum(int(cells[2]) for cells in touched) == 2
    assert "Everything is of one source, `image_folder`: its folders are the classes." in text


def test_the_card_compares_detectors(photos, tmp_path):
    store = Store(str(tmp_path / "store"))
    what = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(photos)},
            "curate": [{"name": "quality"}],
        }
    )
    job = Job(what, store)
    manifest = build(job)
    number, ledger = curate(job, manifest)
    assert list(ledger.detectors["flagged"]) == ["quality"]
    names = ["a|b", "finder"]
    found = {
        "flagged": {name: {"all": 0.25, "tail": None, "all_alone": 0.125, "tail_alone": None} for name in names},
        "agreement": [{"of": names, "phi": 0.5, "rho": -0.25}],
        "classes": [{"class": "coffee", "pictures": 4, "flagged": {"any": 0.5, "a|b": 0.25, "finder": 0.5}}],
    }
    made = release(job, manifest, number, ledger.model_copy(update={"detectors": found}))
    table = rows_of(render_card(what, made, store))
    assert table["1 a&#124;b"] == ["25.0", "–", "12.5", "–", "", "-0.25"]
    assert table["2 finder"] == ["25.0", "–", "12.5", "–", "0.50", ""]
    assert table["coffee"] == ["4", "50.0", "25.0", "50.0"]


# ── evaluations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def evaluated(photos, tmp_path, *evaluations):
    """An edition of the photographs and their negatives, with its job."""
    what = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": "probe", "copies": 2}],
            "evaluate": [{"name": name} for name in evaluations],
        }
    )
    job = Job(what, str(tmp_path / "store"))
    return job, build(job)


def test_figures_without_a_template_stand_as_a_plain_table(photos, tmp_path):
    job, manifest = evaluated(photos, tmp_path, "brightness")
    assert "### brightness" not in write_card(job.recipe, manifest, job.store)  # there are no figures yet
    assert evaluation_tables(job.recipe, manifest, evaluations(job.recipe, manifest, job.store)) == []
    figures = evaluate(job, manifest)["brightness"]
    text = write_card(job.recipe, manifest, job.store)
    rows = [(name, f"{value:.4g}") for name, value in figures.items()]
    assert len(rows) == 3
    assert f"### brightness\n\n{markdown(('figure', 'value'), rows)}\n" in text
    assert evaluation_tables(job.recipe, manifest, evaluations(job.recipe, manifest, job.store)) == [
        Shown("brightness", ("figure", "value"), rows)
    ]


def test_a_templates_tables_are_those_of_the_terminal(photos, tmp_path):
    job, manifest = evaluated(photos, tmp_path, "brightness", "accuracy_drop")
    evaluate(Job(job.recipe.model_copy(update={"evaluate": job.recipe.evaluate[:1]}), job.store), manifest)
    variants = {
        name: {"n": 12, "accuracy": 50.0, "original_accuracy": 75.0, "drop": {"value": 25.0, "low": 20.0, "high": 30.0}}
        for name in ("negative_1", "negative_0")
    }
    pin = "classifier_small@sha256:" + 64 * "a"
    record = {
        "edition": manifest.digest(),
        "models": {"classifier_small": pin},
        "figures": {
            "confidence": 0.95,
            "unscored": 0,
            "unpaired": 0,
            "classifiers": {
                "classifier_small": {
                    "n": 12,
                    "original_accuracy": 75.0,
                    "average_drop": {"value": 25.0, "low": 20.0, "high": 30.0},
                    "variants": variants,
                }
            },
        },
    }
    write_beside(manifest, "evaluation-accuracy_drop.json", json.dumps(record).encode(), job.store)
    text = render_card(job.recipe, manifest, job.store)
    plain, overview, drops = evaluation_tables(job.recipe, manifest, evaluations(job.recipe, manifest, job.store))
    assert (plain.title, overview.title) == ("brightness", "Accuracy drop")
    assert overview.rows == [("classifier_small", "75.0 % of 12", "", "", "75.0", "", "25.0 [20.0, 30.0]", "")]
    assert drops.title.startswith("Accuracy drop: classifier_small, classifier_small@sha256:aaaaaaaaaaaa")
    assert [row[0] for row in drops.rows[:2]] == ["negative_0", "negative_1"]  # in the order in which they were made
    assert all("25.0 [20.0, 30.0]" in row for row in drops.rows)
    for shown in (plain, overview, drops):
        assert markdown(shown.head, shown.rows) in text
    assert text.index("### brightness") < text.index("### Accuracy drop")  # as the recipe has them


def judged(photos, tmp_path, **more):
    """An edition with figures of `accuracy_drop` on two classifiers, its job, and the record of the figures."""
    job, manifest = evaluated(photos, tmp_path, "accuracy_drop")

    def interval(value):
        return {"value": value, "low": value - 5.0, "high": value + 5.0}

    def judge(drop):
        bins = [{"confidence": 0.3, "accuracy": 0.5, "n": 5}, {"confidence": 0.8, "accuracy": 0.75, "n": 7}]
        calibration = {"n": 12, "accuracy": 65.0, "confidence": 60.0, "ece": 11.5, "ece_by_chance": 9.25, "bins": bins}
        return {
            "outputs": 1000,
            "preprocessing": "Squashed to 224 × 224 px <b>",
            "n": 12,
            "original_accuracy": 75.0,
            "average_accuracy": interval(60.0),
            "average_drop": interval(drop),
            "variants": {
                f"negative_{k}": {"n": 12, "accuracy": 50.0, "original_accuracy": 75.0, "drop": interval(drop + k)}
                for k in range(2)
            },
            "calibration": {"originals": calibration, "edits": calibration},
        }

    figures = {
        "confidence": 0.95,
        "unscored": 0,
        "unpaired": 0,
        "several_labels": 3,
        "names": ["z", "a"],
        "variants": ["negative_1", "negative_0"],
        "classifiers": {"z": judge(10.0), "a": judge(20.0)},
        "differences": [{"of": ["z", "a"], "n": 12, "average_drop": interval(-10.0)}],
        **more,
    }
    record = {"edition": manifest.digest(), "models": {"z": "z@x", "a": "a@x"}, "figures": figures}
    write_beside(manifest, "evaluation-accuracy_drop.json", json.dumps(record).encode(), job.store)
    return job, manifest, record


def test_a_card_says_what_classifiers_are_how_they_differ_and_how_sure_they_are(photos, tmp_path):
    job, manifest, _ = judged(photos, tmp_path)
    text = render_card(job.recipe, manifest, job.store)
    tables = {
        table.title: table
        for table in evaluation_tables(job.recipe, manifest, evaluations(job.recipe, manifest, job.store))
    }
    assert list(tables) == [
        "Accuracy drop",
        "Differences between classifiers, pp",
        "Accuracy drop: z, z@x",
        "Accuracy drop: a, a@x",
    ]  # without that of the calibration, which the card alone shows
    assert "#### Calibration" in text
    assert [row[:5] for row in tables["Accuracy drop"].rows] == [  # as in the recipe
        ("z", "75.0 % of 12", "", "", "75.0"),
        ("a", "75.0 % of 12", "", "", "75.0"),
    ]
    assert tables["Differences between classifiers, pp"].rows == [("z − a", "", "", "-10.0 [-15.0, -5.0]")]
    assert "- z (1000 classes): Squashed to 224 × 224 px &lt;b&gt;\n" in text
    assert "3 pictures have several labels; a prediction of any of them is right." in text
    assert rows_of(text)["z, originals"] == ["12", "65.0", "60.0", "11.5", "9.2"]


def test_a_card_opens_with_the_contact_sheet_and_shows_its_plots(photos, tmp_path):
    job, manifest, record = judged(photos, tmp_path)
    text = write_card(job.recipe, manifest, job.store)
    opening = text.split("---\n", 2)[2].strip().splitlines()
    assert opening[0] == "# d"
    figures = dict(re.findall(r"^\| ([a-z ]+) \| \*\*(.*)\*\* \|$", "\n".join(opening[2:9]), re.MULTILINE))
    assert list(figures) == ["pictures", "photographs", "classes", "size", "licence"]
    assert figures["photographs"] == "12"
    assert opening[9] == (
        "![Contact sheet of d@1.0.0: the same pictures side by side in each variant: original, negative_0, "
        "negative_1](contact_sheet.png)"
    )
    shown = re.findall(r"!\[([^\]]*)\]\((accuracy_drop-\w+\.png)\)", text)
    assert [file for _, file in shown] == ["accuracy_drop-drops.png", "accuracy_drop-reliability.png"]
    assert shown[0][0].endswith("with intervals, for z; a; rows: negative_0 to average over edits")
    folder = Path(folder_of(manifest, job.store))
    images = {file: (folder / file).read_bytes() for _, file in shown}
    assert all(Image.open(io.BytesIO(data)).format == "PNG" for data in images.values())

    write_card(job.recipe, manifest, job.store)
    assert {file: (folder / file).read_bytes() for _, file in shown} == images  # the same bytes
    record["figures"]["classifiers"]["z"]["variants"]["negative_0"]["drop"]["value"] = 12.0
    for judge in record["figures"]["classifiers"].values():
        judge["calibration"] = {}
    (folder / "accuracy_drop-own-notes.png").write_bytes(b"mine")
    write_beside(manifest, "evaluation-accuracy_drop.json", json.dumps(record).encode(), job.store)
    text = write_card(job.recipe, manifest, job.store)
    assert "accuracy_drop-drops.png" in text
    assert "reliability" not in text
    assert (folder / "accuracy_drop-drops.png").read_bytes() != images["accuracy_drop-drops.png"]
    assert not (folder / "accuracy_drop-reliability.png").exists()
    assert (folder / "accuracy_drop-own-notes.png").exists()  # no name of a plot


def test_hostile_names_of_classifiers_cannot_break_out_of_a_card(photos, tmp_path):
    job, manifest, record = judged(photos, tmp_path)
    figures = record["figures"]
    figures["classifiers"] = {HOSTILE: figures["classifiers"]["z"]}
    figures |= {"names": [HOSTILE], "differences": []}
    record["models"] = {HOSTILE: HOSTILE}
    write_beside(manifest, "evaluation-accuracy_drop.json", json.dumps(record).encode(), job.store)
    text = write_card(job.recipe, manifest, job.store)
    for mark in ("<img", "](javascript", "\n# owned", "\n```\n---", "{{7", "**b**", "\x1b", "\u202e"):
        assert mark not in text
    assert text.count("](accuracy_drop-") == 2


def with_drop(value):
    """Figures of one classifier with a drop that is no number."""
    drop = {"value": value, "low": 0.0, "high": 1.0}
    variants = {"v": {"n": 1, "accuracy": 0.0, "original_accuracy": 0.0, "drop": drop}}
    return {"names": ["z"], "classifiers": {"z": {"n": 1, "variants": variants}}}


@pytest.mark.parametrize(
    "damage",
    [
        {"classifiers": []},
        {"classifiers": {"z": 3}},
        {"names": ["nobody"]},
        with_drop("<b>"),
        with_drop(1e300),
        with_drop(None),
    ],
)
def test_figures_that_cannot_be_plotted_are_one_line(photos, tmp_path, damage):
    job, manifest, _ = judged(photos, tmp_path, **damage)
    with pytest.raises(
        CorruptShard, match=r"^figures of accuracy_drop can't be plotted [^\n]*; make them again, [^\n]*$"
    ):
        render_card(job.recipe, manifest, job.store)


PLOTTED = """
from variorum.schemas.component import Evaluation
from variorum.schemas.plot import IntervalPlot, Point


class Plotted(Evaluation):
    plot: str = "means"

    def measure(self, samples, ctx):
        return []

    def figures(self, table, ctx):
        return {"value": 3.0}

    def plots(self, figures):
        value = figures["value"]
        return {self.plot: IntervalPlot("A | title", "units", ("a",), {"b]": (Point(value, 1, 5),)})}
"""


def test_plots_of_an_evaluation_without_a_template_stand_above_its_table(photos, tmp_path):
    file = tmp_path / "plotted.py"
    file.write_text(PLOTTED)
    job, manifest = evaluated(photos, tmp_path, str(file))
    evaluate(job, manifest)
    text = write_card(job.recipe, manifest, job.store)
    shown = "![A &#124; title: units, with intervals, for b]; rows: a](plotted-means.png)"
    assert f"### plotted\n\n{shown}\n\n| figure | value |" in text
    assert (Path(folder_of(manifest, job.store)) / "plotted-means.png").exists()
    (found,) = job.recipe.evaluate
    bad = job.recipe.model_copy(update={"evaluate": (found.model_copy(update={"plot": "../../x"}),)})
    with pytest.raises(RecipeError, match=r"evaluate\.plotted: plots gave the name '\.\./\.\./x'"):
        render_card(bad, manifest, job.store)


@pytest.mark.parametrize(
    ("plot", "why"),
    [
        (RadarPlot("r", "%", 100.0, ("a", "b"), {"m": (1.0,)}), "one point for each row"),
        (RadarPlot("r", "%", 100.0, ("a",), {"m": ("x",)}), "'x' is no number"),
        (RadarPlot("r", "%", 0.0, ("a",), {"m": (1.0,)}), "isn't above 0"),
        (CurvePlot("c", "x", "%", {"m": (CurvePoint(float("nan"), 1, 1, 1),)}), "nan is no number"),
        (CurvePlot("c", 3, "%", {"m": ()}), "no text"),
        (CurvePlot("c", "x", "%", {"m": ()}, -1.0), "isn't above 0"),
    ],
)
def test_plots_that_cant_be_drawn_are_refused(plot, why):
    class Drawing(Evaluation):
        def measure(self, samples, ctx):
            return []

        def figures(self, table, ctx):
            return {}

        def plots(self, figures):
            return {"one": plot}

    with pytest.raises(CorruptShard, match=why):
        plots_of(Drawing(), {})


@pytest.mark.parametrize(
    ("plot", "why"),
    [
        (IntervalPlot("i", "%", [("a", (1, 0, 2))], ["m"]), r"IntervalPlot 'one' of plots: series must be a mapping"),
        (IntervalPlot("i", "%", {"a": 1}, {}), "rows must be a tuple of labels, not dict"),
        (IntervalPlot("i", "%", ("a",), {"m": 1.0}), "a tuple for each name, not float 1.0"),
        (IntervalPlot("i", "%", ("a",), {"m": ((1, 0, 2),)}), r"must be a Point\(value, low, high\), not tuple"),
        (CurvePlot("c", "x", "%", {"m": (None,)}), r"must be a CurvePoint\(x, value, low, high\), not NoneType"),
        (RadarPlot("r", "%", 1.0, "ab", {"m": (1.0, 1.0)}), "axes must be a tuple of labels, not str 'ab'"),
    ],
)
def test_plots_of_other_parts_are_an_error_of_the_technique(plot, why):
    class Drawing(Evaluation):
        def measure(self, samples, ctx):
            return []

        def figures(self, table, ctx):
            return {}

        def plots(self, figures):
            return {"one": plot}

    with pytest.raises(RecipeError, match=why):
        plots_of(Drawing(), {})


def test_an_exception_in_plots_names_its_place():
    class Drawing(Evaluation):
        def measure(self, samples, ctx):
            return []

        def figures(self, table, ctx):
            return {}

        def plots(self, figures):
            return {"one": IntervalPlot("i", rows=())}

    with pytest.raises(CorruptShard, match=r"\(TypeError: .*'unit' and 'series', test_card\.py, line \d+\)"):
        plots_of(Drawing(), {})


def test_figures_are_flat_by_their_path():
    figures = {"n": 3, "by_class": {"a": 0.123456, "b": None}, "list": [1, 2.5], "deep": {"x": {"y": True, "z": [{}]}}}
    assert flat_figures(figures) == [
        ("n", "3"),
        ("by_class", "a 0.1235, b –"),
        ("list", "1, 2.5"),
        ("deep.x.y", "yes"),
        ("deep.x.z", "1 entries"),
    ]
    assert flat_figures({"many": {str(k): k for k in range(200)}}) == [("many", "200 entries")]
    assert flat_figures({"list": list(range(30))})[0][1].endswith("11 and 18 more")


def test_a_card_without_its_template_is_refused_before_any_work(photos, tmp_path):
    what = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(photos)},
            "card": {"template": "fancy"},
        }
    )
    with pytest.raises(RecipeError, match=r"card\.template: .*fancy.*; there are: coco_o, default, imagenet_e"):
        check_template(what)
    with pytest.raises(RecipeError, match=r"card\.template"):
        run(Job(what, str(tmp_path / "store")))
    assert not list((tmp_path / "store").glob("objects/*"))
