"""Explain what went wrong inside a user's model, in one line with the user's own line of code."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

from variorum.schemas.errors import ModelFailed

OURS = str(Path(__file__).parents[2])
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def failed(name: str, error: BaseException, pictures: int, file: str = "", hint: str = "") -> ModelFailed:
    """The error for a model that raised.

    Args:
        name: of the model.
        error: what it raised.
        pictures: number of them in the batch.
        file: the user's own file, if known: its line is named rather than another one.
        hint: what could help, for the end of the message.
    """
    said = str(error).strip().partition("\n")[0][:300]
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    batch = f"{pictures} pictures" if pictures > 1 else "a picture"
    return ModelFailed(f"model {name!r} raised {what} on a batch of {batch}{own_line(error, file)}{hint}")


def own_line(error: BaseException, file: str = "") -> str:
    """` (file:line)` of the last line of the user's own code that an error came through.

    That is the given file; else code that is neither this project's nor an installed package's; else the line that
    raised.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    found = [frame for frame in frames if file and frame.filename == file]
    found = found or [frame for frame in frames if not frame.filename.startswith((OURS, *LIBRARIES, "<frozen"))]
    found = found or list(frames)
    return f" ({found[-1].filename}:{found[-1].lineno})" if found else ""


def out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: PyTorch's error, or Python's."""
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))
