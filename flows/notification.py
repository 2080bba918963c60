"""One message to the address in `VARIORUM_NOTIFY` for each scheduled run that fails.

The address is a secret, because whoever has it can post there. So it comes from the environment of the run, never from
a parameter, and no message or log shows it.
"""

from __future__ import annotations

import json
import logging
import os
import urllib.request
from typing import Any

from variorum.schemas.errors import TemporaryError, cut
from variorum.schemas.secrets import without_secrets

log = logging.getLogger(__name__)

VARIABLE = "VARIORUM_NOTIFY"
"""Environment variable with the address: a webhook's URL, or an address that Apprise knows."""
SECONDS = 10.0
"""Seconds that the service may take to answer."""


def tell(flow: Any, flow_run: Any, state: Any) -> None:
    """Send a message that a flow run failed or crashed, if there is an address. Prefect calls this hook.

    It never raises; if the message can't be sent, that is logged without the address.
    """
    address = os.environ.get(VARIABLE, "").strip()
    if not address:
        return
    title, text = message(flow_run, state)
    try:
        send(address, title, text)
    except Exception as error:  # of any service
        log.warning("%s: the message wasn't sent: %s (%s)", VARIABLE, title, type(error).__name__)


def message(flow_run: Any, state: Any) -> tuple[str, str]:
    """A title, and a text with the reason and the address of the run's page, both without secrets."""
    from variorum.flows.own_server import server_name

    about = flow_run.parameters.get("recipe") or flow_run.parameters.get("edition") or flow_run.name
    lines = str(state.message or "no reason is known").strip().splitlines()
    page = f"{server_name().removesuffix('/api')}/runs/flow-run/{flow_run.id}"
    return f"{cut(str(about))}: {state.name.lower()}", f"{cut(without_secrets(lines[0]))}\n{page}"


def send(address: str, title: str, text: str) -> None:
    """Send a message.

    Args:
        address: an address that Apprise knows, such as `slack://…`, `mailto://…` or the webhook of a known service; any
            other `http` or `https` URL gets a POST of JSON with `title`, `message` and `type`.
        title: of the message.
        text: of the message.

    Raises:
        TemporaryError: the service is unknown, or doesn't accept the message.
        OSError: it can't be reached, or rejects the message.
    """
    from apprise import Apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs addresses that it doesn't know
    service = Apprise.instantiate(address, suppress_exceptions=True)
    if service is not None:
        if not service.notify(body=text, title=title, notify_type="failure"):
            raise TemporaryError("the service didn't accept the message")
        return
    if not address.startswith(("http://", "https://")):
        raise TemporaryError("no service with such an address is known")
    body = json.dumps({"title": title, "message": text, "type": "failure"}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310 - the scheme is checked
        pass
