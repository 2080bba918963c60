"""Where attacks take place: photographs, two recipes, and stores that nobody disturbed. And runs of the command.

Recipe `k` uses everything: edits, detectors with and without models, an audit, an evaluation. Recipe `q` reads,
measures and judges, in a second. A run is a process of its own. It is forked from a server that has imported other
people's libraries and nothing of this project, so that hundreds of runs are affordable.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

LIBRARIES = [
    *("cv2", "datasets", "fsspec.implementations.local", "huggingface_hub", "jinja2", "matplotlib.pyplot"),
    *("onnxruntime", "pandas", "pdqhash", "pyarrow.dataset", "pyarrow.parquet", "pydantic", "pytest", "rich.table"),
    *("rich.progress", "scipy.ndimage", "scipy.spatial", "scipy.stats", "simplejpeg", "typer", "xxhash", "yaml"),
]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(LIBRARIES)
COMMAND = [sys.executable, "-c", "from variorum.flows.cli import main; main()"]
STEPS = ("build", "curate", "release", "evaluate")
FAILED = (0, 1, 75)
"""Exit codes of a run that met a fault: it got by, or says in one line what is wrong."""
PATIENCE = 150
"""Seconds after which a run counts as hanging."""

POLICY = """{name: policy, rules: [{when: [{column: quality.darkness, below: 0.3}], action: drop, reason: dark,
    guarded: false}]}"""
K = f"""\
dataset: k
version: 1.0.0
samples_per_shard: 2
source: {{name: image_folder, path: PHOTOS}}
generate: [{{name: attribute_edit, frame: 96, sizes: [full, 0.05], backgrounds: [texture_up, texture_down]}}]
curate:
  [{{name: quality}}, {{name: features}}, {{name: duplicates}}, {{name: bottom_ranked}}, {POLICY}, {{name: audit}}]
evaluate: [{{name: accuracy_drop, classifiers: [classifier_small]}}]
"""
Q = f"""\
dataset: q
version: 1.0.0
samples_per_shard: 2
source: {{name: image_folder, path: PHOTOS}}
curate: [{{name: quality}}, {POLICY}]
"""

Fault = Callable[[], None]
"""Called in the new process before the command."""


def words(command: str, recipe: Path, store: Path, *more: str) -> list[str]:
    """The words of a command on a recipe, on plain threads."""
    return [command, str(recipe), "--store", str(store), "--runner", "threads", *more]


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Ended:
    """A run that ended: its exit code, negative for a signal, and all that it printed."""

    code: int
    output: str

    def wrong(self, *codes: int) -> str:
        """What is wrong if it should have ended with one of these codes (0) and, but for 0, in one line; else ""."""
        last = (self.output.strip().splitlines() or [""])[-1]
        if "Traceback (most recent call last)" in self.output:
            return f"traceback: {last}"
        if self.code not in (codes or (0,)):
            return f"exit code {self.code}: {last}"
        errors = [line for line in self.output.splitlines() if line.startswith("error: ")]
        if self.code in (1, 75) and len(errors) != 1:
            return f"{len(errors)} lines of error for exit code {self.code}: {last}"
        return ""


class Running:
    """A run that goes on in its own process."""

    def __init__(self, arguments: list[str], folder: Path, environment: Mapping[str, str], fault: Fault | None) -> None:
        self._output = folder / f"output-{time.monotonic_ns()}"
        given = (arguments, folder, dict(environment), self._output, fault)
        self._process = FORKS.Process(target=_run, args=given, daemon=True)
        self._process.start()

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def runs(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def ended(self) -> Ended:
        """Wait for its end. A run that takes too long is killed, and ends with code 124."""
        self._process.join(PATIENCE)
        hangs = self._process.is_alive()
        if hangs:
            self._process.kill()
            self._process.join()
        output = self._output.read_text(errors="replace") if self._output.exists() else ""
        return Ended(124 if hangs else self._process.exitcode, output)


def _run(arguments: list[str], folder: Path, environment: dict[str, str], output: Path, fault: Fault | None) -> None:
    """In the new process: be the command `variorum` with these arguments."""
    os.environ.update(environment)
    os.chdir(folder)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    sys.argv = ["variorum", *arguments]
    if fault:
        fault()
    from variorum.flows.cli import main

    main()


# ── what a store holds ───────────────────────────────────────────────────────────────────────────────────────────────


def contents(store: Path) -> dict[str, str]:
    """sha256 of every file, by name. A receipt's is without what differs from run to run: times and the process."""
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(_lasting(path)).hexdigest()
        for path in sorted(store.rglob("*"))
        if not path.is_dir()
    }


def _lasting(path: Path) -> bytes:
    data = path.read_bytes()
    if path.parent.name != "units":
        return data
    with contextlib.suppress(ValueError):
        receipt = json.loads(data)
        data = json.dumps({name: receipt[name] for name in receipt if name not in ("made", "digest")}).encode()
    return data


