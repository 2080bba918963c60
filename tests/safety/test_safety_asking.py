"""Calls to labelers: what counts as an answer, what is kept, and what one bad picture or labeler costs."""

import math

import numpy as np
import pytest
from labelers_that_say import THREE

from variorum.curation.safety.harms.asking import PAUSES, ask
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelFailed, RecipeError, SourceError, TemporaryError
from variorum.schemas.safety import ANY, Labeler, Opinion
from variorum.schemas.sample import Sample


class Answers(Labeler):
    """Gives what a function of the call says, and counts its calls."""

    batch: int = 4
    speaks: tuple[str, ...] = ("blue",)

    def scored(self):
        return self.speaks

    def opinions(self, shown, ctx):
        CALLS.append([int(image[0, 0, 0]) for image in shown.pictures])
        return ANSWER[0](shown)


class Away(Answers):
    """On another machine."""

    remote = True


class NoModels:
    def why_unavailable(self, alias):
        return ""

    def pin(self, alias):
        return alias


ANSWER = [None]
CALLS = []


@pytest.fixture(autouse=True)
def nothing_asked():
    CALLS.clear()


def samples(number=6, **metadata):
    return [Sample(str(one), np.full((4, 4, 3), one, np.uint8), metadata=metadata) for one in range(number)]


def kept_in(memory):
    def memo(key, compute):
        if key not in memory:
            memory[key] = compute()
        return memory[key]

    return memo


def asked(answer, given=None, labeler=None, memory=None, sleep=lambda _: None):
    ANSWER[0] = answer
    ctx = Context(0, NoModels(), kept_in({} if memory is None else memory))
    (found,) = ask([labeler or Answers()], given or samples(), THREE, ctx, sleep=sleep)
    return found.opinions


def each(opinion):
    return lambda shown: [opinion(int(image[0, 0, 0])) for image in shown.pictures]


def test_answers_come_back_in_order_and_are_asked_for_once():
    memory = {}
    said = each(lambda one: Opinion({"blue": one / 10} if one != 2 else {}, "ok", f"picture {one}", one))
    first = asked(said, memory=memory)
    assert [one.text for one in first] == [f"picture {number}" for number in range(6)]
    assert [one.scores for one in first][:4] == [{"blue": 0.0}, {"blue": 0.1}, {}, {"blue": 0.3}]
    assert CALLS == [[0, 1, 2, 3], [4, 5]]
    assert asked(said, memory=memory) == first
    assert asked(said, memory=memory, labeler=Answers(threshold=0.9, label="strict")) == first
    assert len(CALLS) == 2


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (each(lambda _: Opinion({"blue": math.nan})), "its score of blue is nan, not from 0 to 1"),
        (each(lambda _: Opinion({"blue": math.inf})), "its score of blue is inf, not from 0 to 1"),
        (each(lambda _: Opinion({"blue": -0.1})), r"its score of blue is -0\.1, not from 0 to 1"),
        (each(lambda _: Opinion({"blue": 1.1})), r"its score of blue is 1\.1, not from 0 to 1"),
        (each(lambda _: Opinion({"green": 0.1})), "gave a score of 'green', which its `speaks_of` doesn't name"),
        (each(lambda _: Opinion({"blue": 0.1}, "refusal")), "gave scores with an answer that is heard as 'refusal'"),
        (each(lambda _: Opinion(text=None)), "an opinion's text must be a str, and its tokens an int from 0 on"),
        (each(lambda _: Opinion(tokens=-1)), "an opinion's text must be a str, and its tokens an int from 0 on"),
        (each(lambda _: Opinion(tokens=2**64)), "an opinion's text must be a str, and its tokens an int from 0 on"),
        (each(lambda _: Opinion(heard="perhaps")), "'perhaps' is none of ok, repaired"),
        (lambda shown: [Opinion()], "gave 1 opinions on 4 pictures"),
    ],
)
def test_answers_that_are_none_end_the_run(answer, problem):
    with pytest.raises(RecipeError, match=f"labeler test_safety_asking: {problem}"):
        asked(answer)


def test_a_score_of_what_is_not_asked_about_is_left_out():
    labeler = Answers(speaks=("blue", "purple", ANY))
    (one, *_) = asked(each(lambda _: Opinion({"blue": 0.1, "purple": 0.9, ANY: 0.2})), labeler=labeler)
    assert one.scores == {"blue": 0.1, ANY: 0.2}


def test_a_picture_that_a_labeler_fails_on_costs_that_picture_and_is_asked_about_again():
    def fails_on_two(shown):
        if 2 in [int(image[0, 0, 0]) for image in shown.pictures]:
            raise ValueError("<Net at 0x7f8a2c01d0> is out of\nits depth")
        return [Opinion({"blue": 0.5}) for _ in shown.pictures]

    memory = {}
    found = asked(fails_on_two, memory=memory)
    assert [one.heard for one in found] == ["ok", "ok", "failed", "ok", "ok", "ok"]
    assert found[2].text == "ValueError: <Net at 0x…> is out of its depth"  # the same in every run
    assert CALLS == [[0, 1, 2, 3], [0], [1], [2], [3], [4, 5]]
    CALLS.clear()
    assert [one.heard for one in asked(each(lambda _: Opinion()), memory=memory)] == ["ok"] * 6
    assert CALLS == [[0, 1, 2, 3]]  # the call without a failure is kept


def test_a_labeler_that_fails_on_every_picture_ends_the_run():
    def fails(shown):
        raise ValueError("never")

    with pytest.raises(ModelFailed, match=r"test_safety_asking fails on every picture: ValueError: never"):
        asked(fails)
    with pytest.raises(ModelFailed, match=r"test_safety_asking: ValueError: never"):
        asked(fails, samples(1))


def test_what_fails_for_now_is_asked_again_after_pauses():
    pauses = []

    def busy(shown):
        if len(CALLS) < 3:
            raise TemporaryError("busy")
        return [Opinion() for _ in shown.pictures]

    asked(busy, samples(1), sleep=pauses.append)
    assert pauses == [*PAUSES[:2]]

    def down(shown):
        raise TemporaryError("down")

    pauses.clear()
    with pytest.raises(TemporaryError, match="down"):
        asked(down, samples(1), sleep=pauses.append)
    assert pauses == [*PAUSES]


@pytest.mark.parametrize("error", [RecipeError("wrong key"), SourceError("no list")])
def test_errors_of_the_recipe_are_not_blamed_on_pictures(error):
    def refuses(shown):
        raise error

    with pytest.raises(type(error), match=str(error)):
        asked(refuses)
    assert len(CALLS) == 1


def test_restricted_pictures_never_leave_this_machine():
    given = [*samples(2), *samples(2, restricted=True)]
    said = each(lambda _: Opinion({"blue": 0.5}))
    assert [one.heard for one in asked(said, given, Away())] == ["ok", "ok", "not_sent", "not_sent"]
    assert CALLS == [[0, 1]]
    assert [one.heard for one in asked(said, given)] == ["ok"] * 4


@pytest.mark.parametrize("names", [("x", "x"), ("a.b",), ("a b",), ("<b>",), ("x\n",)])
def test_names_of_prompts_become_parts_of_columns(names):
    class Asked(Answers):
        def prompts(self, categories):
            return names

    with pytest.raises(RecipeError, match="each must be a name of its own, of letters, digits and _"):
        asked(each(lambda _: Opinion()), labeler=Asked())
    assert CALLS == []
