"""Figures of made-up tables, then the whole pipeline from class names to generated pictures and the card."""

import gzip
import json
import struct

import cv2
import numpy as np
import pyarrow as pa
import pytest

from variorum import pipeline
from variorum.arrays import arrow_column
from variorum.edition.store import Store
from variorum.evaluation.imagenet_g.generated_set import GeneratedSet
from variorum.models import ModelTable
from variorum.models.filters import weights_of
from variorum.reports.card import _render, render_card
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.schemas.uses import judged_models, required_models
from variorum.stages.evaluate import check_judges, check_references
from variorum.stages.job import Job
from variorum.stages.pieces import reference_pieces
from variorum.stages.recipe_files import load_recipe

NAMES = ("ant", "bee", "cat", "dog")
WIDTH = 12


# ── figures of tables ────────────────────────────────────────────────────────────────────────────────────────────────


def rows(belongs, variant, per_class, seed, *, names=NAMES, noise=0.4, centres=None, judged=True, label=None):
    rng = np.random.default_rng(seed)
    centres = np.eye(len(NAMES), WIDTH) + 0.2 if centres is None else centres
    found = []
    for k, name in enumerate(names):
        for number in range(per_class):
            seen = names[k - 1] if number % 5 == 0 else name
            found.append(
                {
                    "id": f"{belongs}{variant}{name}{number}",
                    "variant": variant,
                    "label": name if label is None else label,
                    "top1": seen if judged else "",
                    "p_label": 0.5 if judged else None,
                    "embedding": (centres[k] + rng.normal(0, noise, WIDTH)).astype(np.float32),
                    "grey": np.zeros(28 * 28, np.uint8),
                    "set": belongs,
                }
            )
    return found


def references(*, shifted=True, **changes):
    kinds = [("train", 60, 1), ("test", 40, 2), *([("shifted_contrast", 30, 3)] if shifted else [])]
    found = [rows(name, "original", n, seed, **changes) for name, n, seed in kinds]
    for row in found[-1] if shifted else []:
        row["embedding"] = row["embedding"] + np.float32(0.3) * np.eye(WIDTH, dtype=np.float32)[5]
    return [row for part in found for row in part]


def evaluation(**fields):
    folder = {"name": "image_folder", "path": "x"}
    few = {"train": folder, "test": folder, "bootstrap": 100, "steps": 0}
    return build_component("evaluate", {"name": "generated_set", **few, **fields}, "evaluate.0")


def figures(*parts, shifted=True, **fields):
    if shifted:
        fields["shifted"] = {"name": "corrupted", "of": {"name": "image_folder", "path": "x"}, "kind": "contrast"}
    return figures_of(evaluation(**fields), [row for part in parts for row in part])


def figures_of(evaluation, rows, seed=7):
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    vectors = {name: np.stack(columns[name]) for name in ("embedding", "look", "grey") if name in columns}
    arrow = pa.table({name: arrow_column(values) for name, values in {**columns, **vectors}.items()})
    ctx = Context(seed, ModelTable("embedded"), lambda key, compute: compute())
    return evaluation.figures(Table(arrow, "generated_set"), ctx)


