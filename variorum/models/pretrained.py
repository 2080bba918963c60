"""Load models of the libraries diffusers and transformers from a folder: safetensors only, complete, without a network.

Both libraries fill tensors that a folder lacks with random numbers. Here a model is complete, or refused.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from importlib.util import find_spec
from inspect import signature
from logging import CRITICAL
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any

from variorum.models.device import best_device
from variorum.models.download import PICKLES
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable
from variorum.schemas.lookup import cut


def missing_packages(*packages: str) -> str:
    """A line that names the packages that aren't installed; `""` if all are."""
    missing = [name for name in packages if find_spec(name.replace("-", "_")) is None]
    return f"needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}" if missing else ""


def dtype_problem(entry: Entry) -> str:
    """A line if this machine can't compute in the entry's dtype, else `""`."""
    if entry.dtype == "float16" and best_device() == "cpu":
        return (
            "it computes in float16, which needs a GPU, and this machine has none; for a CPU, copy its entry into a "
            'table of your own ($VARIORUM_MODELS) and set dtype = "float32"'
        )
    if entry.dtype == "bfloat16" and best_device() == "cuda":
        import torch

        if not torch.cuda.is_bf16_supported(including_emulation=False):
            return (
                f"it computes in bfloat16, which {torch.cuda.get_device_name()} can't; copy its entry into a table of "
                'your own ($VARIORUM_MODELS) and set dtype = "float32"'
            )
    return ""


def side_of(processor: Any) -> int:
    """Side in pixels of a square picture that an image processor of transformers takes without resizing it."""
    size = processor.size
    return int(size["shortest_edge"] if "shortest_edge" in size else size["height"])


def std_of(processor: Any) -> tuple[float, float, float]:
    """What an image processor of transformers divides red, green and blue in [0, 1] by."""
    red, green, blue = map(float, processor.image_std)
    return red, green, blue


# ── one model ────────────────────────────────────────────────────────────────────────────────────────────────────────


