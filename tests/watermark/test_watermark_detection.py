import json
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
import skimage.data

from variorum.evaluation.watermark.watermark_detection import WatermarkDetection
from variorum.generators.watermark.attacks.distortion import Distortion
from variorum.generators.watermark.attacks.overwrite import Overwrite
from variorum.generators.watermark.marks.spread_spectrum import SpreadSpectrum
from variorum.generators.watermark.marks.stdm import Stdm
from variorum.generators.watermark.watermark import Watermark
from variorum.generators.watermark.watermark_attack import WatermarkAttack
from variorum.generators.watermark.watermarking.detecting import subject_of
from variorum.generators.watermark.watermarking.keys import new_keys, read_keys
from variorum.models import ModelTable
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelUnavailable, RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.plot import CurvePlot, RadarPlot
from variorum.schemas.sample import Failure, Sample
from variorum.schemas.table import Table

MARKS = (Stdm(label="tiles"), Stdm(label="firm", decibels=40), SpreadSpectrum(keyed="shared"))
CTX = Context(seed=1, models=ModelTable("embedded"), memo=lambda key, compute: compute())


def photographs():
    pictures = [skimage.data.chelsea()[40:296, 90:346], skimage.data.coffee()[100:356, 150:406],
                skimage.data.astronaut()[:256, 100:356]]  # fmt: skip
    return [Sample(f"{n:032x}", image.copy(), photograph=f"photo {n}") for n, image in enumerate(pictures)]


def grid(**more):
    """Marked and attacked pictures, as the two generators give them."""
    attacks = (Distortion(kind="jpeg"), Distortion(kind="rotation"))
    made = list(Watermark(marks=MARKS, frame=128).generate(photographs(), CTX))
    return list(WatermarkAttack(**{"attacks": attacks, "strengths": (0.5,), **more}).generate(made, CTX))


@pytest.fixture(scope="module")
def pictures():
    return grid()


@pytest.fixture(scope="module")
def looks(pictures):
    return list(WatermarkDetection().measure(pictures, CTX))


def table(rows):
    return Table(pa.Table.from_pylist([dict(row) for row in rows]), "watermark_detection")


def figures(rows, **fields):
    found = WatermarkDetection(bootstrap=200, **fields).figures(table(rows), CTX)
    return json.loads(json.dumps(found, sort_keys=True, allow_nan=False))


# ── looking for marks ────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_picture_is_looked_at_with_its_marks(looks):
    seen = {(row["mark"], row["marked"], row["wrong_key"], row["attack"]) for row in looks}
    names = [mark.called for mark in MARKS]
    own = {
        (name, marked, False, attack)
        for name, marked, attack in product(names, (True, False), ("", "jpeg", "rotation"))
    }
    assert seen == own | {(name, True, True, "") for name in names}
    assert len(looks) == 3 * len(seen)
    assert {row["photograph"] for row in looks} == {"photo 0", "photo 1", "photo 2"}


def test_marks_are_found_and_wrong_keys_find_nothing(looks):
    for row in looks:
        if row["marked"] and not row["attack"]:
            found = row["right"] >= 24 if row["bits"] else row["p_value"] < 0.001
            assert found == (not row["wrong_key"])
    wrong = [row["right"] / row["bits"] for row in looks if row["wrong_key"] and row["bits"]]
    assert abs(np.mean(wrong) - 0.5) < 4 * 0.5 / np.sqrt(32 * len(wrong))
    assert all(np.isfinite(row["mark_psnr"]) == row["marked"] for row in looks)
    assert all(np.isfinite(row["psnr"]) == bool(row["attack"]) for row in looks)


def test_a_picture_has_the_same_rows_alone_and_in_a_batch(pictures, looks):
    for picture in pictures[::7]:
        alone = list(WatermarkDetection().measure([picture], CTX))
        assert [repr(row) for row in alone] == [repr(row) for row in looks if row["id"] == picture.id]


def test_no_secret_is_in_a_row(looks):
    keys, said = read_keys(None), repr(looks)
    for mark, photograph in product(MARKS, photographs()):
        for key in (
            keys.of(mark.called, photograph.id),
            keys.shared(mark.called),
            keys.wrong(mark.called, photograph.id),
        ):
            assert key.hex() not in said
            assert repr(key) not in said
            payload = "".join(map(str, mark.payloads([key])[0].astype(int)))
            assert len(payload) < 8 or payload not in said
    assert "5e5e5e5e" not in said
    assert all(isinstance(value, str | float | int) for row in looks for value in row.values())