def test_a_set_like_the_real_one_is_close_to_it_and_others_are_not():
    collapsed = np.tile((np.eye(4, WIDTH) + 0.2)[:1], (4, 1)) * 0.9
    found = figures(
        references(),
        rows("", "fair", 30, 11),
        rows("", "far", 30, 12, centres=np.eye(4, WIDTH) + 2),
        rows("", "collapsed", 30, 13, centres=collapsed, noise=0.02),
    )
    fair, far, collapsed, real = *(found["variants"][name] for name in ("fair", "far", "collapsed")), found["real"]
    assert real["n"] == fair["n"] == 120
    assert abs(fair["kid"]) < 3 * fair["kid_error"]
    assert abs(real["kid"]) < 3 * real["kid_error"]
    assert far["kid"] > 5 * far["kid_error"]
    assert far["fid"] > 10 * fair["fid"]
    assert "fewer than 10000" in fair["fid_warning"]
    assert fair["precision"] > 0.8 > 0.2 > far["precision"]
    assert collapsed["recall"] < 0.3 * fair["recall"]
    assert collapsed["vendi"] < 0.5 * fair["vendi"]
    assert collapsed["spread"] < 0.5 * fair["spread"]
    assert fair["recognised"]["value"] == 80.0
    assert fair["recognised"]["low"] < 80 < fair["recognised"]["high"]
    assert found["references"] == {"train": 240, "test": 160, "shifted_contrast": 120}
    assert (found["n"], found["left_out"], found["classes"], found["width"]) == (360, 0, 4, WIDTH)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_heads_tell_a_good_set_from_a_mislabelled_one():
    wrong = rows("", "wrong", 30, 12)
    for row in wrong:
        row["label"] = NAMES[(NAMES.index(row["label"]) + 1) % 4]
    found = figures(references(), rows("", "fair", 30, 11), wrong)
    heads = found["heads"]
    assert heads["fair"]["n"] == heads["wrong"]["n"] == 120
    assert heads["fair"]["real_to_real"] == heads["wrong"]["real_to_real"]
    assert abs(heads["fair"]["generated_less_real"]["value"]) < 8
    assert heads["wrong"]["generated_to_real"]["value"] < 15
    assert heads["wrong"]["generated_less_real"]["high"] < -40
    assert heads["wrong"]["real_to_generated"]["value"] < 15 < heads["fair"]["real_to_generated"]["value"]
    assert heads["wrong"]["both_less_real"]["value"] < heads["fair"]["both_less_real"]["value"]
    assert heads["fair"]["twice_to_real"]["value"] >= heads["fair"]["real_to_real"]["value"] - 3
    assert heads["fair"]["both_less_twice"]["low"] <= 0 <= heads["fair"]["both_less_twice"]["high"]
    assert heads["wrong"]["both_less_twice"]["high"] < 0
    robust = found["robustness"]["contrast"]["heads"]
    assert robust["ordinary"] >= 5
    assert robust["real"]["accuracy"] == heads["fair"]["real_to_real"]
    assert robust["twice"]["accuracy"] == heads["fair"]["twice_to_real"]
    assert robust["variants"]["fair"]["both"]["accuracy"] == heads["fair"]["both_to_real"]
    for row in (robust["real"], robust["twice"], robust["variants"]["fair"]["generated"]):
        assert row["effective_robustness"]["low"] <= 0 <= row["effective_robustness"]["high"]
    assert robust["variants"]["wrong"]["generated"]["effective_robustness"]["value"] is None  # too far from the line
    assert set(found["not_measured"]) == {"lpips"}


def test_a_network_from_scratch_learns_from_pixels_alone():
    def patterned(rows):
        for row in rows:
            row["grey"] = np.roll(np.repeat([250, 5, 5, 5], 196), 196 * NAMES.index(row["label"])).astype(np.uint8)
        return rows

    wrong = rows("", "wrong", 10, 12)
    for row in patterned(wrong):
        row["label"] = NAMES[(NAMES.index(row["label"]) + 1) % 4]
    found = figures(patterned(references()), patterned(rows("", "fair", 10, 11, noise=9)), wrong, steps=20)
    networks = found["networks"]
    assert networks["fair"]["generated_to_real"]["value"] == networks["fair"]["twice_to_real"]["value"] == 100
    assert networks["fair"]["real_to_generated"]["value"] == 100
    assert networks["wrong"]["generated_to_real"]["value"] < 10
    assert found["heads"]["fair"]["generated_to_real"]["value"] < 90  # their embeddings are noise
    assert "effective_robustness" in found["not_measured"]  # all ordinary networks are alike
    text = card_of(found, ["fair", "wrong"])
    check_tables(text)
    assert "Each is trained for 20 steps" in text


def test_scaling_goes_by_fractions_of_every_class():
    found = figures(references(), rows("", "fair", 30, 11), fractions=(1.0, 0.1, 0.5))["scaling"]
    assert list(found) == ["real", "fair"]
    for name in found:
        twice = ([2.0], [240]) if name == "real" else ([], [])
        assert [row["fraction"] for row in found[name]] == [0.1, 0.5, 1.0, *twice[0]]
        assert [row["n"] for row in found[name]] == [12, 60, 120, *twice[1]]
        assert found[name][0]["accuracy"]["value"] <= found[name][2]["accuracy"]["value"]
        assert all(abs(row["kid"]) < 4 * row["kid_error"] for row in found[name][1:])
        assert found[name][0]["kid_error"] is None  # classes of three have no halves


