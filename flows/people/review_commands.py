"""`variorum review`: publish a panel's questions, and serve its page until it is stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variorum.edition.opening import existing
from variorum.flows import terminal
from variorum.flows.options import Edition, StoreUrl, examples
from variorum.schemas.secrets import remember

if TYPE_CHECKING:
    from variorum.edition.store import Store
    from variorum.people.panel.panel import Panel
    from variorum.people.panel.settings import PanelRecord, Settings
    from variorum.people.server.access import Joining, Place
    from variorum.people.server.served import Served
    from variorum.schemas.manifest import Manifest

EXAMPLES = examples(
    "variorum review curate_folder",
    "variorum review street --kind label --kind box --votes 5 --budget 2000 --gold known.csv",
    "variorum review street --marks marks-street@1.0.0.jsonl",
    "variorum review street --host 0.0.0.0 --address https://review.example.org",
    "variorum review street --host 0.0.0.0 --invited names.txt",
    "variorum review street --publish-only",
)
PORT = 8765
KEY = "VARIORUM_REVIEW_KEY"
DATABASE = "VARIORUM_DATABASE"

_OF_THE_QUESTIONS = "Questions"
_OF_THE_SERVER = "Server"

PANEL = "Ask people"
commands = typer.Typer()


@commands.command(epilog=EXAMPLES)
def review(
    edition: Edition,
    store: StoreUrl = "store",
    name: Annotated[str, typer.Option("--name", help="Name of the panel; an edition can have several.")] = "main",
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="Kind of question: label, copy, edit, box, safe or unsafe. May be repeated.",
            rich_help_panel=_OF_THE_QUESTIONS,
        ),
    ] = None,
    votes: Annotated[
        int | None,
        typer.Option(
            "--votes",
            min=1,
            help="Independent votes on each question; 3 by default.",
            rich_help_panel=_OF_THE_QUESTIONS,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            min=1,
            help="Maximum number of questions of a kind, controls not counted.",
            rich_help_panel=_OF_THE_QUESTIONS,
        ),
    ] = None,
    cap: Annotated[
        int | None,
        typer.Option(
            "--cap",
            min=1,
            help="Maximum number of questions about one picture; 8 by default.",
            rich_help_panel=_OF_THE_QUESTIONS,
        ),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option(
            "--gold",
            metavar="FILE",
            help="Known answers that check the reviewers: CSV or parquet with id or origin, label, truth.",
            rich_help_panel=_OF_THE_QUESTIONS,
        ),
    ] = None,
    marks: Annotated[
        Path | None,
        typer.Option(
            "--marks",
            metavar="FILE",
            help="Marks saved on the page of variorum view: pictures marked with Ask people are asked about first.",
            rich_help_panel=_OF_THE_QUESTIONS,
        ),
    ] = None,
    collapsed: Annotated[
        str | None,
        typer.Option(
            "--collapsed",
            metavar="imagenet|FILE",
            help="Classes that people can't tell apart: imagenet, or a JSON file that maps class ids to class ids.",
            rich_help_panel=_OF_THE_QUESTIONS,
        ),
    ] = None,
    safe_by: Annotated[
        str | None,
        typer.Option(
            "--safe-by",
            metavar="COLUMN",
            help="With --kind safe: column of numbers; pictures with the highest are asked about first.",
            rich_help_panel=_OF_THE_QUESTIONS,
        ),
    ] = None,
    blur: Annotated[
        bool | None,
        typer.Option(
            "--blur/--no-blur",
            help="Blur pictures until a reviewer asks to see them.",
            rich_help_panel=_OF_THE_QUESTIONS,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Seed of all random choices; 0 by default.", rich_help_panel=_OF_THE_QUESTIONS),
    ] = None,
    publish_only: Annotated[
        bool,
        typer.Option(
            "--publish-only", help="Publish the questions, and don't serve the page.", rich_help_panel=_OF_THE_QUESTIONS
        ),
    ] = False,
    definitions: Annotated[
        Path | None,
        typer.Option(
            "--definitions",
            metavar="FILE",
            help="What classes mean: CSV with the columns class and definition, JSON or YAML; by default WordNet's.",
            rich_help_panel=_OF_THE_SERVER,
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            envvar=DATABASE,
            help="Where votes are: a SQLite file, or postgresql://user@host/name; by default a file in the store.",
            rich_help_panel=_OF_THE_SERVER,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            help="Address to listen on; 0.0.0.0 for all. If other machines can join, they need a key.",
            rich_help_panel=_OF_THE_SERVER,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.", rich_help_panel=_OF_THE_SERVER
        ),
    ] = PORT,
    addresses: Annotated[
        list[str] | None,
        typer.Option(
            "--address",
            metavar="URL",
            help="Address that browsers use, if a proxy is in front: https://review.example.org. May be repeated.",
            rich_help_panel=_OF_THE_SERVER,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            envvar=KEY,
            help="Key for joining. If other machines can join and it is left out, one is made.",
            rich_help_panel=_OF_THE_SERVER,
        ),
    ] = None,
    invited: Annotated[
        list[str] | None,
        typer.Option(
            "--invited",
            metavar="NAME|FILE",
            help="Only these people take part, each by a personal link, which is printed. A name, or a file with one "
            "in each line. May be repeated.",
            rich_help_panel=_OF_THE_SERVER,
        ),
    ] = None,
    confirm: Annotated[
        bool | None,
        typer.Option(
            "--confirm/--no-confirm",
            help="Whether you confirm everybody who joins before they see anything; by default if other machines can "
            "join.",
            rich_help_panel=_OF_THE_SERVER,
        ),
    ] = None,
    pause_below: Annotated[
        float,
        typer.Option(
            "--pause-below",
            metavar="SECONDS",
            min=0,
            max=60,
            help="Pause whoever answers faster, such as in 1 second, if their answers on controls can't be told from "
            "guesses. By default they are only warned, and marked on the administration page.",
            rich_help_panel=_OF_THE_SERVER,
        ),
    ] = 0.0,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Don't open the page in a browser.", rich_help_panel=_OF_THE_SERVER)
    ] = False,
) -> None:
    """Ask several people about an edition's pictures on a web page: blind votes, controls, discussion.

    The first call publishes the panel, that is its questions and their order. Later calls need no settings.

    `variorum votes` exports the votes, and a recipe with the step consensus or safety reads that file.
    """
    from variorum.edition.editions import resolve
    from variorum.people.panel.panel import published

    if invited and (key or confirm is not None):
        raise typer.BadParameter("--invited goes with neither --key nor --confirm: nobody can join")
    remember(database)
    where = existing(store, writable=True)
    manifest = resolve(edition, where)
    there = published(manifest, where, name=name)
    given = {
        "kinds": tuple(kinds) if kinds else None,
        "votes": votes,
        "budget": budget,
        "cap": cap,
        "collapsed": _collapsed(collapsed),
        "safe_by": safe_by,
        "blur": blur,
        "seed": seed,
    }
    settings = _settings(there, {field: value for field, value in given.items() if value is not None})
    asked = _Panel(manifest, where, name, settings, gold, marks, there)
    if publish_only:
        asked.publish()
        return
    people = _names(invited or ())
    place = _place(host, port, addresses or ())
    joining: Joining = "open" if place.loopback else "confirmed"
    if confirm is not None:
        joining = "confirmed" if confirm else "open"
    _serve(asked, place, database, key, definitions, "invited" if people else joining, people, pause_below, no_open)


@dataclass(frozen=True, slots=True)
class _Panel:
    """A panel that is asked for; `there` is what has been published of it."""

    manifest: Manifest
    store: Store
    name: str
    settings: Settings
    gold: Path | None
    marks: Path | None
    there: PanelRecord | None

    def publish(self) -> None:
        """Publish the questions, if they aren't yet, and say so."""
        from variorum.people.panel.panel import notes, publish

        with terminal.progress() as progress:
            record = publish(
                self.manifest,
                self.store,
                self.settings,
                name=self.name,
                gold=self.gold,
                marks=self.marks,
                progress=progress,
            )
        if self.marks:
            self._tell_marks(record)
        counts = record.counts
        if record == self.there:
            terminal.say(f"panel {record.key} is published already, with the same questions")
        else:
            terminal.say(
                f"panel {record.key} is published: {counts.get('questions', 0)} questions in {counts.get('tasks', 0)} "
                f"tasks, {counts.get('gold', 0)} with a known answer; {record.settings.votes} votes each"
            )
        for line in notes(record, self.manifest, self.store):
            terminal.say(f"  {line}")

    def _tell_marks(self, record: PanelRecord) -> None:
        """Say how many of the marked pictures are asked about."""
        from variorum.kit.raters.marks import read_marks
        from variorum.people.panel.panel import read_questions

        assert self.marks is not None
        wanted = set(read_marks(self.marks).asked)
        there = wanted & set(read_questions(record, self.store)["id"].to_pylist())
        if not wanted:
            terminal.say(f"{self.marks}: no picture is marked with Ask people; tags are for variorum curate --marks")
            return
        first = "" if self.there else ", first of all"
        terminal.say(f"{len(there)} of {len(wanted)} marked pictures are asked about{first}")
        if len(there) < len(wanted):
            terminal.say("the others are dropped or withheld, or nothing of this kind can be asked about them")

    def open(self, database: str | None) -> Panel:
        """The panel with its questions in the database."""
        from variorum.people.panel.panel import open_panel

        with terminal.progress() as progress:
            return open_panel(self.manifest, self.store, name=self.name, database=database, progress=progress)


