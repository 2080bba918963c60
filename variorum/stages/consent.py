"""Consent to sending pictures to another machine: nothing is sent unless the run names its host."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from variorum.schemas.component import Component
from variorum.schemas.errors import RecipeError
from variorum.schemas.more import sendings_of
from variorum.schemas.sending import Sending

log = logging.getLogger(__name__)

VARIABLE = "VARIORUM_SEND_PICTURES_TO"
"""Environment variable with the hosts that pictures may be sent to, separated by spaces or commas."""
OPTION = "--send-pictures-to"


def agreed() -> frozenset[str]:
    """The hosts that pictures may be sent to."""
    return frozenset(host.casefold() for host in re.split(r"[\s,]+", os.environ.get(VARIABLE, "")) if host)


@contextmanager
def agreeing(hosts: Sequence[str]) -> Iterator[None]:
    """Agree to sending pictures to more hosts, in this process and those that it starts, for as long as this lasts."""
    before = os.environ.get(VARIABLE)
    if hosts:
        os.environ[VARIABLE] = " ".join([*hosts, before or ""]).strip()
    try:
        yield
    finally:
        if hosts and before is None:
            del os.environ[VARIABLE]
        elif hosts and before is not None:
            os.environ[VARIABLE] = before


def check_agreed(sending: Sending, pictures: int | None = None) -> None:
    """Raise RecipeError, saying what would be sent, unless its host may get pictures."""
    if sending.host.casefold() not in agreed():
        raise RecipeError(
            f"this sends {sending.said(pictures)}. Nothing is sent unless you allow it: "
            f"add {OPTION} {sending.host}, or set {VARIABLE}={sending.host}"
        )


def announce(components: Iterable[Component], pictures: int) -> None:
    """Say what components are about to send, once it is known that all of it may be sent.

    Raises:
        RecipeError: a host may not get pictures.
    """
    found = sendings_of(*components)
    for sending in found:
        check_agreed(sending, pictures)
    for sending in found:
        log.warning("sends %s", sending.said(pictures))


def check_all(components: Iterable[Component]) -> None:
    """Raise RecipeError, saying what would be sent, if a component sends pictures to a host that may not get them."""
    for sending in sendings_of(*components):
        check_agreed(sending)