def test_the_error_falls_with_size_by_a_power_law():
    noisy = {"noise": 0.7}
    found = figures(references(**noisy), rows("", "fair", 30, 11, **noisy), rows("", "poor", 30, 12, noise=2.5))
    laws = found["power_law"]
    assert laws["real"]["sizes"] == [4, 12, 28, 60, 120, 240]
    assert laws["fair"]["sizes"] == [4, 12, 28, 60, 120]
    for name in ("real", "fair"):
        assert 0 < laws[name]["k"]["low"] < laws[name]["k"]["value"] < laws[name]["k"]["high"]
        assert laws[name]["with_floor"]["k"]["value"] >= laws[name]["k"]["value"]
        assert laws[name]["r2"] > 0.5
        assert 0 < laws[name]["nll"]["k"]["low"] < laws[name]["nll"]["k"]["value"]
        assert laws[name]["nll"]["k"] != laws[name]["k"]
    assert laws["fair"]["crossing"]["low"] < 1 < laws["fair"]["crossing"]["high"]
    assert laws["poor"]["crossing"] is None or laws["poor"]["crossing"]["high"] < 1
    check_tables(card_of(found, ["fair", "poor"]))
    few = figures(references(), rows("", "fair", 30, 11), fractions=(0.5, 1.0))
    assert few["power_law"] == {}
    assert "4 sizes" in few["not_measured"]["power_law"]


def test_the_order_of_rows_and_the_other_variants_change_nothing():
    parts = [*references(), *rows("", "one", 10, 11)]
    alone = figures(parts)
    shuffled = [parts[i] for i in np.random.default_rng(0).permutation(len(parts))]
    assert figures(shuffled) == alone
    more = figures(parts, rows("", "two", 10, 12))
    assert more["variants"]["one"] == alone["variants"]["one"]
    assert more["heads"]["one"] == alone["heads"]["one"]


def test_only_classes_that_all_have_count():
    extra = [{**row, "label": "eel"} for row in rows("", "one", 10, 11)[:10]]
    found = figures(references(names=NAMES[:3]), rows("", "one", 10, 11), extra)
    assert found["classes"] == 3
    assert found["variants"]["one"]["n"] == 30
    assert (found["n"], found["left_out"]) == (50, 20)
    assert {row["class"] for row in found["by_class"]} == set(NAMES[:3])


def test_a_variant_without_one_of_the_classes_is_compared_in_those_it_has():
    found = figures(references(), rows("", "all", 10, 11), rows("", "some", 10, 12, names=NAMES[:2]))
    assert found["variants"]["some"]["n"] == found["heads"]["some"]["n"] == 20
    assert found["variants"]["some"]["reference"] == 120
    assert abs(found["variants"]["some"]["kid"]) < 4 * found["variants"]["some"]["kid_error"]
    dog = next(row for row in found["by_class"] if row["class"] == "dog")
    assert dog["variants"]["some"] == {"n": 0, "recognised": None, "vendi": None, "spread": None, "lpips": None}
    assert dog["variants"]["all"]["recognised"] is not None
    assert dog["diversity"] > 0


def test_unlabelled_pictures_are_one_class_and_teach_nothing():
    found = figures(references(), rows("", "one", 10, 11, label="", judged=False))
    assert found["classes"] == 1
    assert found["variants"]["one"]["n"] == 40
    assert found["variants"]["one"]["recognised"] is None
    assert found["variants"]["one"]["precision"] > 0.5
    assert set(found["not_measured"]) == {"lpips", "recognised", "accuracy_score"}