def differs(store: Path, undisturbed: Path, but: Iterable[str] = ()) -> str:
    """How a store differs from the undisturbed one, in a few words, or "". Names of the patterns `but` may."""
    here, there = contents(store), contents(undisturbed)
    names = {name for name in here.keys() | there.keys() if not any(fnmatch(name, pattern) for pattern in but)}
    groups = {
        "missing": [name for name in names if name not in here],
        "too many": [name for name in names if name not in there],
        "changed": [name for name in names if name in here and name in there and here[name] != there[name]],
    }
    return "; ".join(f"{len(found)} {what} ({min(found)})" for what, found in groups.items() if found)


def copy(store: Path, to: Path) -> Path:
    """A copy of a folder in which hard links stay links."""
    subprocess.run(["cp", "-a", str(store), str(to)], check=True)
    return to


# ── the scene ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Scene:
    """A folder with photographs, recipes, a cache, and undisturbed stores, which are made when first asked for."""

    folder: Path
    sizes: tuple[int, int] = (8, 192)
    """How many photographs, and their width in pixels."""
    _undisturbed: dict[tuple[str, ...], Path] = field(default_factory=dict)

    @property
    def photos(self) -> Path:
        """The folder of photographs."""
        return self.folder / "photos"

    @cached_property
    def cache(self) -> Path:
        """A cache that holds the weights; other things come with the first run."""
        return cold_cache(self.folder / "cache")

    def recipe(self, name: str) -> Path:
        """The file of recipe `k` or `q`; makes the photographs with it."""
        path = self.folder / f"{name}.yaml"
        if not path.exists():
            self.folder.mkdir(exist_ok=True)
            if not self.photos.exists():
                take_photographs(self.photos, *self.sizes)
            path.write_text({"k": K, "q": Q}[name].replace("PHOTOS", str(self.photos)))
        return path

    def environment(self, cache: Path | None = None) -> dict[str, str]:
        """Variables for a run with the scene's cache, or with another."""
        where = str(cache or self.cache)
        return {"VARIORUM_CACHE": where, "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}

    def start(
        self, arguments: list[str], *, cache: Path | None = None, fault: Fault | None = None, **environment: str
    ) -> Running:
        """Start a command, in the scene's folder and with its cache, or with another."""
        return Running(arguments, self.folder, self.environment(cache) | environment, fault)

    def run(self, arguments: list[str], *, cache: Path | None = None, fault: Fault | None = None) -> Ended:
        """Run a command to its end."""
        return self.start(arguments, cache=cache, fault=fault).ended()

    def after(self, recipe: str, *commands: str) -> Path:
        """A store after these commands, or `nothing`; never write to it."""
        key = (recipe, *commands)
        if key not in self._undisturbed:
            store = self.folder / "undisturbed" / "-".join(key)
            store.parent.mkdir(parents=True, exist_ok=True)
            if len(commands) > 1:
                copy(self.after(recipe, *commands[:-1]), store)
            for command in commands[-1:]:
                ended = self.run(words(command, self.recipe(recipe), store))
                assert not ended.wrong(), f"{command}: {ended.output}"
            self._undisturbed[key] = store
        return self._undisturbed[key]

    def before(self, recipe: str, command: str, store: Path) -> Path:
        """Make `store` as it is before this command of `STEPS`, undisturbed; nothing for `run`."""
        done = STEPS[: STEPS.index(command)] if command in STEPS else ()
        return copy(self.after(recipe, *done), store) if done else store

    def whole(self, recipe: str, command: str) -> Path:
        """The undisturbed store after this command of `STEPS`, or after `run`."""
        return self.after(recipe, *STEPS[: STEPS.index(command) + 1] if command in STEPS else (command,))


def then_same(scene: Scene, store: Path, recipe: str = "q") -> str:
    """Run a recipe after a fault is over; what differs from the undisturbed store."""
    ended = scene.run(words("run", scene.recipe(recipe), store))
    return ended.wrong() or differs(store, scene.after(recipe, "run"))


def take_photographs(folder: Path, count: int, width: int) -> None:
    """Crops of scikit-image's photographs, in folders of two."""
    import skimage.data
    from PIL import Image

    for number in range(count):
        name = ("astronaut", "chelsea", "coffee", "rocket")[number // 2 % 4]
        image = Image.fromarray(getattr(skimage.data, name)())
        left, top = 37 * (number % 4) + number // 8, 27 * (number % 3)
        (folder / name).mkdir(parents=True, exist_ok=True)
        crop = image.crop((left, top, left + width, top + width))
        crop.save(folder / name / f"{number}.jpg", quality=90)


def cold_cache(folder: Path) -> Path:
    """A cache with copies of the fetched weights and nothing else."""
    from variorum.machine.cache import cache_dir

    (folder / "weights").mkdir(parents=True)
    for path in (cache_dir() / "weights").glob("*"):
        if path.suffix == ".pth" or path.name.endswith("u2netp.onnx"):
            shutil.copy2(path, folder / "weights")
    return folder


@contextlib.contextmanager
def stopped(runs: Iterable[Running]) -> Iterator[None]:
    """Kill what still runs at the end."""
    runs = list(runs)
    try:
        yield
    finally:
        for run in runs:
            run.send(signal.SIGKILL)
