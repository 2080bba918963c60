"""Calls to labelers: each is made once, whatever happens to the process, and its answer is kept.

A call is one labeler, one prompt and up to `batch` pictures. Its answer lies in the memo under a digest of the
labeler, its models, the prompt, the categories and the pixels, so whoever asks the same again, a restarted run or an
evaluation of the same pictures, gets the kept answer. How long a call took is never part of what is stored in an
edition, as that would differ from run to run.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.schemas.canonical import digest
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelFailed, RecipeError, SourceError, TemporaryError, VariorumError
from variorum.schemas.outgoing import Outgoing
from variorum.schemas.safety import HEARD, RESERVED, Category, Heard, Labeler, Opinion, Shown, why_absent
from variorum.schemas.sample import Sample
from variorum.schemas.uses import required_models

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

log = logging.getLogger(__name__)

PAUSES = (1.0, 4.0, 16.0)
"""Seconds before a call is made again that failed for now."""
USABLE: tuple[Heard, ...] = ("ok", "repaired")
"""Answers that have scores."""
MOST_TOKENS = 10**9
PROMPT = re.compile(r"[A-Za-z0-9_]{0,80}")
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")
"""Of an object in memory, as Python prints it."""
KEPT: tuple[Heard, ...] = ("ok", "repaired", "refusal", "abstain")
"""Answers that are kept; a call in which something failed is made again by the next run."""


class Answers(NamedTuple):
    """One labeler's answers on N pictures to one prompt.

    Attributes:
        labeler: that was asked.
        prompt: its name.
        opinions: N of them, in the pictures' order.
    """

    labeler: Labeler
    prompt: str
    opinions: list[Opinion]


def ask(
    labelers: Sequence[Labeler],
    samples: Sequence[Sample],
    categories: tuple[Category, ...],
    ctx: Context,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Answers]:
    """Ask every labeler about pictures, prompt by prompt.

    Args:
        labelers: in the recipe's order.
        samples: with decoded pixels.
        categories: that are asked about.
        ctx: has the models and the memo.
        sleep: waits for this many seconds before a call is made again.

    Raises:
        RecipeError: a labeler gives something else than one opinion per picture, with scores from 0 to 1.
        TemporaryError: a call failed for now, and again after all pauses. What was answered is kept.
        ModelFailed: a labeler fails on every picture of a call.
    """
    pictures: list[Pixels] = []
    for sample in samples:
        assert not isinstance(sample.image, bytes)
        pictures.append(sample.image)
    names = [pixel_hash(image) for image in pictures]
    gate = Outgoing()
    free = [number for number, sample in enumerate(samples) if not gate.why_not(sample.id, sample.metadata)]
    embedded = Embedded(pictures, names, ctx)
    found: list[Answers] = []
    for labeler in labelers:
        why = why_absent(labeler, ctx)
        rows = free if labeler.remote else list(range(len(samples)))
        for prompt in _prompts(labeler, categories):
            opinions = [Opinion(heard="unavailable" if why else "not_sent")] * len(samples)
            for start in range(0, 0 if why else len(rows), labeler.batch):
                part = rows[start : start + labeler.batch]
                call = Call(labeler, prompt, categories, ctx, sleep)
                given = call.kept([pictures[row] for row in part], [names[row] for row in part], embedded, part)
                for row, opinion in zip(part, given, strict=True):
                    opinions[row] = opinion
            found.append(Answers(labeler, prompt, opinions))
    return found


def _prompts(labeler: Labeler, categories: Sequence[Category]) -> tuple[str, ...]:
    """The names of a labeler's prompts. Raises RecipeError if they can't be parts of columns."""
    names = tuple(labeler.prompts(categories))
    if len({*names}) < len(names) or not all(PROMPT.fullmatch(name) for name in names):
        raise RecipeError(
            f"labeler {labeler.called}: `prompts` gave {', '.join(map(repr, names))}; each must be a name of its own, "
            "of letters, digits and _"
        )
    return names


def pixel_hash(image: Pixels) -> str:
    """Identify a picture in calls, by a digest of its shape and pixels."""
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


class Embedded:
    """Embeddings of pictures, each computed once for all labelers that read them."""

    def __init__(self, pictures: Sequence[Pixels], names: Sequence[str], ctx: Context) -> None:
        self._pictures, self._names, self._ctx = pictures, names, ctx
        self._found: dict[str, Singles] = {}

    def of(self, alias: str, rows: Sequence[int]) -> Singles | None:
        """Embeddings `[n, d]` of some pictures; None without an alias."""
        if not alias:
            return None
        if alias not in self._found:
            models = self._ctx.models

            def compute() -> Mapping[str, np.ndarray[Any, Any]]:
                return {"embeddings": np.asarray(models.get(alias)(self._pictures), np.float32)}

            key = digest(["safety embeddings", models.pin(alias), list(self._names)])
            self._found[alias] = np.asarray(self._ctx.memo(key, compute)["embeddings"], np.float32)
        return self._found[alias][list(rows)]


class Call(NamedTuple):
    """A question to a labeler about a few pictures."""

    labeler: Labeler
    prompt: str
    categories: tuple[Category, ...]
    ctx: Context
    sleep: Callable[[float], None]

    def kept(
        self, pictures: Sequence[Pixels], names: Sequence[str], embedded: Embedded, rows: Sequence[int]
    ) -> list[Opinion]:
        """The opinions on pictures, from the memo if the call was made before."""
        models = self.ctx.models
        key = digest(
            [
                "safety call",
                {name: value for name, value in self.labeler.identity().items() if name not in self.labeler.late},
                self.labeler.revision,
                {alias: models.pin(alias) for alias in required_models(self.labeler)},
                self.prompt,
                [one.model_dump() for one in self.categories],
                list(names),
            ]
        )
        fresh: list[list[Opinion]] = []

        def compute() -> Mapping[str, np.ndarray[Any, Any]]:
            given = self.made(pictures, embedded.of(self.labeler.encoder(), rows))
            if any(one.heard not in KEPT for one in given):
                fresh.append(given)
                raise Unkept
            return packed(given, self.categories)

        try:
            return unpacked(self.ctx.memo(key, compute), self.categories)
        except Unkept:
            return fresh[0]

    def made(self, pictures: Sequence[Pixels], embeddings: Singles | None) -> list[Opinion]:
        """The opinions on pictures, asked for again after a pause if need be, and one by one if that fails.

        Raises:
            TemporaryError: it failed for now, also after the last pause.
            ModelFailed: it fails on every picture.
        """
        try:
            return self.tried(pictures, embeddings)
        except (RecipeError, SourceError, TemporaryError):
            raise
        except Exception as error:
            if len(pictures) == 1:
                raise ModelFailed(f"labeler {self.labeler.called}: {_said(error)}") from error
            log.warning("labeler %s: %s; its pictures are asked about one by one", self.labeler.called, _said(error))
        found: list[Opinion] = []
        for number, image in enumerate(pictures):
            one = None if embeddings is None else embeddings[number : number + 1]
            try:
                found += self.tried([image], one)
            except (RecipeError, SourceError, TemporaryError):
                raise
            except Exception as error:
                found.append(Opinion(heard="failed", text=_said(error)))
        if all(one.heard == "failed" for one in found):
            raise ModelFailed(f"labeler {self.labeler.called} fails on every picture: {found[0].text}")
        return found

    def tried(self, pictures: Sequence[Pixels], embeddings: Singles | None) -> list[Opinion]:
        """The opinions on pictures; a call that fails for now is made again after each of `PAUSES`."""
        shown = Shown(pictures, embeddings, self.prompt, self.categories)
        for pause in (*PAUSES, None):
            try:
                return self.checked(list(self.labeler.opinions(shown, self.ctx)), len(pictures))
            except TemporaryError as error:
                if pause is None:
                    raise
                log.warning("labeler %s: %s; it is asked again in %g s", self.labeler.called, error, pause)
                self.sleep(pause)
        raise AssertionError("unreachable")

    def checked(self, given: list[Opinion], number: int) -> list[Opinion]:
        """The opinions, one per picture, with scores in [0, 1] of categories that are asked about, and of no others."""
        where = f"labeler {self.labeler.called}"
        if len(given) != number:
            raise RecipeError(f"{where}: gave {len(given)} opinions on {number} pictures")
        allowed = self.labeler.speaks_of(self.prompt)
        asked = {*(one.id for one in self.categories), *RESERVED}
        for one in given:
            if one.heard not in HEARD:
                raise RecipeError(f"{where}: {one.heard!r} is none of {', '.join(HEARD)}")
            if one.scores and one.heard not in USABLE:
                raise RecipeError(f"{where}: gave scores with an answer that is heard as {one.heard!r}; leave them out")
            if not isinstance(one.text, str) or type(one.tokens) is not int or not 0 <= one.tokens < MOST_TOKENS:
                raise RecipeError(f"{where}: an opinion's text must be a str, and its tokens an int from 0 on")
            if odd := [name for name in one.scores if name not in allowed]:
                raise RecipeError(f"{where}: gave a score of {odd[0]!r}, which its `speaks_of` doesn't name")
            if wrong := [name for name, score in one.scores.items() if not 0 <= score <= 1]:
                raise RecipeError(f"{where}: its score of {wrong[0]} is {one.scores[wrong[0]]}, not from 0 to 1")
        return [
            one._replace(scores={name: score for name, score in one.scores.items() if name in asked}) for one in given
        ]


class Unkept(Exception):
    """A call with a failure in it, whose answer isn't kept."""