def test_what_cannot_be_measured_is_named():
    found = figures(references(shifted=False), rows("", "one", 10, 11, judged=False), shifted=False)
    assert "no judge is named" in found["not_measured"]["recognised"]
    assert "no shifted reference" in found["not_measured"]["effective_robustness"]
    assert "no `perceptual` model is named" in found["not_measured"]["lpips"]
    assert {row["variants"]["one"]["recognised"] for row in found["by_class"]} == {None}
    assert all(row["diversity"] > 0 for row in found["by_class"])
    assert "robustness" not in found
    tiny = figures(references(), rows("", "one", 1, 11))
    assert "too few" in tiny["not_measured"]["effective_robustness"]
    lone = figures(references(), rows("", "one", 50, 11))
    assert "fewer than twice" in lone["not_measured"]["twice"]
    assert lone["heads"]["one"]["twice_to_real"] is None
    check_tables(card_of(lone, ["one"]))
    assert tiny["variants"]["one"]["precision"] is None
    assert tiny["variants"]["one"]["kid"] is not None


def test_no_pictures_and_no_common_class():
    assert figures_of(evaluation(), []) == {"n": 0, "variants": {}}
    assert figures(references()) == {"n": 0, "variants": {}}
    found = figures(references(), rows("", "one", 3, 11, label="eel"))
    assert found["variants"] == {}
    assert found["left_out"] == found["n"] == 12
    assert "no picture of a class" in found["not_measured"]["all"]


def test_embeddings_that_are_not_finite_are_left_out():
    broken = rows("", "one", 10, 11)
    broken[0]["embedding"] = np.full(WIDTH, np.nan, np.float32)
    found = figures(references(), broken)
    assert found["left_out"] == 1
    assert found["variants"]["one"]["n"] == 39


def test_large_sets_are_cut_where_all_pairs_count():
    found = figures(references(), rows("", "one", 60, 11), most=100)
    assert found["variants"]["one"]["n"] == 240
    assert found["variants"]["one"]["kid"] is not None


def check_tables(text):
    """Every table has a header, a rule and rows of one width."""
    for table in text.split("\n\n"):
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1
        assert not lines or set(lines[1]) <= set("|-:")


def card_of(found, order):
    return _render(
        "_generated_set",
        figures=found,
        models={"encoder": "e@sha256:0", "judge": "j@sha256:1", "p": "p@sha256:2"},
        order=order,
    )


def test_the_card_shows_all_figures_and_escapes_names():
    text = card_of(figures(references(), rows("", "a|b", 30, 11)), ["a|b"])
    check_tables(text)
    assert text.count("| a&#124;b |") == 8  # a row in four tables, two of the power law's, a column in two
    assert "**Effective robustness: contrast.**" in text
    assert "| a&#124;b and real | 240 |" in text
    assert "left out" not in text


def test_the_card_begins_with_the_least_recognised_class():
    made = rows("", "v", 10, 11)
    for number, row in enumerate(row for row in made if row["label"] == "cat"):
        row["top1"] = "cat" if number == 0 else "dog"
    found = figures(references(), made)
    first = found["by_class"][0]
    assert (first["class"], first["variants"]["v"]["recognised"]) == ("cat", 10.0)
    text = card_of(json.loads(json.dumps(found, sort_keys=True)), ["v"])
    assert text.index(f"| cat | {first['real']['recognised']:.1f} | 10.0 |") < text.index("| ant |")
    assert "**Recognised by class**" in text
    assert "`by_class`" not in text


def test_the_card_shows_which_classes_lost_diversity():
    made = rows("", "v", 10, 11)
    alike = next(row["embedding"] for row in made if row["label"] == "bee")
    for row in made:
        if row["label"] == "bee":
            row["embedding"] = alike + np.float32(0.01) * row["embedding"]
    found = figures(references(), made)
    by_class = {row["class"]: row for row in found["by_class"]}
    assert by_class["bee"]["diversity"] < 40
    assert all(by_class[name]["diversity"] > 70 for name in ("ant", "cat", "dog"))
    bee = by_class["bee"]["variants"]["v"]
    assert bee["vendi"] < 1.2 < 0.5 * by_class["bee"]["real"]["vendi"]
    assert bee["spread"] < 0.1 * by_class["bee"]["real"]["spread"]
    mean = np.mean([row["variants"]["v"]["vendi"] for row in found["by_class"]])
    assert found["variants"]["v"]["vendi"] == pytest.approx(mean, abs=1e-3)
    text = card_of(found, ["v"]).partition("**Diversity by class**")[2]
    assert text.index(f"({bee['spread']:.2f}) |") < text.index("| ant |")


