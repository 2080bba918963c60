"""A vision-language model behind an HTTP endpoint in the form of OpenAI's chat completions, if the run allows it.

Pictures leave this machine only where the run names the host (`--send-pictures-to`), and restricted ones never do. Sent
are pixels, shrunk and encoded anew, and the question: no name, no label, nothing that a file said of its picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from variorum.curation.safety.harms.asking import pixel_hash
from variorum.curation.safety.harms.endpoint import Answer, Endpoint, checked_url, host_of
from variorum.curation.safety.harms.prompts import REVISION, Questions
from variorum.models.diffusion.images import shrunk
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context
from variorum.schemas.safety import Category, Labeler, Opinion, Shown
from variorum.schemas.secrets import VARIABLE
from variorum.schemas.sending import Sending
from variorum.stages.consent import check_agreed

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class Remote(Labeler):
    """Asks somebody else's model, with temperature 0 and the request to store nothing.

    An answer that came is kept under the picture's content and the question, so it is never asked for twice. Only the
    host knows which model is behind a URL, and whether it stays the same.
    """

    revision: ClassVar[int] = REVISION
    location: ClassVar[frozenset[str]] = frozenset({"token_variable", "timeout"})
    sort: ClassVar[str] = "remote vision-language model"
    writes: ClassVar[bool] = True
    remote: ClassVar[bool] = True

    batch: int = Field(default=4, ge=1, le=64)
    """Requests at the same time; each is about one picture."""
    url: str
    """Of the endpoint, in full: https://api.example.org/v1/chat/completions. Plain http only to this machine."""
    model: str = Field(min_length=1, max_length=200, pattern=r"^[\w./:@+-]+$")
    """The model's name there."""
    asked: Questions = Questions()
    """Which questions it is asked."""
    side: int = Field(default=512, ge=64, le=2048)
    """Larger pictures are shrunk to this longer side, pixels."""
    token_variable: str = Field(default="VARIORUM_REMOTE_TOKEN", pattern="^[A-Z][A-Z0-9_]{0,79}$")
    """Environment variable with the token; no token is sent if it isn't set."""
    timeout: float = Field(default=60.0, gt=0, le=600)
    """Seconds to wait for an answer."""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value)

    @field_validator("token_variable")
    @classmethod
    def _token_variable(cls, value: str) -> str:
        if not VARIABLE.search(value):
            raise ValueError("must have TOKEN, API_KEY or SECRET in its name, so that its value is never shown")
        return value

    def scored(self) -> tuple[str, ...]:
        """List the categories that its prompts ask about."""
        return self.asked.scored()

    def speaks_of(self, prompt: str) -> tuple[str, ...]:
        """List what the prompt asks about."""
        return self.asked.speaks_of(prompt)

    def prompts(self, categories: Sequence[Category]) -> tuple[str, ...]:
        """The names of the questions."""
        return self.asked.names(categories)

    def sends_about(self, categories: Sequence[Category]) -> tuple[Sending, ...]:
        """Every picture with every prompt."""
        return (Sending(host_of(self.url), self.model, self.side, len(self.prompts(categories))),)

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """Read the model's answers.

        Raises:
            RecipeError: the run doesn't allow sending, or the endpoint refuses the token or knows no such model.
            TemporaryError: the endpoint is busy, unreachable or too slow. What it answered before is kept.
            ModelFailed: it can't work on a picture.
        """
        check_agreed(self.sends_about(shown.categories)[0])
        question = self.asked.text(shown.prompt, shown.categories)
        endpoint = Endpoint(self.url, self.model, self.token_variable, self.timeout, self.asked.most_tokens)
        with ThreadPoolExecutor(max_workers=len(shown.pictures)) as pool:
            calls = [pool.submit(self._answer, endpoint, one, question, ctx) for one in shown.pictures]
        answers = [call.result() for call in calls]
        return [
            Opinion(heard="refusal", text=answer.text, tokens=answer.tokens)
            if answer.refused
            else self.asked.opinion(answer.text, shown.prompt, shown.categories, answer.tokens)
            for answer in answers
        ]

    def _answer(self, endpoint: Endpoint, picture: Pixels, question: str, ctx: Context) -> Answer:
        """The answer about one picture: the kept one, or the endpoint's."""

        def compute() -> Mapping[str, np.ndarray[Any, Any]]:
            given = endpoint.ask(shrunk(picture, self.side), question)
            text = np.frombuffer(given.text.encode("utf-8", "replace"), np.uint8)
            return {"text": text, "facts": np.array([given.tokens, given.refused], np.int64)}

        asked: list[Json] = [self.url, self.model, self.side, self.asked.most_tokens, question, pixel_hash(picture)]
        kept = ctx.memo(digest(["remote answer", *asked]), compute)
        tokens, refused = kept["facts"].tolist()
        return Answer(kept["text"].tobytes().decode(), tokens, bool(refused))
