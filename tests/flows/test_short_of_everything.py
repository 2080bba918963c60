"""The real command without memory, descriptors, disk or store: one line, and later the same edition.

All but the cheapest are marked slow, as each starts the interpreter two or three times.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from warm_command import run_command

from variorum.edition.editions import find
from variorum.edition.store import Store
from variorum.pipeline import Job, build, run
from variorum.stages.recipe_files import load_recipe

PLUGINS = Path(__file__).parents[1] / "plugins"
RUN = ("run", "recipe.yaml", "--runner", "threads", "--workers", "2")
SLOW = pytest.mark.slow
MB = 1 << 20

KILLED = (-signal.SIGSEGV, -signal.SIGABRT, 127)
"""How C code ends a process that runs out of address space where no Python sees it (127: the system's loader)."""


@pytest.fixture
def folder(photos, tmp_path) -> Path:
    """A folder with a recipe that reads, edits, measures, scores, judges and evaluates twelve photographs."""
    rules = [{"when": [{"column": "quality.score", "above": 5.0}], "action": "review", "reason": "odd"}]
    data = {
        "dataset": "d",
        "version": "1.0.0",
        "samples_per_shard": 4,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [{"name": "probe"}],
        "curate": [{"name": "quality"}, {"name": "policy", "rules": rules}],
        "evaluate": [{"name": "brightness"}],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    return tmp_path


def own(folder: Path) -> dict[str, str]:
    """The environment of the command."""
    mine = {"VARIORUM_CACHE": str(folder / "cache"), "NO_COLOR": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **mine, "PYTHONPATH": os.pathsep.join([*sys.path, str(PLUGINS)])}


def again(folder: Path) -> None:
    """The same command without any limit, which must work."""
    done = run_command(RUN, folder, own(folder))
    assert done.returncode == 0, done.stderr


def start(folder: Path, *words: str, limits: dict[int, int] | None = None, **environment: str) -> subprocess.Popen[str]:
    def limited() -> None:
        for what, most in (limits or {}).items():
            resource.setrlimit(what, (most, most))

    return subprocess.Popen(
        [sys.executable, "-c", "from variorum.flows.cli import main; main()", *words],
        cwd=folder,
        env={**own(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, out, err


def errors(err: str) -> list[str]:
    """The lines that aren't progress."""
    return [line for line in err.splitlines() if not line.endswith("…") and (" of " not in line or "%" not in line)]


def check(code: int, err: str, expected: tuple[int, ...], words: tuple[str, ...]) -> None:
    assert code in expected, err
    assert "Traceback" not in err
    last = errors(err)[-1]
    assert last.startswith("error: "), err
    assert any(word in last for word in words), err


def digest(folder: Path, store: str = "store") -> str:
    place = Store(str(folder / store), writable=False)
    return find("d", place).digest()


_undisturbed: dict[str, str] = {}


def undisturbed(folder: Path) -> str:
    """The digest of the recipe's edition, made once without any limit."""
    recipe = (folder / "recipe.yaml").read_text()
    if recipe not in _undisturbed:
        _undisturbed[recipe] = run(Job(load_recipe(str(folder / "recipe.yaml")), str(folder / "other"))).digest()
    return _undisturbed[recipe]


@pytest.mark.parametrize(
    ("limits", "codes", "words"),
    [
        pytest.param({resource.RLIMIT_NOFILE: 10}, (0, 75), ("open files",), marks=SLOW),
        pytest.param({resource.RLIMIT_NOFILE: 16}, (0, 75), ("open files",), marks=SLOW),
        pytest.param({resource.RLIMIT_AS: 300 * MB}, (75,), ("not enough memory",), marks=SLOW),
        pytest.param({resource.RLIMIT_AS: 700 * MB}, (0, 75, *KILLED), ("not enough memory",), marks=SLOW),
        ({resource.RLIMIT_FSIZE: 16_384}, (1,), ("no space left",)),
        pytest.param({resource.RLIMIT_FSIZE: 1}, (1,), ("no space left",), marks=SLOW),
        pytest.param({resource.RLIMIT_FSIZE: 100_000}, (0, 1), ("no space left",), marks=SLOW),
    ],
    ids=lambda value: "-".join(f"{what}={most}" for what, most in value.items()) if isinstance(value, dict) else "",
)
def test_too_little_ends_in_one_line_and_later_in_the_same_edition(folder, limits, codes, words):
    """More limits are in tests/campaign."""
    code, _, err = ended(start(folder, *RUN, limits=limits))
    assert code in codes, err
    if code and code not in KILLED:
        check(code, err, codes, words)
    again(folder)
    assert digest(folder) == undisturbed(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
@pytest.mark.parametrize("kilobytes", [64, 600])
def test_a_full_disk(folder, kilobytes):
    small = folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting isn't allowed here")
    try:
        code, _, err = ended(start(folder, *RUN, "--store", "small/store"))
        check(code, err, (1,), ("no space left",))
        assert len(errors(err)) == 1
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        code, _, err = ended(start(folder, *RUN, "--store", "small/store"))
        assert code == 0, err
        assert digest(folder, "small/store") == undisturbed(folder)
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.3, 1.3])
def test_the_store_is_deleted_midway(folder, after):
    process = start(folder, *RUN, PROBE_SECONDS="0.15")
    deadline = time.monotonic() + 60
    while not (folder / "store" / "units").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(after)
    shutil.rmtree(folder / "store", ignore_errors=True)
    code, _, err = ended(process)
    if code:
        check(code, err, (1, 75), ("",))
    again(folder)
    assert digest(folder) == undisturbed(folder)


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (signal.SIGINT, 130, "stopped; finished work is kept, and the same command continues from there"),
        pytest.param(signal.SIGTERM, -signal.SIGTERM, "", marks=SLOW),
        pytest.param(signal.SIGHUP, -signal.SIGHUP, "", marks=SLOW),
    ],
)
def test_signals(folder, sent, code, said):
    process = start(folder, *RUN, PROBE_SECONDS="0.5")
    deadline = time.monotonic() + 60
    while not (folder / "store" / "tmp").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(sent)
    found, _, err = ended(process)
    assert found == code
    assert "Traceback" not in err
    assert errors(err) == ([said] if said else [])


@pytest.mark.parametrize(
    "words",
    [("components", "--json"), pytest.param(("--help",), marks=SLOW), pytest.param(("doctor",), marks=SLOW)],
    ids=("json", "help", "table"),
)
def test_the_reader_of_the_output_is_gone(folder, words):
    """`variorum components | head`: nothing is said, and the code is that of a closed pipe."""
    process = start(folder, *words)
    assert process.stdout
    process.stdout.close()
    process.stdout = None
    code, _, err = ended(process)
    assert (code, err) == (141, "")


def test_output_that_cannot_be_written(folder):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from variorum.flows.cli import command; command()", "components"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no space left")
    assert len(done.stderr.splitlines()) == 1


def test_a_terminal_that_knows_only_ascii(folder):
    code, out, err = ended(start(folder, "--help", PYTHONIOENCODING="ascii", LC_ALL="C"))
    assert (code, err) == (0, "")
    assert "Usage" in out


@pytest.mark.parametrize("words", [("--debug", "plan", "x"), ("plan", "x", "--debug")])
def test_a_traceback_only_when_asked_for(folder, words):
    done = run_command(words, folder, own(folder))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no recipe 'x'")


def test_a_bug_is_one_line_and_its_own_code(folder):
    data = yaml.safe_load((folder / "recipe.yaml").read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**data, "generate": [{"name": "probe", "explode": "coffee"}]}))
    done = run_command(RUN, folder, own(folder))
    assert done.returncode == 70
    found = errors(done.stderr)
    assert len(found) == 1
    assert found[0].startswith("error: unexpected ZeroDivisionError: exploded at coffee/")
    assert "(probe.py, line " in found[0]
    assert found[0].endswith("this is a bug: run the same command with --debug for the traceback and report it")
    done = run_command(RUN, folder, {**own(folder), "VARIORUM_DEBUG": "1"})
    assert done.returncode == 70
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("damage", [b"garbage", *(pytest.param(one, marks=SLOW) for one in (b"", None))])
def test_a_difference_over_a_damaged_table(folder, damage):
    build(Job(load_recipe(str(folder / "recipe.yaml")), str(folder / "store")))
    manifest = json.loads((folder / "store/editions/d/1.0.0/manifest.json").read_text())
    path = folder / "store" / "objects" / f"{manifest['rows'][0]['sha256']}.parquet"
    data = bytearray(path.read_bytes())
    data[-40:-8] = b"\0" * 32
    path.write_bytes(bytes(data) if damage is None else damage)
    done = run_command(("diff", "d@1.0.0", "d@1.0.0"), folder, own(folder))
    check(done.returncode, done.stderr, (1,), (path.name,))
    assert len(done.stderr.splitlines()) == 1