def test_a_thousand_classes_are_ten_rows_and_a_pointer():
    from variorum.models.imagenet_classes import table

    names = tuple(item.wnid for item in table()[:30])
    centres = np.random.default_rng(0).normal(0, 1, (30, WIDTH))
    found = figures(references(names=names, centres=centres), rows("", "v", 4, 11, names=names, centres=centres))
    assert len(found["by_class"]) == 30
    text = card_of(found, ["v"])
    check_tables(text)
    for title in ("**Least recognised classes**", "**Least diverse classes**"):
        assert text.partition(title)[2].partition("\n\n\n")[0].split("\n\n")[1].count("\n") == 11
    assert f"{table()[0].name} ({names[0]})" in {row["name"] for row in found["by_class"]}
    assert "The figures of all 30 classes are in `evaluation-generated_set.json`, under `by_class`." in text


def test_vendi_is_of_as_many_pictures_in_every_row():
    few = figures(references(), rows("", "many", 80, 11), rows("", "few", 8, 12))
    many = figures(references(), rows("", "many", 80, 11))
    assert (few["alike"], many["alike"]) == (4 * 8, 4 * 40)
    assert few["variants"]["many"]["vendi"] == pytest.approx(few["real"]["vendi"], rel=0.1)
    assert few["variants"]["many"]["vendi"] == pytest.approx(few["variants"]["few"]["vendi"], rel=0.1)
    assert many["variants"]["many"]["vendi"] > 1.15 * few["variants"]["many"]["vendi"]
    assert "**Rows differ in n.**" in card_of(few, ["many", "few"])
    assert "**Rows differ in n.**" in card_of(many, ["many"])  # 320 beside 160 real ones
    assert "**Rows differ in n.**" not in card_of(figures(references(), rows("", "v", 38, 11)), ["v"])
    lone = figures(references(), rows("", "v", 8, 11), rows("", "lone", 1, 12))
    assert lone["alike"] == 4 * 8
    assert lone["variants"]["lone"]["vendi"] is None


def test_lpips_is_the_mean_over_pairs_of_the_classes():
    made, real = rows("", "v", 3, 11), references()
    rng = np.random.default_rng(0)
    for row in [*made, *real]:
        row["look"] = rng.normal(0, 0.1 if row["label"] == "cat" else 1, 5).astype(np.float32)
    found = figures(real, [row for row in made if row["id"] not in {"vdog1", "vdog2"}], perceptual="p")
    by_class = {row["class"]: row["variants"]["v"]["lpips"] for row in found["by_class"]}
    for name in ("ant", "cat"):
        looks = [row["look"] for row in made if row["label"] == name]
        pairs = [((a - b) ** 2).sum() for i, a in enumerate(looks) for b in looks[:i]]
        assert by_class[name] == pytest.approx(np.mean(pairs), abs=1e-4)
    assert by_class["dog"] is None  # one picture has no pair
    mean = np.mean([by_class[name] for name in ("ant", "bee", "cat")])
    assert found["variants"]["v"]["lpips"] == pytest.approx(mean, abs=1e-4)
    assert found["real"]["lpips"] == pytest.approx(2 * 5 * (3 * 1 + 0.01) / 4, rel=0.3)
    assert "lpips" not in found["not_measured"]
    text = card_of(found, ["v"])
    check_tables(text)
    assert "| LPIPS |" in text
    assert "LPIPS by p@sha256:2" in text
    assert f" {found['variants']['v']['lpips']:.3f} |" in text