def test_lost_keys_and_foreign_keys_are_refused_in_a_line(pictures, tmp_path):
    with pytest.raises(SourceError, match="no such file of watermark keys") as lost:
        list(WatermarkDetection(keys=tmp_path / "gone.keys").measure(pictures, CTX))
    other = tmp_path / "other.keys"
    new_keys(other)
    with pytest.raises(SourceError, match=r"other\.keys: these keys are not those of this edition") as foreign:
        list(WatermarkDetection(keys=other).measure(pictures, CTX))
    for error in (lost, foreign):
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)
    # whose keys they are is part of the identity; where they lie isn't
    same = tmp_path / "same.keys"
    same.write_text(json.dumps({"secret": "5e" * 32}))
    same.chmod(0o600)
    assert WatermarkDetection(keys=same).fingerprint() == WatermarkDetection().fingerprint()
    assert WatermarkDetection(keys=other).fingerprint() != WatermarkDetection().fingerprint()


def test_a_mark_of_ones_own_is_named_again(pictures, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        '"""A mark."""\nfrom variorum.generators.watermark.marks import stdm\n\n'
        'class Mine(stdm.Stdm):\n    """Of my own."""\n\n    loud: int = 1\n'
    )
    mark = build_component("marks", {"name": str(file)}, "here")
    marked = list(Watermark(marks=(mark,), frame=128).generate(photographs()[:1], CTX))
    with pytest.raises(RecipeError, match=r"'mine' is from a file of your own, mine\.py; list it"):
        list(WatermarkDetection().measure(marked, CTX))
    rows = list(WatermarkDetection(marks=(mark,)).measure(marked, CTX))
    assert [row["right"] == 32 for row in rows] == [False, True, False]
    changed = build_component("marks", {"name": str(file), "loud": 2}, "here")
    with pytest.raises(RecipeError, match="mine isn't the mark of this edition"):
        list(WatermarkDetection(marks=(changed,)).measure(marked, CTX))


def test_a_mark_whose_model_is_missing_is_passed_over_unless_it_is_in_a_picture(pictures):
    without = next(one for one in pictures if one.variant == "original")
    settings = {"settings": {"name": "rivagan"}, "keyed": "picture"}
    op = {**without.ops[-1], "achieved": {**without.ops[-1]["achieved"], "marks": {"r": settings}}}
    missing = Context(seed=1, models=Missing(), memo=CTX.memo)
    unmarked = Sample(without.id, without.image, ops=(op,))
    assert list(WatermarkDetection().measure([unmarked], missing)) == []
    asked = {"mark": "r", **settings}
    key = read_keys(None).of("r", op["achieved"]["picture"])
    from variorum.generators.watermark.watermarking.keys import key_hash

    op = {**op, "requested": asked, "achieved": {"picture": op["achieved"]["picture"], "key": key_hash(key)}}
    with pytest.raises(ModelUnavailable, match="not here"):
        list(WatermarkDetection().measure([Sample(without.id, without.image, ops=(op,))], missing))


class Missing:
    """No model can be had."""

    def role(self, alias):
        return "mark"

    def why_unavailable(self, alias):
        return "not here"

    def check(self, aliases):
        raise ModelUnavailable("not here")


def test_other_pictures_arent_looked_at(pictures):
    bare = photographs()[0]
    assert subject_of(bare) is None
    changed = pictures[1]
    extra = {**changed.ops[-1], "name": "corruption", "requested": {"kind": "fog", "severity": 1}, "achieved": {}}
    later = Sample(changed.id, changed.image, ops=(*changed.ops, extra))
    assert list(WatermarkDetection().measure([bare, later], CTX)) == []
    # then there is nothing to say, in the card too
    nothing = WatermarkDetection().figures(Table(pa.table({}), "watermark_detection"), CTX)
    assert WatermarkDetection().plots(nothing) == {}
    assert "nothing to detect" in card(nothing)


