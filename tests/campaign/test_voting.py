"""People who vote on a panel: what was confirmed to them is kept, once."""

from __future__ import annotations

import contextlib
import random
import resource
import signal
import socket
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from faults import limited, years_back
from PIL import Image
from scene import Scene, stopped, words
from voters import Person, Votes, panel, served, voting

RNG = random.Random(13)
PICTURES = 5000
"""Each is asked about twice."""
PEOPLE = 50
RECIPE = """\
dataset: large
version: 1.0.0
samples_per_shard: 500
source: {name: image_folder, path: PHOTOS}
"""


def edition(scene: Scene, pictures: int) -> Path:
    """A store with an edition of so many small pictures."""
    store = scene.folder / f"asked-{pictures}"
    if not store.exists():
        folder = scene.folder / f"pictures-{pictures}"
        pixels = np.random.default_rng(1).integers(0, 255, (pictures, 16, 16, 3)).astype(np.uint8)
        for number in range(pictures):
            place = folder / f"class_{number % 10}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[number]).save(place / f"{number}.png")
        recipe = scene.folder / f"asked-{pictures}.yaml"
        recipe.write_text(RECIPE.replace("PHOTOS", str(folder)))
        ended = scene.run(words("build", recipe, store))
        assert not ended.wrong(), ended.output
    return store


def killed(scene: Scene, store: Path, seconds: float) -> str:
    """Kill the server while people vote, start it again, and let them finish."""
    name, kept = f"killed-{int(1000 * seconds)}", Votes()
    panel(store, name, kinds=("label",), votes=4, budget=120)
    with served(scene, store, name) as first, voting(first.address, 8, kept, at_once=4) as people:
        while not kept.confirmed:
            time.sleep(0.01)
        time.sleep(seconds)
        first.run.send(signal.SIGKILL)
        first.run.ended()
        if not any(one.is_alive() for one in people):
            return "nobody voted any more"
        with served(scene, store, name, port=first.port):
            for one in people:
                one.join()
    return kept.wrong(store, name, 4, exactly=False)


@pytest.mark.fire
def test_the_server_is_killed_while_people_vote(scene, trials):
    """A vote that was confirmed is kept, and kept once, whatever happens to the server.

    `kill -9` of the server at random moments while 8 people vote and send some votes twice; it is started again.
    """
    store = edition(scene, 200)
    trials(partial(killed, scene, store), [round(RNG.uniform(0, 1.2), 3) for _ in range(6)])


@pytest.mark.fire
def test_fifty_people_vote_on_ten_thousand_questions(scene, trials):
    """However many vote at once, nothing is lost, nothing counts twice, and each question gets its number of votes.

    50 people answer 10,000 questions, 2 votes each, over HTTP with 50 connections; one batch in ten is sent twice.
    """
    store, kept = edition(scene, PICTURES), Votes()

    def attack(votes: int) -> str:
        panel(store, "many", kinds=("label", "safe"), votes=votes, budget=PICTURES)
        with served(scene, store, "many") as server, voting(server.address, PEOPLE, kept, at_once=40):
            pass
        if len(kept.confirmed) != 2 * PICTURES * votes:
            return f"{len(kept.confirmed)} votes are confirmed"
        return kept.wrong(store, "many", votes, exactly=True)

    trials(attack, [2])


@pytest.mark.fire
def test_the_servers_clock_goes_back(scene, trials):
    """Tasks that somebody has in their hands are free again after the usual time, also if the clock is set back.

    The server is started again with its clock an hour, a day and three years back, while one person has all tasks.
    """
    store = edition(scene, 200)

    def attack(hours: int) -> str:
        name, kept = f"back-{hours}", Votes()
        panel(store, name, kinds=("label",), votes=1, budget=100)
        with served(scene, store, name) as server:
            ann = Person(server.address, "ann")
            taken = ann.ask("/api/next", {"mode": "grid", "number": 200})["tasks"]
            ann.close()
        with served(scene, store, name, fault=partial(years_back, hours / 24 / 365)) as server:
            ben = Person(server.address, "ben")
            ben.votes(kept, 40, hours)
            ben.close()
        if len(taken) != 100:
            return f"ann has {len(taken)} tasks"
        return kept.wrong(store, name, 1, exactly=True)

    trials(attack, [1, 24, 3 * 365 * 24])


@pytest.mark.fire
def test_half_sent_requests(scene, trials):
    """Nobody keeps others out of a panel by connections that are never ended, nor fills the log.

    1,300 half-sent requests from one address to a server with 1,024 descriptors; then a person votes.
    """
    store = edition(scene, 200)

    def attack(source: str) -> str:
        name, kept = f"flooded-{source.rpartition('.')[2]}", Votes()
        panel(store, name, kinds=("label",), votes=1, budget=100)
        few = partial(limited, resource.RLIMIT_NOFILE, 1024)
        with served(scene, store, name, fault=few) as server, contextlib.ExitStack() as stack:
            first = Person(server.address, "first")
            first.close()
            for _ in range(1300):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5, (source, 0)))
                with contextlib.suppress(OSError):  # it has been closed for a later one
                    one.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: ")
            person = Person(server.address, "late")
            person.votes(kept, 40, 1)
            person.close()
            server.run.send(signal.SIGKILL)
            said = server.run.ended().output
        if "out of system resource" in said or said.count("too many connections") != 1:
            return f"its log has {len(said.splitlines())} lines: {said[-200:]}"
        return kept.wrong(store, name, 1, exactly=True)

    trials(attack, ["127.0.0.1", "127.0.0.9"])


@pytest.mark.fire
def test_two_organisers_publish_one_panel(scene, trials):
    """Of two organisers who publish one panel with different settings, one gets it and the other an error in one line.

    `review --publish-only` with 2 and with 3 votes at once, in two processes.
    """
    store = edition(scene, 200)

    def attack(number: int) -> str:
        asked = ["review", "large@1.0.0", "--store", str(store), "--name", f"both-{number}", "--kind", "label"]
        asked += ["--budget", "100", "--publish-only"]
        runs = [scene.start([*asked, "--votes", votes]) for votes in ("2", "3")]
        with stopped(runs):
            ended = [run.ended() for run in runs]
        wrong = next(filter(None, (one.wrong(0, 1) for one in ended)), "")
        if not wrong and sorted(one.code for one in ended) != [0, 1]:
            wrong = f"both ended with {ended[0].code}"
        return wrong or ("" if any("instead of" in one.output for one in ended) else "the error names no setting")

    trials(attack, range(5))
