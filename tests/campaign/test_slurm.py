"""Slurm with hostile names: a job script runs the job and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from variorum.runners.slurm_jobs import Settings, engine
from variorum.schemas.errors import RecipeError

HOSTILE = {
    "spaces and quotes": "a ' b \" c",
    "a command": "$(touch PLANTED)",
    "old quotes": "`touch PLANTED`",
    "a separator": "x; touch PLANTED; #",
    "a new line": "x\ntouch PLANTED\n#",
    "a carriage return": "x\r\ntouch PLANTED\n#",
    "a leading dash": "-x --wrap=touch",
}
SBATCH = """#!/bin/sh
cp "$1" "$SCRIPTS/$$.sh"
echo "Submitted batch job $$"
"""


@pytest.mark.fire
def test_hostile_names_in_job_scripts(trials, tmp_path, monkeypatch):
    """A job script runs nothing but the job, whatever stands in a setting or in the path of a folder.

    Spaces, quotes, commands, separators and new lines in four options of `sbatch` and two paths; the script that a
    double of `sbatch` is given is then run by bash, with a double of `srun`.
    """
    scripts, programs = tmp_path / "scripts", tmp_path / "bin"
    scripts.mkdir()
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": "#!/bin/sh\ntouch RAN\n", "scancel": "#!/bin/sh\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SCRIPTS", str(scripts))

    def attack(case: tuple[str, str]) -> str:
        where, what = case
        value = HOSTILE[what].replace("/", "")
        place = tmp_path / "place"
        given = {where: str(place / value) if where == "folder" else value} if where != "cache" else {}
        monkeypatch.setenv("VARIORUM_CACHE", str(place / value if where == "cache" else place))
        for old in scripts.iterdir():
            old.unlink()
        try:
            jobs = engine(Settings(**given), 1)
        except RecipeError as error:
            return "" if "\n" in value and "\n" not in str(error) else f"refused: {error}"
        try:
            for job in jobs.start([0]):
                job.shutdown()
            return ran(scripts, tmp_path / "work")
        finally:
            jobs.stop()

    trials(attack, [(where, what) for where in PLACES for what in HOSTILE])


PLACES = ("partition", "account", "qos", "constraint", "folder", "cache")


def ran(scripts: Path, work: Path) -> str:
    """Run the scripts; what they did besides the job, or ""."""
    work.mkdir(exist_ok=True)
    found = list(scripts.iterdir())
    for script in found:
        subprocess.run(["bash", str(script)], cwd=work, capture_output=True, check=False)
    did = sorted(path.name for path in work.iterdir())
    for name in did:
        (work / name).unlink()
    return "" if found and did == ["RAN"] else f"{len(found)} scripts did {did}"
