"""To and from the Hub and other places: killed, or changed between two requests, nothing is lost, half or mixed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hub_front import Hub
from hub_server import environment
from scene import COMMAND, PATIENCE, Ended, Scene, contents, copy
from served_files import serving

from variorum.edition.editions import resolve
from variorum.edition.store import Store

RNG = random.Random(29)
KILLS = int(os.environ.get("FIRE_KILLS", "6"))
OLD, NEW = "1.0.0-r1", "1.1.0-r1"
"""Versions of recipe `q` that are published."""


@dataclass(frozen=True)
class Kill:
    """A kill of a command after a share of the time that it takes."""

    command: str
    share: float

    def __str__(self) -> str:
        return f"{self.command} after {100 * self.share:.0f} % of its time"


def spread(command: str, count: int) -> list[Kill]:
    """So many kills, one at random in each of equal pieces of a command's time."""
    return [Kill(command, (place + RNG.random()) / count) for place in range(count)]


# ── kills ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Work:
    """Commands that bring, export, look up and tidy: each with what it needs, and the folder that it fills."""

    def __init__(self, scene: Scene, url: str) -> None:
        self.scene, self.url = scene, url
        self.took: dict[str, float] = {}
        self.whole: dict[str, dict[str, str]] = {}

    def prepare(self, command: str, folder: Path) -> tuple[list[str], Path]:
        """The words of a command, and what it changes."""
        store, photos = self.scene.after("q", "run"), str(self.scene.photos)
        if command == "pull":
            return ["pull", f"{self.url}/editions/q/1.0.0", "--store", str(folder / "made")], folder / "made"
        if command == "export":
            return [
                "export",
                "q@1.0.0",
                str(folder / "made"),
                "--as",
                "image_folder",
                "--store",
                str(store),
            ], folder / "made"
        if command == "known":
            return ["known", photos, "--folder", photos, "--index", str(folder / "made")], folder / "made"
        copy(store, folder / "made")
        shutil.rmtree(folder / "made" / "editions")
        return ["gc", "--delete", "--older", "0", "--unfinished", "--store", str(folder / "made")], folder / "made"

    def undisturbed(self, command: str, folder: Path) -> None:
        """Run a command once, to know how long it takes and what it leaves."""
        folder.mkdir()
        asked, made = self.prepare(command, folder)
        began = time.monotonic()
        ended = self.scene.run(asked)
        assert not ended.wrong(), ended.output
        self.took[command], self.whole[command] = time.monotonic() - began, contents(made)
        shutil.rmtree(folder)

    def attack(self, folder: Path, kill: Kill) -> str:
        """Kill a command and run it again; what differs then."""
        folder.mkdir()
        try:
            asked, made = self.prepare(kill.command, folder)
            run = self.scene.start(asked)
            time.sleep(kill.share * self.took[kill.command])
            run.send(signal.SIGKILL)
            done = run.ended().code == 0 and kill.command == "export"  # which wants a new folder
            wrong, found = "" if done else self.scene.run(asked).wrong(), contents(made)
            odd = sorted(found.items() ^ self.whole[kill.command].items())
            return wrong or (f"{len(odd)} files differ ({odd[0][0]})" if odd else "")
        finally:
            shutil.rmtree(folder)


@pytest.mark.fire
def test_killed_pulls_exports_indexes_and_gc(scene, trials, tmp_path):
    """A pull, an export, an index of known pictures or a `gc` that is killed is completed by the same command.

    `kill -9` at random moments of `pull` from a web server, `export`, `known --index` and `gc --delete`; then
    the same command, and the hash of every file.
    """
    with serving(scene.after("q", "run")) as web:
        work = Work(scene, web.url)
        kills = []
        for command, count in {"pull": 8, "export": 6, "known": 6, "gc": 6}.items():
            work.undisturbed(command, tmp_path / command)
            kills += spread(command, count)
        trials(partial(work.attack, tmp_path / "killed"), kills)


# ── the Hub ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def versions(scene, tmp_path_factory) -> Path:
    """A store with q@1.0.0-r1 and q@1.1.0-r1, which has fewer pictures."""
    store = copy(scene.after("q", "run"), tmp_path_factory.mktemp("versions") / "store")
    recipe = str(scene.recipe("q"))
    asked = ["run", recipe, "--set", "version=1.1.0", "--limit", "6", "--store", str(store), "--runner", "threads"]
    assert not scene.run(asked).wrong()
    return store