def packed(opinions: Sequence[Opinion], categories: Sequence[Category]) -> dict[str, np.ndarray[Any, Any]]:
    """Opinions as arrays for the memo."""
    names = [*(one.id for one in categories), *RESERVED]
    texts = [one.text.encode("utf-8", "replace") for one in opinions]
    return {
        "scores": np.array([[one.scores.get(name, math.nan) for name in names] for one in opinions], np.float64),
        "heard": np.array([HEARD.index(one.heard) for one in opinions], np.int8),
        "tokens": np.array([one.tokens for one in opinions], np.int64),
        "texts": np.frombuffer(b"".join(texts), np.uint8),
        "lengths": np.array([len(text) for text in texts], np.int64),
    }


def unpacked(arrays: Mapping[str, np.ndarray[Any, Any]], categories: Sequence[Category]) -> list[Opinion]:
    """The opinions that `packed` made arrays of."""
    names = [*(one.id for one in categories), *RESERVED]
    ends = np.cumsum(arrays["lengths"]).tolist()
    data = arrays["texts"].tobytes()
    return [
        Opinion(
            {name: score for name, score in zip(names, scores, strict=True) if not math.isnan(score)},
            HEARD[heard],
            data[end - length : end].decode(),
            tokens,
        )
        for scores, heard, tokens, length, end in zip(
            arrays["scores"].tolist(),
            arrays["heard"].tolist(),
            arrays["tokens"].tolist(),
            arrays["lengths"].tolist(),
            ends,
            strict=True,
        )
    ]


def _said(error: BaseException) -> str:
    """An error in a line. Addresses in memory are left out, because the line is stored and they differ in each run."""
    text = str(error) if isinstance(error, VariorumError) else f"{type(error).__name__}: {error}"
    return ADDRESS.sub("0x…", " ".join(text.split()))[:300]