def test_a_picture_that_cant_have_a_mark_isnt_looked_at_for_it():
    small = [Sample(f"{7:032x}", skimage.data.chelsea()[100:164, 100:164].copy())]
    made = list(Watermark(marks=MARKS, frame=None).generate(small, CTX))
    refused = {one.variant for one in made if isinstance(one, Failure)}
    assert "tiles" in refused
    rows = list(WatermarkDetection().measure([one for one in made if isinstance(one, Sample)], CTX))
    assert {row["mark"] for row in rows} == {mark.called for mark in MARKS} - refused


def test_an_attack_on_a_mark_is_judged_by_that_mark_alone():
    made = list(Watermark(marks=MARKS[:2], frame=128).generate(photographs()[:2], CTX))
    forged = WatermarkAttack(attacks=(Overwrite(),), strengths=(1.0,)).generate(made, CTX)
    pictures = [one for one in forged if not isinstance(one, Failure)]
    rows = [row for row in WatermarkDetection().measure(pictures, CTX) if row["attack"]]
    assert rows
    for picture in pictures:
        if picture.variant.startswith("original_"):
            label = picture.ops[-1]["requested"]["about"]
            assert [row["mark"] for row in rows if row["id"] == picture.id] == [label]


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────

METHOD = {"settings": {"name": "stdm"}, "revision": 1, "models": {}, "keyed": "picture"}


def row(n, *, marked, right=16, attack="", strength=1.0, wrong_key=False, mark="m", method=None, **more):
    """A look at a picture of photograph `n`."""
    return {
        "id": f"{n}",
        "photograph": f"p{n:04}",
        "mark": mark,
        "method": json.dumps({**METHOD, "visible": False, "made_with": False, **(method or {})}),
        "marked": marked,
        "wrong_key": wrong_key,
        "attack": attack,
        "component": "distortion" if attack else "",
        "strength": strength if attack else 0.0,
        "amount": "{}",
        "family": "distortion" if attack else "",
        "goal": "removal" if attack else "",
        "access": "none" if attack else "",
        "about_mark": False,
        "moved": False,
        "score": right / 32,
        "bits": 32,
        "right": right,
        "p_value": float("nan"),
        "values": 3 * 256 * 256,
        "mark_psnr": 44.0 if marked else float("nan"),
        "mark_ssim": 0.99 if marked else float("nan"),
        **dict.fromkeys(("psnr", "ssim", "nmi", "lpips", "linf"), float("nan")),
        **({"psnr": 40 - 20 * strength, "ssim": 0.9, "nmi": 1.3} if attack else {}),
        **more,
    }


def rows(n, attacks, *, seed=0, **more):
    """Looks at `n` photographs: a clean mark, a wrong key, and attacks after which so many bits are right.

    `attacks` gives, by name and strength, the right bits of marked and of unmarked pictures, or None for fewer ones.
    """
    rng = np.random.default_rng(seed)
    found = []
    for k in range(n):
        chance = rng.binomial(32, 0.5, 2)
        found += [row(k, marked=True, right=32, **more), row(k, marked=False, right=int(min(chance[0], 22)), **more)]
        found.append(row(k, marked=True, right=int(chance[1]), wrong_key=True, **more))
        for (attack, strength), (left, unmarked) in attacks.items():
            given = {"attack": attack, "strength": strength, **more}
            found.append(row(k, marked=True, right=left, **given))
            found.append(row(k, marked=False, right=unmarked - k % 2, **given))
    return found


def test_an_auroc_of_one_may_hide_that_nothing_is_found():
    cell = figures(rows(120, {("pgd", 1.0): (20, 10)}))["marks"]["m"]["attacks"]["pgd"]["strengths"]["1"]
    assert cell["auroc"]["combined"]["value"] == 1
    assert cell["analytic"]["0.01"]["evasion"]["value"] == 100
    assert cell["empirical"]["0.01"]["evasion"]["value"] == 100
    assert cell["analytic"]["0.01"]["spoofing"]["value"] == 0
    assert cell["found"]["value"] == 0
    assert cell["bit_accuracy"]["value"] == 62.5
    assert cell["tpr"]["0.01"]["value"] == 100  # at a threshold that moves along