def test_without_real_pictures_it_says_what_a_set_is_on_its_own():
    made = [*rows("", "v", 10, 11), *rows("", "w", 10, 12, noise=0.05), *rows("", "v", 1, 13, label="")]
    for row in made:
        del row["set"]
    found = figures_of(evaluation(train=None, test=None), made)
    assert (found["n"], found["left_out"], found["classes"]) == (84, 4, 4)
    assert found["variants"]["v"]["recognised"]["value"] == 80.0
    assert found["variants"]["w"]["vendi"] < found["variants"]["v"]["vendi"]
    assert found["by_class"][0]["real"] is None
    assert set(found["not_measured"]) == {"lpips", "real"}
    assert not {"real", "heads", "scaling", "robustness"} & found.keys()
    text = card_of(json.loads(json.dumps(found, sort_keys=True)), ["v", "w"])
    check_tables(text)
    assert text.startswith("### The generated set\n")
    assert "distances from real pictures, accuracy score, effective robustness (no real pictures are named" in text
    assert "4 of 84 pictures are left out, as they have no label." in text
    assert "*real*" not in text
    assert "FID |" not in text
    assert evaluation(train=None, test=None).references() == {}


@pytest.mark.parametrize("fields", [{"train": None}, {"test": None}, {"train": None, "test": None, "shifted": ...}])
def test_references_go_together(fields):
    folder = {"name": "image_folder", "path": "x"}
    fields = {name: folder if value is ... else value for name, value in fields.items()}
    with pytest.raises(RecipeError, match="train and test go together, and shifted goes with them"):
        evaluation(**fields)


def test_a_fraction_is_a_part_of_the_set():
    with pytest.raises(RecipeError, match="fractions"):
        evaluation(fractions=(1.0, 3.0))


def test_the_card_of_figures_that_are_missing_reads_as_well():
    for found in (
        figures(references(), rows("", "v", 10, 11, label="", judged=False)),
        figures(references(), rows("", "v", 1, 11)),
        figures(references(), rows("", "v", 3, 11, label="eel")),
        figures(references()),
    ):
        text = card_of(found, ["v"])
        check_tables(text)
        assert "nothing to compare" in text or "Not measured" in text
        assert "None" not in text
        assert "nan" not in text


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_labels_go_to_the_judge_under_its_own_ids():
    ctx = Context(0, ModelTable("embedded"), lambda key, compute: compute())
    image = np.zeros((28, 28, 3), np.uint8)
    image[4:24, 9:19] = 200
    samples = [Sample(str(k), image, labels) for k, labels in enumerate([("my tag", "dress"), ("sundress",), ()])]
    own, other, none = evaluation().measure(samples, ctx)
    assert own["label"] == "dress"
    assert own["top1"] in ctx.models.get("judge").classes
    assert 0 <= own["p_label"] <= 1
    assert (other["label"], other["top1"], other["p_label"]) == ("sundress", "", None)
    assert none["label"] == ""
    assert own["embedding"].shape == (1280,)
    named, _ = evaluation(judge="classifier_small").measure(
        [Sample("a", image, ("sandal",)), Sample("b", image, ("n04133789",))], ctx
    )
    assert named["label"] == "n04133789"  # an ImageNet classifier's classes go by wnid
    assert named["top1"].startswith("n")
    silent = next(evaluation(judge=None).measure(samples[:1], ctx))
    assert (silent["label"], silent["top1"]) == ("my tag", "")
    assert required_models(evaluation(judge=None)) == ("encoder",)
    assert required_models(evaluation(perceptual="p")) == ("encoder", "judge", "p")


def test_rows_have_looks_where_a_perceptual_model_is_named():
    class Some:
        def get(self, alias):
            width = 4 if alias == "perceptual" else 3
            return lambda images: np.stack([np.full(width, image[0, 0, 0], np.float32) for image in images])

    samples = [Sample(str(k), np.full((8, 8, 3), k, np.uint8), ("c",)) for k in range(4)]
    ctx = Context(0, Some(), lambda key, compute: compute())
    found = list(evaluation(judge=None, perceptual="perceptual").measure(samples, ctx))
    assert [row["look"].tolist() for row in found] == [[k] * 4 for k in range(4)]
    assert "look" not in next(evaluation(judge=None).measure(samples, ctx))


# ── the whole way ────────────────────────────────────────────────────────────────────────────────────────────────────