def asked_of_hub(scene: Scene, hub: Hub, arguments: list[str], seconds: float = PATIENCE) -> Ended:
    """Run a command that talks to the hub and to nothing else; after so many seconds it is killed.

    The Hub's client reads its environment when it is imported, so the process is a new one.
    """
    words, variables = [*COMMAND, *arguments], environment(hub) | scene.environment()
    run = subprocess.Popen(words, cwd=scene.folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output = run.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        run.kill()
        output = run.communicate()[0]
    return Ended(run.returncode, output.decode(errors="replace"))


def publishing(version: str, repo: str, store: Path) -> list[str]:
    """The words that publish a version."""
    return ["publish", f"q@{version}", repo, "--store", str(store), "--licences-checked", "they are our own"]


def blobs(hub: Hub, repo: str, revision: str = "main") -> dict[str, str]:
    """What a revision has: git's hash of each file, but of those that name the repository or the day."""
    lines = hub.git(repo, "ls-tree", "-r", revision).splitlines()
    found = {path: about.split()[2] for about, _, path in (line.partition("\t") for line in lines)}
    return {path: one for path, one in found.items() if path not in ("README.md", "croissant.json")}


@pytest.mark.fire
def test_killed_publishing(scene, trials, hub, versions, tmp_path):
    """Publishing that is killed shows nothing or the whole edition, and the same command completes it.

    `kill -9` at random moments of `publish --sign` to a double of the Hub; then its branch, the same command, all
    files, the tag, and a pull.
    """
    hub.fresh()
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    sign = ["--sign", str(key)]
    began = time.monotonic()
    assert not asked_of_hub(scene, hub, [*publishing(OLD, "fire/whole", versions), *sign]).wrong()
    took, whole = time.monotonic() - began, blobs(hub, "fire/whole")

    def attack(kill: Kill) -> str:
        repo = f"fire/k{1000 * kill.share:.0f}"
        asked = [*publishing(OLD, repo, versions), *sign]
        asked_of_hub(scene, hub, asked, kill.share * took)
        shown = blobs(hub, repo) if hub.repo(repo).is_dir() else {}
        if set(shown) - {".gitattributes"} and shown != whole:
            return f"a part is visible: {sorted(shown)[:3]}"
        wrong = asked_of_hub(scene, hub, asked).wrong()
        if wrong or blobs(hub, repo) != whole or hub.head(repo, OLD) != hub.head(repo):
            return wrong or "its files or its tag differ"
        store = tmp_path / f"pulled-{1000 * kill.share:.0f}"
        return asked_of_hub(scene, hub, ["pull", f"{repo}@{OLD}", "--store", str(store)]).wrong()

    trials(attack, spread("publish", KILLS))


@dataclass(frozen=True)
class Change:
    """What the Hub does from its n-th answer on."""

    what: str
    after: int

    def __str__(self) -> str:
        return f"{self.what} after {self.after} requests"


class Changing:
    """A hub that has the old version until somebody changes it under a pull."""

    def __init__(self, hub: Hub, repo: str, change: Change) -> None:
        self.hub, self.repo, self.change, self.seen = hub, repo, change, 0
        self.first, self.second = hub.head(repo, OLD), hub.head(repo, NEW)

    def __call__(self, path: str) -> bytes | None:
        """Sent in place of the right answer."""
        self.seen += 1
        if self.seen <= self.change.after:
            return None
        if self.change.what == "the branch moves":
            self.hub.git(self.repo, "update-ref", "refs/heads/main", self.second)
        elif self.change.what == "the tag moves":
            self.hub.git(self.repo, "tag", "-f", OLD, self.second)
        elif "/resolve/" in path and path.endswith(ENDINGS[self.change.what]):
            name = path.partition("/resolve/")[2].partition("/")[2]
            return self.other(name)
        return None

    def other(self, name: str) -> bytes:
        """The file of this name, or one of its kind, in the other version."""
        names = self.hub.files(self.repo, self.second)
        alike = [one for one in names if one == name] or [one for one in names if one.endswith(name[-4:])]
        pointer = self.hub.git(self.repo, "show", f"{self.second}:{alike[0]}")
        if "oid sha256:" not in pointer:
            return pointer.encode()
        return self.hub.object(self.repo, pointer.split("sha256:")[1].split()[0]).read_bytes()


ENDINGS = {
    "manifests are another version's": "manifest.json",
    "shards are another version's": ".tar",
    "tables are another version's": ".parquet",
    "cards are another version's": "README.md",
}
"""By what a hub sends of another version, the end of the files' names."""


@pytest.mark.fire
def test_a_hub_that_changes_between_two_requests(scene, trials, hub, versions, tmp_path):
    """What is pulled is one version, whole, or it is refused in one line: no mix of two, whatever the Hub does between.

    The double of the Hub moves its branch or its tag, or sends manifests, shards, tables or cards of another version,
    from each of the first requests of a pull on; then `verify` and the digest.
    """
    hub.fresh()
    for version in (OLD, NEW):
        assert not asked_of_hub(scene, hub, publishing(version, "fire/changing", versions)).wrong()
    first = hub.head("fire/changing", OLD)
    sealed = {resolve(f"q@{one}", Store(str(versions), writable=False)).digest() for one in (OLD, NEW)}

    def attack(change: Change) -> str:
        hub.git("fire/changing", "update-ref", "refs/heads/main", first)
        hub.git("fire/changing", "tag", "-f", OLD, first)
        asked = "fire/changing" if change.what == "the branch moves" else f"fire/changing@{OLD}"
        hub.instead, store = Changing(hub, "fire/changing", change), tmp_path / "pulled"
        try:
            ended = asked_of_hub(scene, hub, ["pull", asked, "--store", str(store)])
            there = list(store.glob("editions/q/*/manifest.json"))
            if ended.code == 0 and len(there) == 1:
                found = resolve(f"q@{there[0].parent.name}", Store(str(store), writable=False))
                wrong = scene.run(["verify", f"q@{found.version}", "--store", str(store)]).wrong()
                return wrong or ("" if found.digest() in sealed else "it is neither of the two")
            return ended.wrong(1, 75) or ("something was sealed" if there else "")
        finally:
            hub.instead = None
            shutil.rmtree(store, ignore_errors=True)

    moves = [Change(what, after) for what in ("the branch moves", "the tag moves") for after in range(4)]
    trials(attack, moves + [Change(what, after) for what in ENDINGS for after in (0, 2)])