def test_the_three_setups_compare_other_pictures():
    attacks = {("both", 1.0): (20, 30)}  # unmarked pictures look more marked than marked ones do
    auroc = figures(rows(30, attacks))["marks"]["m"]["attacks"]["both"]["strengths"]["1"]["auroc"]
    assert auroc["combined"]["value"] == 0
    assert auroc["removal"]["value"] > 0.8
    assert auroc["spoofing"]["value"] == 1


def test_rates_need_enough_unmarked_pictures():
    few, more = (figures(rows(n, {}))["marks"]["m"] for n in (98, 120))
    assert few["clean"]["tpr"]["0.01"] == {"value": None, "why": "n/a: 98 unmarked pictures, and 99 are needed"}
    assert few["thresholds"]["0.01"]["empirical"]["kind"] is None
    assert more["clean"]["tpr"]["0.01"]["value"] == 100
    assert "300 are enough" in more["clean"]["tpr"]["0.01"]["warning"]
    assert more["clean"]["tpr"]["0.001"]["why"] == "n/a: 120 unmarked pictures, and 999 are needed"
    assert more["thresholds"]["0.01"]["analytic"] == {
        "kind": "bits", "bits": 24, "of": 32, "share": 0.75, "expected": 0.35}  # fmt: skip
    assert more["thresholds"]["0.01"]["empirical"]["kind"] == "score"
    assert more["thresholds"]["0.01"]["empirical"]["n"] == 120


def test_false_positives_and_wrong_keys_that_are_too_many_are_told():
    fine = figures(rows(150, {}))["marks"]["m"]
    assert fine["wrong_key"]["as_expected"]
    assert fine["false_positives"]["0.01"]["as_expected"]
    biased = [{**one, "right": 25} if one["wrong_key"] or not one["marked"] else one for one in rows(150, {})]
    told = figures(biased)
    assert not told["marks"]["m"]["wrong_key"]["as_expected"]
    assert told["marks"]["m"]["false_positives"]["0.01"]["value"] == 100
    assert not told["marks"]["m"]["false_positives"]["0.01"]["as_expected"]
    text = card(told)
    assert "with a wrong key m finds more than chance would" in text
    assert "takes 150 of 150 unmarked pictures for marked ones" in text


def test_few_photographs_show_a_wrong_key_that_reads_biased_bits():
    drawn = np.random.default_rng(1).binomial(32, 0.6, 30)
    biased = [{**one, "right": int(drawn[int(one["id"])])} if one["wrong_key"] else one for one in rows(30, {})]
    assert figures(rows(30, {}))["marks"]["m"]["wrong_key"]["as_expected"]
    assert not figures(biased)["marks"]["m"]["wrong_key"]["as_expected"]


def test_attacks_are_ranked_by_what_they_cost():
    strengths = {0.5: (30, 16), 1.0: (10, 16)}
    attacks = {("slow", s): bits for s, bits in strengths.items()}
    attacks |= {("fast", s): (10, 16) for s in strengths} | {("harmless", s): (32, 16) for s in strengths}
    found = figures(rows(20, attacks))
    one = found["marks"]["m"]
    assert found["ranking"]["m"] == ["fast", "slow", "harmless"]
    assert one["order"] == ["slow", "fast", "harmless"]
    assert one["attacks"]["harmless"]["q_at_95"] == {"how": "never", "value": None}
    assert one["attacks"]["fast"]["q_at_95"]["how"] == "at most"
    q = [one["attacks"]["slow"]["strengths"][s]["q"] for s in ("0.5", "1")]
    assert one["attacks"]["slow"]["q_at_95"]["value"] == pytest.approx(q[0] + 0.05 * (q[1] - q[0]), abs=1e-3)
    assert one["attacks"]["slow"]["mean_p"] == 50
    assert one["attacks"]["slow"]["strengths"]["1"]["q_of"] == ["psnr", "ssim", "nmi"]
    assert one["attacks"]["slow"]["tradeoff"][0] == [0, 1]
    text = card(found)
    assert text.index("| fast |") < text.index("| slow |", text.index("| fast |"))
    assert "can't be compared with the Q of WAVES" in text


