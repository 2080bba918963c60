"""The command line in processes that are forked from one that has imported its libraries already.

Each command is a process of its own, with its own folder, environment and output. Only the imports, which cost more
than most commands, are made once for each environment that libraries read while they are imported.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

MAIN = "from variorum.flows.cli import main; main()"
LIBRARIES = (
    *("numpy", "pandas", "pyarrow.parquet", "pyarrow.compute", "pyarrow.dataset", "PIL.Image", "simplejpeg", "cv2"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "jinja2", "datasets", "variorum.flows.cli"),
    *("variorum.pipeline", "variorum.reports.card", "variorum.reports.contact_sheet", "variorum.reports.funnel"),
    *("variorum.edition.verify", "variorum.reports.diff"),
)
READ_LATE = (
    "HF_TOKEN",
    "VARIORUM_",
    "PREFECT_",
    "PIP_",
    "PROBE_",
    "PYTHONPATH",
    "PYTEST_",
    "COLUMNS",
    "NO_COLOR",
    "PWD",
    "OLDPWD",
)
"""Starts of the names of variables that none of these libraries reads while it is imported. Further libraries to import
can be named in WARM_LIBRARIES."""


def run_command(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """`variorum` with these arguments, in a folder, with a whole environment; the finished process with its output."""
    early = {name: value for name, value in environment.items() if not name.startswith(READ_LATE)}
    program = _program(tuple(sorted(early.items())))
    assert program.stdin
    assert program.stdout
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        places = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, said)]
        program.stdin.write(json.dumps([list(arguments), str(folder), dict(environment), *places]) + "\n")
        program.stdin.flush()
        code = int(program.stdout.readline())
        out.seek(0)
        said.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, out.read(), said.read())


def run_fresh(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """The same in a new Python."""
    words = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(words, cwd=folder, env=dict(environment), capture_output=True, text=True)


@cache
def _program(environment: tuple[tuple[str, str], ...]) -> subprocess.Popen[str]:
    """The process to fork from, which ends with this one."""
    program = subprocess.Popen(
        [sys.executable, __file__], env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(program.communicate)
    return program


def _serve() -> list[str] | None:
    """Fork for each line of standard input; gives the arguments in the child, and None at the end of the input."""
    for line in sys.stdin:
        arguments, folder, environment, out, said = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(folder, environment, out, said)
            return list(arguments)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()
    return None


def _become(folder: str, environment: dict[str, str], out: str, said: str) -> None:
    """What a new process would be given."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for place, number, flags in (("/dev/null", 0, os.O_RDONLY), (out, 1, os.O_WRONLY), (said, 2, os.O_WRONLY)):
        opened = os.open(place, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.path[0] = ""
    sys.path[1:1] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    importlib.invalidate_caches()
    warnings.simplefilter("error", SyntaxWarning)  # of files that the tests write


def _end(codes: list[int]) -> None:
    """End at once, after all that is done at the end; to free every object of the libraries takes half a second."""
    if codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])


if __name__ == "__main__":
    codes = list[int]()
    atexit.register(_end, codes)  # before those of the libraries, and so called after them
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # as the command line sets it
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    for library in (*LIBRARIES, *os.environ.get("WARM_LIBRARIES", "").split()):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(library)
    gc.freeze()  # so that a child doesn't copy the memory of these objects to look at them
    if (words := _serve()) is not None:
        from variorum.flows.cli import main

        sys.argv = ["-c", *words]
        try:
            main()
        except SystemExit as ended:
            codes.append(ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1)
            raise