def write_part(folder, part, per_class, seed):
    """IDX files with a shape of its own size and grey for each class, a little different each time."""
    rng = np.random.default_rng(seed)
    images = np.zeros((10 * per_class, 28, 28), np.uint8)
    labels = np.arange(len(images)) % 10
    for image, k in zip(images, labels, strict=True):
        x, y = rng.integers(0, 3, 2)
        cv2.rectangle(image, (2 + int(x), 1 + int(y)), (10 + int(k) + int(x), 24 + int(y)), 60 + 18 * int(k), -1)
        image += rng.integers(0, 12, image.shape, dtype=np.uint8)
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4i", 0x803, *images.shape) + images.tobytes())
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">2i", 0x801, len(labels)) + bytes(labels.tolist()))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small edition of generated pictures, with references in IDX files: the job and the manifest."""
    folder = tmp_path_factory.mktemp("real")
    write_part(folder, "train", 6, 1)
    write_part(folder, "t10k", 4, 2)
    test = {"name": "fashion_mnist", "part": "test", "path": str(folder)}
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "class_names", "table": "fashion_mnist", "per_class": 2},
            "generate": [{"name": "class_conditional", "guidance": [1.5, 3], "steps": 2}],
            "evaluate": [
                {
                    "name": "generated_set",
                    "encoder": "judge_encoder",
                    "train": {"name": "fashion_mnist", "path": str(folder)},
                    "test": test,
                    "shifted": {"name": "corrupted", "of": test, "kind": "contrast"},
                    "bootstrap": 100,
                    "steps": 2,
                }
            ],
        }
    )
    job = Job(recipe, Store(str(tmp_path_factory.mktemp("store"))))
    return job, pipeline.build(job)


def with_evaluation(job, evaluation):
    """The same job with another evaluation."""
    return Job(job.recipe.model_copy(update={"evaluate": (evaluation,)}), job.store)


def test_from_class_names_to_the_card(made, monkeypatch):
    job, manifest = made
    check_references(job)
    found = pipeline.evaluate(job, manifest)["generated_set"]
    assert set(found["variants"]) == {"guidance_1.5", "guidance_3"}
    assert found["references"] == {"train": 60, "test": 40, "shifted_contrast": 40}
    assert all(row["n"] == 20 for row in found["variants"].values())
    assert found["variants"]["guidance_3"]["kid"] > found["real"]["kid"]
    assert found["heads"]["guidance_1.5"]["real_to_real"]["value"] > 20
    assert "too few" in found["not_measured"]["effective_robustness"]

    card = render_card(job.recipe, manifest, job.store)
    tables = [line for line in card.splitlines() if line.startswith("| ")]
    names = ["guidance_1.5", "guidance_3"]
    shifted = [one for name in names for one in (name, f"{name} and real")]
    assert [line.split("|")[1].strip() for line in tables if "guidance" in line.split("|")[1]] == [
        *(names * 4),
        *shifted,
        *names,
    ]
    assert "**Read KID**" in card
    assert "- Not measured: LPIPS (no `perceptual` model is named" in card
    check_tables(card)

    def nothing(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(GeneratedSet, "measure", nothing)
    assert pipeline.evaluate(job, manifest)["generated_set"] == found
    other = job.recipe.evaluate[0].model_copy(update={"neighbours": 3, "fractions": (1.0,)})
    assert pipeline.evaluate(with_evaluation(job, other), manifest)["generated_set"]["neighbours"] == 3


def test_only_a_reference_that_changed_is_measured_again(made, tmp_path, monkeypatch):
    job, manifest = made
    pipeline.evaluate(job, manifest)
    write_part(tmp_path, "train", 7, 3)
    entry = {**job.recipe.evaluate[0].config(), "train": {"name": "fashion_mnist", "path": str(tmp_path)}}
    changed = build_component("evaluate", entry, "evaluate.0")
    seen = []
    measure = GeneratedSet.measure

    def counting(self, samples, ctx):
        seen.extend(samples)
        return measure(self, samples, ctx)

    monkeypatch.setattr(GeneratedSet, "measure", counting)
    found = pipeline.evaluate(with_evaluation(job, changed), manifest)["generated_set"]
    assert found["references"]["train"] == 70
    assert len(seen) == 70
    pieces = [piece for name in changed.references() for piece in reference_pieces(changed, name, [changed], job)]
    assert [(piece.reference, piece.start, piece.samples) for piece in pieces] == [
        ("train", 0, 70),
        ("test", 0, 40),
        ("shifted_contrast", 0, 40),
    ]


def test_a_missing_reference_is_refused_before_any_work(made, tmp_path):
    job, manifest = made
    recipe = job.recipe
    entry = recipe.evaluate[0].config()
    entry["train"] = {"name": "fashion_mnist", "path": str(tmp_path / "nowhere")}
    missing = Recipe.parse({**recipe.dump(), "evaluate": [entry]})
    with pytest.raises(SourceError, match="install Debian's package dataset-fashion-mnist"):
        check_references(Job(missing, job.store))
    judging = [{"name": "duplicates", "embedding": False}, {"name": "leakage", "embedding": False}]
    judging[1]["trained_on"] = entry["train"]
    for part, value in (("evaluate", []), ("curate", judging)):
        missing = Recipe.parse({**missing.dump(), part: value})
    with pytest.raises(SourceError, match="install Debian's package dataset-fashion-mnist"):
        check_references(Job(missing, job.store))
    entry["train"] = {"name": "fashion_mnits"}
    with pytest.raises(RecipeError, match=r"train: no source named 'fashion_mnits'|no source named 'fashion_mnits'"):
        Recipe.parse({**recipe.dump(), "evaluate": [entry]})
    entry["train"] = {"name": "class_names", "table": "fashion_mnist"}
    promptless = Recipe.parse({**recipe.dump(), "evaluate": [entry]})
    with pytest.raises(SourceError, match="class_names has no pictures"):
        pipeline.evaluate(Job(promptless, job.store), manifest)


def test_neither_judge_nor_encoder_may_have_filtered(made):
    job, manifest = made
    recipe = job.recipe
    filtered = manifest.model_copy(update={"filters": [job.ctx.models.pin("judge")]})
    with pytest.raises(RecipeError, match=r"'judge_encoder' is .*'judge' is"):
        check_judges(recipe.evaluate[0], filtered, job)
    check_judges(recipe.evaluate[0], manifest, job)
    entry = {**recipe.evaluate[0].config(), "encoder": "encoder"}
    edited = {"name": "attribute_edit"}  # its gate has that encoder's weights
    both = Recipe.parse({**recipe.dump(), "generate": [edited], "source": {"name": "samples"}, "evaluate": [entry]})
    with pytest.raises(RecipeError, match="'encoder' is efficientnet-lite0"):
        check_references(Job(both, job.store))


@pytest.mark.parametrize(("name", "profile"), [("imagenet_g", "embedded"), ("imagenet_g_text", "hub")])
def test_models_that_measure_a_shipped_set_had_no_say_in_its_release(name, profile):
    recipe, table = load_recipe(name), ModelTable(profile)
    judged = {weights_of(table.pin(alias)) for step in recipe.curate for alias in required_models(step)}
    for part in [one for one in recipe.evaluate if judged_models(one)]:
        measuring = {weights_of(table.pin(alias)) for alias in required_models(part)}
        assert len(measuring) == 2
        assert not judged & measuring
    assert judged_models(recipe.evaluate[0])


def test_the_text_route_is_measured_without_real_pictures_and_against_those_that_a_user_names(tmp_path):
    recipe = load_recipe("imagenet_g_text")
    check_references(Job(recipe, str(tmp_path / "store"), "hub"))
    places = [f"evaluate.generated_set.{kind}={{name: imagenet, path: {tmp_path}}}" for kind in ("train", "test")]
    named = load_recipe("imagenet_g_text", places)
    assert named.version == "1.1.0"  # no other edition
    assert set(named.evaluate[0].references()) == {"train", "test"}
    with pytest.raises(SourceError, match="no picture"):
        check_references(Job(named, str(tmp_path / "store"), "hub"))


def test_where_references_lie_is_no_part_of_its_identity(made, tmp_path):
    evaluation = made[0].recipe.evaluate[0]
    entry = {**evaluation.config(), "train": {"name": "fashion_mnist", "path": str(tmp_path)}}
    assert build_component("evaluate", entry, "x").fingerprint() == evaluation.fingerprint()
    entry["train"] = {"name": "fashion_mnist", "per_class": 3}
    assert build_component("evaluate", entry, "x").fingerprint() != evaluation.fingerprint()