def test_users_are_told_apart_by_bits_or_not_at_all():
    own = figures(rows(10, {("half", 1.0): (22, 16)}))["marks"]["m"]
    assert own["clean"]["identified"]["1000000"]["value"] > 99.9
    hit = own["attacks"]["half"]["strengths"]["1"]["identified"]
    assert hit["100"]["value"] > hit["1000"]["value"] > hit["1000000"]["value"]
    shared = figures(rows(10, {}, method={"keyed": "shared"}))
    assert shared["marks"]["m"]["clean"]["identified"] is None
    assert "Users by their keys: n/a: all pictures have the same key." in card(shared)


def test_a_mark_without_bits_goes_by_p_values():
    given = [
        {**one, "bits": 0, "right": 0, "p_value": 1e-9 if one["marked"] and not one["wrong_key"] else 0.3}
        for one in rows(20, {("jpeg", 1.0): (30, 16)})
    ]
    one = figures(given)["marks"]["m"]
    assert one["thresholds"]["0.01"]["analytic"] == {"kind": "p-value", "p": 0.01, "expected": 1}
    assert one["clean"]["bit_accuracy"] is None
    assert one["clean"]["found"]["value"] == 100
    assert one["clean"]["identified"]["1000"]["value"] == pytest.approx(100, abs=1e-3)
    wrong = [{**look, "p_value": 1e-4} if look["wrong_key"] else look for look in given]
    told = figures(wrong)["marks"]["m"]
    assert "other keys are taken for the right one" in told["identification"]
    neither = [{**look, "p_value": float("nan")} for look in given]
    none = figures(neither)["marks"]["m"]
    assert none["clean"]["found"] is None
    assert none["attacks"]["jpeg"]["mean_p"] is None
    assert "neither bits nor p-values" in none["thresholds"]["0.01"]["analytic"]["why"]
    assert "| jpeg | never |" not in card(figures(neither))  # what isn't measured isn't called never lost


def test_a_removal_says_at_what_strength_and_whether_it_is_seen():
    attacks = {("a", 0.2): (30, 16), ("a", 0.4): (20, 16), ("b", 0.4): (28, 16), ("b", 1.0): (10, 16)}
    found = figures(rows(12, attacks))  # a strength of 1 costs 20 dB, from 40
    lost = {name: one["lost"] for name, one in found["marks"]["m"]["attacks"].items()}
    assert lost["a"] == {"strength": "0.4", "psnr": 32, "ssim": 0.9, "seen": False}
    assert lost["b"] == {"strength": "1", "psnr": 20, "ssim": 0.9, "seen": True}
    text = card(found)
    assert "| a | at 0.4: 32.0 dB, SSIM 0.90 |" in text
    assert "0 (20.0 dB, seen)" in text


def test_forgeries_and_adaptive_attacks():
    simple = figures(rows(5, {("jpeg", 1.0): (30, 16)}))
    assert simple["marks"]["m"]["adaptive"] == []
    assert "**Not evaluated against adaptive attacks**" in card(simple)
    forged = [
        row(k, marked=False, right=30, attack="copied", goal="spoofing", access="black box", about_mark=True)
        for k in range(5)
    ]
    pasted = [row(k, marked=True, right=31, attack="paste", goal="tampering", access="grey box") for k in range(5)]
    found = figures(rows(5, {}) + forged + pasted)
    one = found["marks"]["m"]
    assert one["adaptive"] == ["copied", "paste"]
    assert one["attacks"]["copied"]["strengths"]["1"]["analytic"]["0.01"]["spoofing"]["value"] == 100
    assert one["attacks"]["copied"]["strengths"]["1"]["found"] is None
    assert "mean_p" not in one["attacks"]["copied"]
    assert found["ranking"]["m"] == []
    text = card(found)
    assert "Adaptive attacks, which know or learn something of the mark: copied, paste." in text
    assert "| copied | spoofing | black box | 1 | 5 of 5 |" in text


def test_the_bound_is_called_vacuous_where_it_is():
    purified = {"component": "purification", "amount": '{"t": 60, "times": 1}'}
    given = [{**one, **purified} if one["attack"] else one for one in rows(5, {("diffusion", 1.0): (20, 16)})]
    found = figures(given)
    bound = found["marks"]["m"]["attacks"]["diffusion"]["strengths"]["1"]["bound"]
    assert bound["vacuous"]
    assert bound["distance"] == pytest.approx(5.6, abs=0.05)
    assert "it is vacuous: below 1 %" in card(found)
    small = [{**one, "values": 3, "mark_psnr": 50.0} if one["marked"] else one for one in given]
    assert not figures(small)["marks"]["m"]["attacks"]["diffusion"]["strengths"]["1"]["bound"]["vacuous"]


