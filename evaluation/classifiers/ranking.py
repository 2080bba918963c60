"""From files with answers to a leaderboard: which files count, and the order of their models."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from variorum.evaluation.classifiers.figures import Given, differences, figures, photographs
from variorum.evaluation.classifiers.pictures import Pictures
from variorum.reports.result_files import Content, figures_differ, parse_result
from variorum.reports.results import EditionName, Figures, Method, Result, digest_of
from variorum.reports.standing import MOST, Entry, Leaderboard, LeftOut
from variorum.schemas.errors import SourceError
from variorum.schemas.looks import look

if TYPE_CHECKING:
    from variorum.schemas.manifest import Manifest


def edition_name(manifest: Manifest) -> EditionName:
    """The edition as results name it."""
    return EditionName(name=f"{manifest.dataset}@{manifest.version}", digest=manifest.digest())


def leaderboard_of(
    edition: EditionName, pictures: Pictures, files: Mapping[str, Content], method: Method, own: Collection[str] = ()
) -> Leaderboard:
    """The leaderboard of these files.

    A file is left out, with the reason, if it can't be read, is of another edition, states figures that don't match its
    answers, or has a model whose name looks like another one's. A file that is there twice counts once.

    Args:
        edition: name and digest.
        pictures: of the edition.
        files: content by name; of two with the same model, the first counts.
        method: how intervals are computed, for all models alike.
        own: names of the files whose models were run here.

    Raises:
        SourceError: there are too many files.
    """
    if len(files) > MOST:
        raise SourceError(f"{len(files)} results are more than the {MOST} of a leaderboard; name fewer files")
    taken: dict[str, Result] = {}
    names: dict[str, str] = {}
    left_out: list[LeftOut] = []
    answered: list[Answered] = []
    for name, data in files.items():
        label = "".join(sign if sign.isprintable() else "\ufffd" for sign in name.rpartition("/")[2])[:200] or "file"
        try:
            if isinstance(data, SourceError):
                raise data
            result = parse_result(name, data)
            given, stated = checked(result, edition, pictures)
            model = result.model.name
            if (known := names.setdefault(look(model), model)) != model:
                raise SourceError(f"its model {model!a} looks like {known!a}; give it a name of its own")
            before = taken.setdefault(result.model.pin(), result)
            if before is not result and before.answers != result.answers:
                raise SourceError(f"{name}: another result of {model} has other answers; keep one of them")
        except SourceError as error:
            why = str(error)[len(name) + 2 :] if str(error).startswith(f"{name}: ") else str(error)
            left_out.append(LeftOut(file=label, why=_line(why)))
            continue
        if before is result:
            alike = method.draws() == result.evaluation.draws()
            found = stated if alike else figures(pictures, given, method)
            answered.append(Answered(result, given, found, own=name in own))
    return ranked(edition, pictures, answered, method, left_out)


def checked(result: Result, edition: EditionName, pictures: Pictures) -> tuple[Given, Figures]:
    """A result's answers with their figures, if it is of this edition and states the same figures.

    Raises:
        SourceError: says what doesn't fit.
    """
    if result.edition.digest != edition.digest:
        raise SourceError(
            f"it is of another edition, {result.edition.name} with digest {result.edition.digest[:12]}; this one has "
            f"{edition.digest[:12]}"
        )
    if result.answers.pictures != len(pictures):
        raise SourceError(f"it has answers to {result.answers.pictures} pictures; the edition has {len(pictures)}")
    given = Given(*result.answers.arrays())
    if (
        digest_of(one for one, scored in zip(pictures.ids, given.scored.tolist(), strict=True) if scored)
        != result.answers.ids
    ):
        raise SourceError("its answers are to other pictures than those of the edition")
    if (given.scored & ~pictures.labelled).any():
        raise SourceError("it scores pictures that have no label")
    found = figures(pictures, given, result.evaluation)
    if difference := figures_differ(result.figures, found):
        raise SourceError(f"its figures don't match its answers: {difference}")
    return given, found


class Answered(NamedTuple):
    """A model with its answers, the figures that they have by the leaderboard's method, and whether it was run here."""

    result: Result
    given: Given
    figures: Figures
    own: bool = True


def ranked(
    edition: EditionName,
    pictures: Pictures,
    answered: Iterable[Answered],
    method: Method,
    left_out: Sequence[LeftOut] = (),
) -> Leaderboard:
    """Models in order, with the distance of each to the best."""
    found = sorted(answered, key=lambda one: (-_accuracy(one.figures), one.result.model.name, one.result.model.pin()))
    behind = differences(pictures, found[0].given, [one.given for one in found[1:]], method) if found else []
    entries = [
        Entry(
            rank=place,
            model=one.result.model,
            scored=int(one.given.scored.sum()),
            figures=one.figures,
            photographs=photographs(pictures, one.given),
            behind=distance,
            brought=not one.own,
        )
        for place, (one, distance) in enumerate(zip(found, [None, *behind], strict=False), 1)
    ]
    return Leaderboard(
        edition=edition, pictures=len(pictures), method=method, entries=tuple(entries), left_out=tuple(left_out)
    )


def _accuracy(found: Figures) -> float:
    """Return the accuracy that models are ranked by; -1 for a model that was scored on nothing."""
    value = found.original_accuracy if found.accuracy is None else found.accuracy
    return -1.0 if value is None else value


def _line(text: str) -> str:
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)[:1000]
