"""Votes until it is killed, and writes the id of each vote once it is acknowledged."""

import sys
import time
import uuid

from small_panels import CLASSES, PANEL, ballot

from variorum.people.votes.ballots import cast
from variorum.people.votes.database import open_database

engine = open_database(sys.argv[1])
for number in range(1_000_000):
    mine = [ballot(f"{sys.argv[2]} {number // 3}", subject, number=number % 3) for subject in CLASSES[:2]]
    first = [ballot(mine[0].reviewer, vote=str(uuid.uuid4()), replaces=mine[0].vote, number=number % 3)]
    for given in (mine, first):
        results = cast(engine, PANEL, given, time.time())
        sys.stdout.write(" ".join(one.vote for one in results if one.state == "kept") + "\n")
        sys.stdout.flush()