def test_marks_that_are_made_with_the_picture_have_no_psnr():
    found = figures(rows(5, {("jpeg", 1.0): (30, 16)}, method={"made_with": True}))["marks"]["m"]
    assert found["psnr"] is None
    assert "bound" not in found["attacks"]["jpeg"]["strengths"]["1"]


def test_figures_of_a_real_grid(looks):
    found = figures(looks)
    assert found["names"] == [mark.called for mark in MARKS]
    for one in found["marks"].values():
        assert one["clean"]["found"]["value"] == 100
        assert one["order"] == ["jpeg", "rotation"]
        assert one["attacks"]["rotation"]["mean_p"] < one["attacks"]["jpeg"]["mean_p"]
        assert one["attacks"]["rotation"]["lost"]["seen"] is None  # it moves the picture
        assert one["attacks"]["jpeg"]["lost"] is None
    assert found["marks"]["firm"]["psnr"] < found["marks"]["tiles"]["psnr"]
    assert found == figures(looks)  # resamples are the same


# ── plots and card ───────────────────────────────────────────────────────────────────────────────────────────────────


def card(found, counts=()):
    evaluation = WatermarkDetection()
    plots = dict.fromkeys(evaluation.plots(found), "![plot](plot.png)")
    values = {"figures": found, "models": {}, "order": [], "plots": plots, "counts": counts}
    return _render("_watermark_detection", **values)


def test_plots():
    attacks = {(f"a{k}", s): (32 - 4 * k, 16) for k in range(4) for s in (0.5, 1.0)}
    both = rows(6, attacks) + rows(6, dict.fromkeys(list(attacks)[:2], (30, 16)), mark="other")
    plots = WatermarkDetection().plots(figures(both))
    radar = plots["robustness"]
    assert isinstance(radar, RadarPlot)
    assert radar.axes == ("a0", "a1", "a2", "a3")
    assert radar.series == {"m": (100, 100, 100, 0), "other": (100, None, None, None)}
    curve = plots["quality_1"]
    assert isinstance(curve, CurvePlot)
    assert "a3" in curve.title
    assert [point.value for point in curve.series["m"]] == [0, 0]
    assert [point.x for point in curve.series["m"]] == [30, 20]  # dB
    assert set(plots) == {"robustness", "quality", *(f"quality_{n}" for n in range(1, 5)), "tradeoff_1", "tradeoff_2"}


def test_many_attacks_make_a_radar_of_families():
    given = [
        {**one, "family": f"family {int(one['attack'][1:]) % 3}"} if one["attack"] else one
        for one in rows(2, {(f"a{k:02}", 1.0): (32 if k % 3 else 8, 16) for k in range(20)})
    ]
    radar = WatermarkDetection().plots(figures(given))["robustness"]
    assert radar.axes == ("family 0", "family 1", "family 2")
    assert radar.series["m"] == (0, 100, 100)


def test_missing_cells_are_shown_with_their_reason():
    found = figures(rows(5, {("jpeg", 1.0): (30, 16)}))
    empty = {"accepted": 0, "quarantined": 0, "failed": 0, "ineligible": 5, "reasons": "unavailable 5"}
    counts = [{**empty, "variant": f"m_instruction_edit_{s}"} for s in (0.2, 0.4, 0.6, 0.8, 1)]
    counts.append({**empty, "variant": "m_jpeg_1", "ineligible": 0, "accepted": 5, "reasons": ""})
    text = card(found, counts)
    assert "| unavailable 5 | 5 | 5 | m&#95;instruction" in text or "| unavailable 5 | 5 | 5 | m_instruction" in text
    assert "and 1 more" in text


def test_fields_are_checked():
    for rates in ((), (0.01, 0.01), (0.5,), (0.0,)):
        with pytest.raises(ValueError, match="different rates"):
            WatermarkDetection(false_positive_rates=rates)
    with pytest.raises(ValueError, match="two marks are called 'stdm'"):
        WatermarkDetection(marks=(Stdm(), Stdm()))