def load_pretrained(
    cls: Any, folder: Path, entry: Entry | None, *, may_lack: Collection[str] = (), **options: Any
) -> Any:
    """Load one model of transformers or diffusers, complete: the libraries would make up tensors that are missing.

    Args:
        cls: class with `from_pretrained`.
        folder: written by `save_pretrained`.
        entry: has the dtype; None for float32.
        may_lack: patterns of tensors' names, as in `fnmatch`, that this use of the class doesn't need.
        options: further arguments of `from_pretrained`.

    Raises:
        ModelUnavailable: the folder has no such model, only pickles of it, or files that are cut off; or tensors are
            missing or have another shape, which the message names.
    """
    import torch

    if cls.__module__.startswith("diffusers."):  # without accelerate, diffusers would warn
        options["low_cpu_mem_usage"] = find_spec("accelerate") is not None
    _whole_files(folder, options.get("variant"))
    with one_error(folder, f"{cls.__name__} with safetensors weights"):
        model, found = cls.from_pretrained(
            folder,
            dtype=getattr(torch, entry.dtype if entry else "float32"),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    lacking = [name for name in found["missing_keys"] if not any(fnmatchcase(name, one) for one in may_lack)]
    if problem := _incomplete(type(model).__name__, lacking, found["mismatched_keys"]):
        place = "there" if entry is None or entry.local else "in a table of your own ($VARIORUM_MODELS)"
        raise ModelUnavailable(
            f"{folder} {problem}; it is incomplete, or of another kind: put a complete checkpoint of the right kind "
            f"{place}"
        )
    return model


def _incomplete(kind: str, lacking: Collection[str], mismatched: Collection[Sequence[Any]]) -> str:
    """Name the first tensors that are missing or have another shape, and how many; `""` if none."""
    if lacking:
        first, *others = sorted(lacking)
        return f"has no tensor {first}{f' (and {len(others)} more)' if others else ''} of a {kind}"
    if mismatched:
        (name, there, wanted), *more = sorted(mismatched, key=itemgetter(0))
        shapes = f"{list(there)}, not {list(wanted)}"
        return f"has a tensor {name} of shape {shapes}{f' (and {len(more)} more)' if more else ''} for a {kind}"
    return ""


def _whole_files(folder: Path, variant: str | None) -> None:
    """Raise unless a folder's safetensors of a variant aren't cut off, and have what their index promises.

    diffusers believes the index.
    """
    held = {file.name: tensors_of(file) for file in _of_variant(folder, "*.safetensors", variant)}
    for index in _of_variant(folder, "*.safetensors.index*.json", variant):
        with one_error(index, "an index of safetensors"):
            places = {str(name): str(file) for name, file in json.loads(index.read_text())["weight_map"].items()}
        for tensor, file in sorted(places.items(), key=itemgetter(1)):
            if file not in held:
                raise ModelUnavailable(f"{folder} has no {file}, which its {index.name} names; fetch or save it again")
            if tensor not in held[file]:
                raise ModelUnavailable(
                    f"{folder / file} has no tensor {tensor}, which {index.name} names; fetch or save it again"
                )


def _of_variant(folder: Path, pattern: str, variant: str | None) -> list[Path]:
    """Files of a pattern that have a variant, such as fp16, in their names; for None, no variant."""
    found = []
    for file in sorted(folder.glob(pattern)):
        other = [part for part in file.name.split(".")[1:] if part not in ("safetensors", "index", "json")]
        if [part.partition("-")[0] for part in other] == ([variant] if variant else []):
            found.append(file)
    return found


def tensors_of(file: Path) -> frozenset[str]:
    """Names of the tensors in a safetensors file, of which only the header is read.

    Raises:
        ModelUnavailable: it is cut off, or no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np") as opened:
            return frozenset(opened.keys())
    except (OSError, SafetensorError) as error:
        raise ModelUnavailable(f"{file} is cut off or damaged ({error}); fetch or save it again") from error


def with_vocabulary(tokenizer: Any, folder: Path) -> Any:
    """The tokenizer, unless it has no words: of a folder without its files, transformers makes one of marks alone.

    Raises:
        ModelUnavailable: it has none.
    """
    if len({*tokenizer.get_vocab()} - {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}) < 2:  # T5 has one
        raise ModelUnavailable(f"{folder} has no vocabulary of a {type(tokenizer).__name__}; fetch or save it again")
    return tokenizer


# ── pipelines ────────────────────────────────────────────────────────────────────────────────────────────────────────


def load_pipeline(
    cls: Any,
    folder: Path,
    entry: Entry,
    *,
    variant: str | None = None,
    given: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Any:
    """Load a diffusers pipeline part by part, each complete; neither a safety checker nor a watermark is loaded.

    Args:
        cls: class of the pipeline, or one of diffusers' `AutoPipelineFor…`.
        folder: written by `save_pretrained`.
        entry: has the dtype.
        variant: part of the weights' file names, `fp16`; parts that have no such files are loaded without.
        given: parts that are used in place of the folder's; None for one that is left out.
        options: further arguments of the pipeline.

    Raises:
        ModelUnavailable: as `load_pretrained` for a part; a part is missing, or needs a class that the installed
            libraries don't have; the folder has code or pickles in it, or isn't a pipeline of this class.
    """
    index = pipeline_index(folder)
    classes = _classes(cls, folder, index)
    parts = dict(given)
    if "safety_checker" in index:
        parts = {"safety_checker": None, **parts}
        options.setdefault("requires_safety_checker", False)
    if str(index.get("_class_name")).startswith("StableDiffusionXL"):
        options.setdefault("add_watermarker", False)  # else it marks pictures if a certain package is installed
    if absent := [name for name in classes if name not in parts and not (folder / name).is_dir()]:
        raise ModelUnavailable(f"{folder} has no folder {absent[0]}, which its model_index.json names; fetch it again")
    wanted = {name: part for name, part in classes.items() if name not in parts and _is_network(part)}
    having = [name for name in wanted if variant and _of_variant(folder / name, "*.safetensors*", variant)]
    if variant and not having:
        raise ModelUnavailable(f"{folder} has no weights of the variant {variant!r}; change `variant` in the table")
    for name, part in wanted.items():
        parts[name] = load_pretrained(part, folder / name, entry, variant=variant if name in having else None)
    with one_error(folder, f"{cls.__name__} with safetensors weights"):
        pipeline = cls.from_pretrained(folder, local_files_only=True, **parts, **options)
    for name in classes:
        if name not in parts and hasattr(part := getattr(pipeline, name), "get_vocab"):
            with_vocabulary(part, folder / name)
    return pipeline


def _is_network(part: Any) -> bool:
    import diffusers
    import transformers

    return issubclass(part, diffusers.ModelMixin | transformers.PreTrainedModel)


def _classes(cls: Any, folder: Path, index: Mapping[str, Any]) -> dict[str, Any]:
    """Classes of the parts that the index of a pipeline names.

    Raises:
        ModelUnavailable: the libraries don't have a class, or it is of no library that pipelines are made of.
    """
    import diffusers
    import transformers
    from diffusers.pipelines.pipeline_loading_utils import ALL_IMPORTABLE_CLASSES, get_class_obj_and_candidates

    automatic = cls.__name__.startswith("AutoPipeline")
    lacks = "which {library} {version} doesn't have; it was saved by diffusers {saved}; take another checkpoint".format
    saved = index.get("_diffusers_version", "of an unknown version")
    name = index.get("_class_name")
    if automatic and not (isinstance(name, str) and hasattr(diffusers, name)):
        said = lacks(library="diffusers", version=diffusers.__version__, saved=saved)
        raise ModelUnavailable(f"{folder}/model_index.json names the pipeline {name}, {said}")
    expected = signature(cls).parameters
    found = {}
    for part, place in index.items():
        if part.startswith("_") or not isinstance(place, list) or place[:1] == [None] or part == "safety_checker":
            continue
        if not automatic and part not in expected:
            continue
        library, kind = map(str, place) if len(place) == 2 else ("", "")
        inside = hasattr(diffusers.pipelines, library)
        if not part.isidentifier() or not (inside or library in ("diffusers", "transformers")):
            raise ModelUnavailable(f"{folder}: the part {part!r} is of {library!r}, and no such code is run")
        try:
            with quietly():
                made, _ = get_class_obj_and_candidates(
                    library, kind, ALL_IMPORTABLE_CLASSES, diffusers.pipelines, inside
                )
        except (AttributeError, ValueError):
            version = transformers.__version__ if library == "transformers" else diffusers.__version__
            said = lacks(library=library, version=version, saved=saved)
            raise ModelUnavailable(f"{folder}/model_index.json names the class {kind} for {part}, {said}") from None
        found[part] = made
    return found


def pipeline_index(folder: Path) -> Mapping[str, Any]:
    """The pipeline's `model_index.json`, after a check that loading the folder runs none of its code.

    Raises:
        ModelUnavailable: no index, Python files, or a part with pickles and no safetensors.
    """
    index_file = folder / "model_index.json"
    if not index_file.is_file():
        raise ModelUnavailable(f"{folder} has no model_index.json; it must be a folder written by save_pretrained")
    with one_error(folder, "a pipeline"):
        index: dict[str, Any] = dict(json.loads(index_file.read_text()))
    if code := sorted(folder.rglob("*.py")):
        raise ModelUnavailable(f"{folder} contains code ({code[0].relative_to(folder)}), which is never run")
    for part in sorted(name for name in index if (folder / name).is_dir() and name != "safety_checker"):
        pickles = sorted(file.name for file in (folder / part).iterdir() if file.name.endswith(PICKLES))
        if pickles and not list((folder / part).glob("*.safetensors")):
            raise ModelUnavailable(
                f"{folder / part} has its weights as a pickle ({pickles[0]}), which is never loaded; "
                "docs/operate/models.md says how to convert it to safetensors"
            )
    return index


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


WRONG = OSError, ValueError, AttributeError, TypeError, RuntimeError
"""What libraries raise about files that they can't use, among others."""


@contextmanager
def one_error(folder: Path, what: str) -> Iterator[None]:
    """Turn every error of the libraries about a wrong folder into one line; also hides what they print.

    Raises:
        ModelUnavailable: `<folder> can't be loaded as <what>`, with the library's reason.
    """
    from safetensors import SafetensorError

    try:
        with quietly():
            yield
    except (*WRONG, KeyError, ImportError, SafetensorError) as error:
        why = " ".join(str(error).split()).partition(". If you were trying to load it from")[0]
        raise ModelUnavailable(f"{folder} can't be loaded as {what}: {cut(why)}") from error


@contextmanager
def state_of(file: Path, what: str) -> Iterator[None]:
    """Turn every error about a file that isn't the state dict of a network into one.

    Raises:
        ModelUnavailable: `<file> isn't <what>`, with the reason.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (*WRONG, LookupError, EOFError, SafetensorError, pickle.UnpicklingError, struct.error) as error:
        why = (str(error) or type(error).__name__).splitlines()[:2]  # PyTorch names tensors in the second
        raise ModelUnavailable(f"{file} isn't {what}: {cut(' '.join(map(str.strip, why)))}") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Hide the bars and log lines of diffusers and transformers while they load: what counts is in the errors here."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = diffusers_logging, transformers_logging
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    levels = [library.get_verbosity() for library in libraries]
    for library in shown:
        library.disable_progress_bar()
    for library in libraries:
        library.set_verbosity(CRITICAL)
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