def _settings(there: PanelRecord | None, given: dict[str, Any]) -> Settings:
    """The settings of a panel: those given, else those that it has, else the defaults."""
    from pydantic import ValidationError

    from variorum.people.panel.settings import Settings

    base = there.settings.model_dump() if there else {}
    try:
        return Settings(**{**base, **given})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        option = str(first["loc"][0]).replace("_", "-").replace("kinds", "kind")
        raise typer.BadParameter(f"--{option}: {first['msg'].removeprefix('Value error, ')}") from None


def _collapsed(text: str | None) -> Any:
    if text is None or text == "imagenet":
        return text
    from variorum.schemas.errors import SourceError

    try:
        found = json.loads(Path(text).read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds something else")
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(
            f"--collapsed {text}: imagenet, or a JSON file with class id to class ids ({error})"
        ) from None
    return {name: tuple(others) if isinstance(others, list) else others for name, others in found.items()}


def _place(host: str, port: int, addresses: Any) -> Place:
    from variorum.people.server.access import Place, address

    return Place(host, port, tuple(map(address, addresses)))


def _names(given: Sequence[str]) -> list[str]:
    """The names that are given, and those in files."""
    from variorum.schemas.errors import SourceError

    found = list[str]()
    for one in given:
        if not (one.endswith(".txt") or "/" in one):
            found.append(one)
            continue
        try:
            found += filter(None, map(str.strip, Path(one).read_text(encoding="utf-8-sig").splitlines()))
        except (OSError, ValueError) as error:
            raise SourceError(f"--invited {one}: a name, or a file with a name in each line ({error})") from None
    if given and not found:
        raise SourceError(f"--invited {given[0]}: it has no name; write one in each line")
    return list(dict.fromkeys(found))


def _invite(served: Served, place: Place, people: Sequence[str]) -> None:
    """Print a personal link for everybody who has none."""
    from variorum.people.votes.reviewers import NameTaken

    for one in people:
        try:
            name, secret = served.join(one)
            typer.echo(f"{terminal.plain(name)}: {place.url}/as?secret={secret}")  # `say` would hide the secret
        except NameTaken:
            terminal.say(f"{one}: has a link already; you can make another one on the administration page")


def _serve(
    asked: _Panel,
    place: Place,
    database: str | None,
    key: str | None,
    definitions: Path | None,
    joining: Joining,
    people: Sequence[str],
    pause_below: float,
    no_open: bool,
) -> None:
    """Serve a panel until Ctrl-C, and say how far it has got. What can be wrong is checked before any work."""
    from dataclasses import replace

    from variorum.flows.browser import open_address
    from variorum.people.server.access import Access, check_key, new_key
    from variorum.people.server.app import create_app
    from variorum.people.server.classes import definitions as find_definitions
    from variorum.people.server.serve import listening, serve
    from variorum.people.server.served import Served
    from variorum.people.votes.reviewers import by_secret

    join_key = check_key(key) if key else "" if place.loopback or people else new_key()
    admin_key = new_key()
    texts = find_definitions(dict(asked.manifest.classes), definitions)
    with listening(place.host, place.port) as taken:
        place = replace(place, port=taken.getsockname()[1])
        asked.publish()
        panel = asked.open(database)
        served = Served.of(panel, texts, pause_below, afar=not place.loopback)
        find = partial(by_secret, panel.engine, panel.key)
        app = create_app(served, Access(panel.key, place, join_key, admin_key, find, joining))
        joined = f"{place.url}/?key={join_key}" if join_key else f"{place.url}/"
        terminal.say(f"reviewers:      {joined}{' (only by the personal links below)' if people else ''}")
        terminal.say(f"administration: {place.url}/admin?key={admin_key}")
        if joining == "confirmed":
            terminal.say("Whoever joins waits until you confirm them on the administration page (or: --no-confirm).")
        elif join_key:
            terminal.say("Anybody with the first link can join and vote.")
        if not place.loopback:
            terminal.say("Keep the address of the administration secret: it can pause everything.")
            terminal.say("Restricted pictures are left out: they may not leave this machine.")
        _invite(served, place, people)
        if not place.loopback and not place.url.startswith("https:"):
            terminal.say("This server doesn't encrypt: use it in a network that you trust, or behind a proxy with TLS.")
        with suppress(KeyboardInterrupt):
            terminal.say("Ctrl-C stops the server; all votes are kept.")
            if place.loopback and not people and not no_open:
                open_address(joined)
            Thread(target=served.warm, daemon=True).start()
            serve(app, taken, proxied=bool(place.addresses))
    terminal.say(_so_far(panel))


def _so_far(panel: Panel) -> str:
    from variorum.people.server.state import state

    now = state(panel.engine, panel.key)
    return (
        f"stopped; panel {panel.key} has {now.votes} votes of {now.reviewers} reviewers, and {now.complete} of "
        f"{now.questions} questions are complete. The same command starts it again"
    )
