"""A fuzzer's targets: every decoder and reader of bytes that others made, each as a function of bytes.

A target returns, or raises an error of the project's own that is one short line; anything else is a finding.
`python tests/campaign/fuzz.py TARGET SECONDS FOLDER` lets atheris change bytes for so long, guided by the code that
they reach: it takes the real files of `seeds` and what `corpus/` has for that target, and leaves findings in the
folder.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
LIBRARY = HERE.parents[1] / ".cache" / "fuzz" / "lib"
"""Where `make fuzz` puts atheris."""
MEMORY = 2048
"""MiB that a target may take."""
LONGEST = 20
"""Seconds that bytes may take."""
LINE = 20_000
"""Letters of an error at most."""

Target = Callable[[bytes], object]
TARGETS: dict[str, Target] = {}
PLACE = Path("/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()) / f"fuzz-{os.getpid()}"


def own_errors() -> tuple[type[Exception], ...]:
    """What the project says is raised for bytes that aren't right."""
    from variorum.edition.records import BadRecord
    from variorum.machine.parquet_pages import TooLarge
    from variorum.machine.strict_yaml import NotYaml
    from variorum.pixels import UndecodableImage
    from variorum.schemas.errors import BadObjects, VariorumError
    from variorum.sources.exports.texts import BadText
    from variorum.sources.tars.headers import NotTar
    from variorum.sources.tars.members import BadMember

    return VariorumError, UndecodableImage, BadRecord, NotYaml, NotTar, BadMember, BadObjects, BadText, TooLarge


def recipe_errors() -> type[Exception]:
    """Errors with a line for each field that is wrong."""
    from variorum.schemas.errors import RecipeError

    return RecipeError


def tried(name: str, data: bytes) -> str:
    """Give a target some bytes; its error, if it raised one of the project's own. Whatever else it raises goes on."""
    try:
        TARGETS[name](data)
    except own_errors() as error:
        said = str(error)
        said.encode()
        most = 1 + said.count("\n") * isinstance(error, recipe_errors())
        assert len(said.splitlines()) <= most, f"an error of {len(said.splitlines())} lines: {said[:200]!r}"
        assert len(said) < LINE, f"an error of {len(said)} letters"
        return said or type(error).__name__
    return ""


def target(function: Target) -> Target:
    """Add a function to `TARGETS`."""
    TARGETS[function.__name__] = function
    return function


def file(data: bytes, name: str) -> Path:
    """A file with these bytes."""
    path = PLACE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def each(functions: Iterable[Target], data: bytes) -> None:
    """Call each of the functions; the project's own errors of all but the last are passed over."""
    *first, last = functions
    for function in first:
        with contextlib.suppress(own_errors()):
            function(data)
    last(data)


# ── targets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@target
def pictures(data: bytes) -> None:
    """All formats, as pictures and as masks; EXIF, XMP, profiles; AVIF's own parser."""
    from variorum.picture_facts import has_position, picture_facts
    from variorum.pixels import decode, decode_mask, shows_more, transparent

    each((decode_mask, shows_more, transparent, picture_facts, has_position, decode), data)


@target
def shards(data: bytes) -> None:
    """A shard of an edition, read sample by sample."""
    from variorum.edition.samples import picture_pixels, read_sample
    from variorum.edition.shards import read_shard

    for key, members in read_shard(file(data, "a.tar")):
        sample, _ = read_sample(key, members, check=False)
        picture_pixels(key, sample.image)


@target
def sample_records(data: bytes) -> None:
    """The record of a sample, and its annotations behind a NUL byte."""
    from variorum.edition.samples import read_sample

    record, _, annotations = data.partition(b"\0")
    read_sample("a", {"png": b"", "json": record, "annotations.json": annotations or b"{}"}, check=False)


@target
def records(data: bytes) -> None:
    """Manifests, receipts, ledgers and results."""
    from variorum.edition.records import parse
    from variorum.reports.results import Result
    from variorum.schemas.manifest import Ledger, Manifest, Receipt

    def read(kind: Any) -> Target:
        return lambda given: parse(given, kind, bare=True)

    each([read(kind) for kind in (Manifest, Receipt, Ledger, Result)], data)


@target
def tars(data: bytes) -> None:
    """A WebDataset of others."""
    from variorum.sources.webdataset import Webdataset

    source = Webdataset(shards=str(file(data, "a.tar")), label="json.labels", caption="json.caption")
    looked_at(source.model_copy(update={"metadata": ("json.x",), "objects": "json.objects"}))


@target
def parquet(data: bytes) -> None:
    """A table of others."""
    from variorum.sources.parquet import Parquet

    path = str(file(data, "a.parquet"))
    looked_at(Parquet(files=path, label="label", caption="caption", metadata=("when",)))


@target
def parquet_footers(data: bytes) -> None:
    """The footer and the pages' headers, by the parser of our own."""
    from variorum.machine.parquet_pages import check_pages

    with contextlib.suppress(ValueError):  # for the caller, who names the file
        check_pages(io.BytesIO(data))


@target
def coco(data: bytes) -> None:
    """COCO's annotations."""
    from variorum.sources.coco import Coco

    looked_at(Coco(annotations=file(data, "coco.json"), pictures=folder()))


@target
def cvat(data: bytes) -> None:
    """CVAT's XML."""
    from variorum.sources.exports.cvat_xml import read_cvat, with_region

    for image in read_cvat(data, "cvat: a")[1]:
        for item in image.objects[:9]:
            with_region(item)


@target
def label_studio(data: bytes) -> None:
    """Label Studio's JSON, as a source."""
    from variorum.sources.label_studio import LabelStudio

    file(data, "pictures/tasks.json")
    looked_at(LabelStudio(path=folder()))


@target
def fiftyone(data: bytes) -> None:
    """FiftyOne's JSON."""
    from variorum.sources.fiftyone import Fiftyone

    file(data, "pictures/samples.json")
    looked_at(Fiftyone(path=folder()))


@target
def cleanlab(data: bytes) -> None:
    """A table with labels, and cleanlab's issues behind a NUL byte."""
    from variorum.sources.cleanlab import Cleanlab

    table, _, issues = data.partition(b"\0")
    file(table, "pictures/metadata.csv")
    file(issues, "pictures/issues.csv")
    looked_at(Cleanlab(path=folder()))


@target
def metadata(data: bytes) -> None:
    """The files beside pictures: CSV, lines of JSON, parquet; the first byte says which."""
    from variorum.sources.image_folder import ImageFolder

    names = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
    for name in names:
        (folder() / name).unlink(missing_ok=True)
    file(data[1:], f"pictures/{names[data[0] % 3 if data else 0]}")
    try:
        looked_at(ImageFolder(path=folder()))
    finally:
        for name in names:
            (folder() / name).unlink(missing_ok=True)


@target
def idx(data: bytes) -> None:
    """IDX files, plain and in gzip."""
    from variorum.sources.folders.idx import read_idx

    each((lambda given: read_idx(file(given, "a.gz")), lambda given: read_idx(file(given, "a.idx"))), data)


@target
def meshes(data: bytes) -> None:
    """Wavefront's meshes; the function says itself which errors it raises."""
    from variorum.sources.meshes.wavefront import read_mesh

    def beside(name: str) -> bytes:
        raise FileNotFoundError(name)

    with contextlib.suppress(ValueError, OSError):
        read_mesh(data, beside)


@target
def recipes(data: bytes) -> None:
    """YAML, and recipes and suites made of it; no component of a file is looked up."""
    from variorum.machine.strict_yaml import read_yaml
    from variorum.stages.recipe_files import load_recipe
    from variorum.stages.suite_files import load_suite

    text = data.decode(errors="replace")
    read_yaml(text)
    if ".py" not in text:
        path = str(file(data, "a.yaml"))
        each((lambda _: load_suite(path), lambda _: load_recipe(path)), data)


@target
def votes(data: bytes) -> None:
    """Files of votes: CSV, Label Studio's JSON, parquet; the first byte says which."""
    from variorum.people.votes.files import read_votes

    read_votes(file(data[1:], f"votes{('.csv', '.json', '.parquet')[data[0] % 3 if data else 0]}"))


@target
def safetensors(data: bytes) -> None:
    """Weights in safetensors."""
    from variorum.models.brought.tensors import read_state
    from variorum.models.convolutions import read_convolutions
    from variorum.models.pretrained import tensors_of

    path = file(data, "a.safetensors")
    each((lambda _: tensors_of(path), lambda _: read_convolutions(path), lambda _: read_state(path, "weights")), data)


@target
def state_dicts(data: bytes) -> None:
    """Weights as PyTorch saves them."""
    from variorum.models.brought.tensors import read_state

    read_state(file(data, "a.pt"), "weights")


@target
def onnx(data: bytes) -> None:
    """A graph: the check before it is opened, and its convolutions."""
    from variorum.models.convolutions import read_convolutions
    from variorum.models.onnx import read_model

    read_model(data, "a.onnx")
    read_convolutions(file(data, "a.onnx"))


@target
def signatures(data: bytes) -> None:
    """An SSH signature beside an edition."""
    from variorum.hub.signatures import _key_of

    _key_of(data, b"content")


@target
def cards(data: bytes) -> None:
    """A card that was pulled: its header, licence, classes and prose."""
    from variorum.hub.pull_beside import unfit

    unfit(data, manifest())


@target
def places(data: bytes) -> None:
    """What a user gives: sources to pull, signers, patterns of shards, URLs with secrets. Nothing is opened."""
    from variorum.hub.pull_places import note_secrets, on_the_hub
    from variorum.hub.signatures import Signer
    from variorum.schemas import secrets
    from variorum.sources.tars.shards import _braces

    text, kept = data.decode(errors="replace"), set(secrets._remembered)
    on_the_hub(text)
    secrets.without_secrets(text)
    secrets.shown(text)
    try:
        each((lambda _: note_secrets(text), lambda _: _braces(text, "a"), lambda _: Signer.named(text, "")), data)
    finally:
        secrets._remembered.clear()
        secrets._remembered.update(kept)


@target
def masks(data: bytes) -> None:
    """Regions as COCO's run lengths and polygons."""
    from variorum.edition.samples import strict_json
    from variorum.sources.exports.rle import encoded

    try:
        value = strict_json(data)
    except ValueError:
        return
    encoded(value, (64, 48))


# ── what they need ───────────────────────────────────────────────────────────────────────────────────────────────────


def folder() -> Path:
    """A folder with one picture."""
    if not (PLACE / "pictures" / "0.png").exists():
        file(png(), "pictures/0.png")
    return PLACE / "pictures"


def png(value: int = 90, kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """A small picture."""
    import numpy as np
    from PIL import Image

    stream = io.BytesIO()
    values = np.random.default_rng(value).integers(0, 255, (12, 16, 3), np.uint8)
    Image.fromarray(values).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def looked_at(source: Any) -> None:
    """All that a run asks of a source, for its first samples."""
    from variorum.machine.memo import DiskMemo
    from variorum.schemas.component import Context
    from variorum.stages.job import models

    shutil.rmtree(PLACE / "memo", ignore_errors=True)
    ctx = Context(0, models("embedded"), DiskMemo(PLACE / "memo"))
    source.pin(ctx)
    stop = min(source.size(ctx), 20)
    source.classes(ctx)
    list(source.outline(0, stop, ctx))
    list(source.read(0, stop, ctx))


def manifest() -> Any:
    """A manifest of the corpus."""
    from variorum.edition.records import parse
    from variorum.schemas.manifest import Manifest

    return parse((CORPUS / "records" / "manifest.json").read_bytes(), Manifest, bare=True)


def seeds(to: Path) -> None:
    """Write real files for each target, in folders of its name."""
    import numpy as np
    import onnx as graphs
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from onnx import TensorProto, helper
    from PIL import Image
    from safetensors.torch import save_file

    from variorum.hub.signatures import _framed, _signed

    sys.path.append(str(HERE.parent / "plugins"))

    def put(name: str, *many: bytes) -> None:
        (to / name).mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(many, len(list((to / name).iterdir()))):
            (to / name / f"seed{number}").write_bytes(data)

    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words"
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"):
        put("pictures", png(kind=kind))
        if kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
            put("pictures", png(kind=kind, exif=exif))
    for mode, kind in (("P", "PNG"), ("LA", "PNG"), ("CMYK", "JPEG"), ("1", "TIFF"), ("L", "BMP"), ("I;16", "PNG")):
        put("pictures", png(kind=kind, mode=mode))
    put("pictures", png(kind="TIFF", compression="tiff_lzw"), png(kind="TIFF", compression="tiff_adobe_deflate"))

    import small_store

    made = to.parent / "made"
    made.mkdir()
    store = small_store.make(made)
    kinds = ("editions", "ledgers", "units")
    taken = [path for kind in kinds for path in sorted(store.rglob("*.json")) if kind in path.parts][:12]
    bare = []
    for path in taken:
        content = json.loads(path.read_bytes())
        content.pop("digest", None)
        bare.append(json.dumps(content).encode())
    put("records", *bare)
    for path in sorted(store.rglob("*.tar"), key=lambda one: one.stat().st_size)[:2]:
        put("shards", path.read_bytes())
        with tarfile.open(path) as archive:
            found = {one.name: archive.extractfile(one).read() for one in archive}
        first = next(name for name in found if name.endswith(".json") and "annotations" not in name)
        put("sample_records", found[first] + b"\0" + found.get(f"{first[:-5]}.annotations.json", b""))
    put("cards", *(path.read_bytes() for path in sorted(store.rglob("README.md"))[:2]))
    for path in (made / "small.yaml", *sorted((HERE.parents[1] / "recipes").rglob("*.yaml"))[:12]):
        put("recipes", path.read_bytes())

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for ending, data in (("png", png()), ("json", b'{"labels": ["a"], "caption": "b", "x": 1, "objects": []}')):
            info = tarfile.TarInfo(f"é/0.{ending}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    put("tars", stream.getvalue())
    stream = io.BytesIO()
    rows = {"image": [{"bytes": png(), "path": "0.png"}] * 2, "label": [0, 1], "caption": ["a", None], "when": [1, 2]}
    pq.write_table(pa.table(rows), stream)
    put("parquet", stream.getvalue())
    put("parquet_footers", stream.getvalue())
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 12.0}]
    boxes += [{**boxes[0], "id": 2, "segmentation": [[1, 1, 5, 1, 5, 5]]}]
    boxes += [{**boxes[0], "id": 3, "iscrowd": 1, "segmentation": {"counts": [20, 172], "size": [12, 16]}}]
    images = [{"id": 1, "file_name": "0.png", "height": 12, "width": 16, "license": 1}]
    whole = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}], "licenses": [{"id": 1}]}
    put("coco", json.dumps(whole).encode())
    put("masks", *(json.dumps(one["segmentation"]).encode() for one in boxes[1:]), b'{"counts":"0A1","size":[64,48]}')
    shapes = (
        '<box label="a" xtl="1" ytl="2" xbr="5" ybr="6" occluded="0"><attribute name="k">v</attribute></box>'
        '<mask label="a" rle="1, 2, 3" left="1" top="1" width="3" height="2"/><polygon label="a" points="1,1;5,1;5,5"/>'
    )
    put(
        "cvat",
        f'<annotations><meta><task><labels><label><name>a</name></label></labels></task></meta><image id="0" '
        f'name="0.png" width="16" height="12" subset="train"><tag label="a"/>{shapes}</image></annotations>'.encode(),
    )
    value = {"x": 1, "y": 2, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["a"], "choices": ["a"]}
    result = [
        {"type": kind, "from_name": "a", "to_name": "i", "value": value} for kind in ("choices", "rectanglelabels")
    ]
    picture = {"image": "/data/0.png", "license": "MIT", "split": "test", "captions": ["b"], "picture": "0" * 32}
    person = {"result": result, "completed_by": 1, "lead_time": 1.5, "created_at": "2026-01-02T03:04:05Z"}
    tasks = json.dumps([{"id": 1, "data": picture, "annotations": [person], "predictions": [{"result": result}]}])
    put("label_studio", tasks.encode())
    detection = {"label": "a", "bounding_box": [0.1, 0.1, 0.5, 0.5], "confidence": 0.5}
    sample = {"filepath": "0.png", "tags": ["test"], "ground_truth": {"label": "a"}, "metadata": {"width": 16}}
    put("fiftyone", json.dumps({"samples": [{**sample, "objects": {"detections": [detection]}}]}).encode())
    table = b"file_name,label,split\n0.png,a,test\n"
    put("cleanlab", table + b"\0" + b"is_label_issue,label_score,given_label,predicted_label\nTrue,0.5,a,b\n")
    put(
        "metadata",
        b"\0" + table,
        b'\x01{"file_name": "0.png", "label": "a", "objects": {"bbox": [], "categories": []}}\n',
    )
    put("metadata", b"\2" + stream.getvalue())
    header = b"id,sha256,reviewer,kind,subject,answer,at,seconds\n"
    put(
        "votes",
        b"\0" + header + b"0" * 32 + b"," + b"0" * 64 + b",ada,label,a,yes,1.5,2\n",
        b"\1" + tasks.encode(),
        b"\2" + stream.getvalue(),
    )
    put("idx", b"\0\0\x08\1\0\0\0\3abc")
    put(
        "meshes",
        b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\nusemtl a\nf 1/1/1 2/1/1 3/1/1\nf -1 -2 -3\n",
    )
    tensors = {"a.weight": torch.zeros(2, 3, 3, 3), "b": torch.ones(4, dtype=torch.float16)}
    PLACE.mkdir(exist_ok=True)
    save_file(tensors, PLACE / "seed.safetensors")
    torch.save(tensors, PLACE / "seed.pt")
    put("safetensors", (PLACE / "seed.safetensors").read_bytes())
    put("state_dicts", (PLACE / "seed.pt").read_bytes())
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 3, 3, 3], np.zeros(54, np.float32))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="c")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weights],
    )
    put("onnx", graphs.helper.make_model(graph).SerializeToString())
    key = Ed25519PrivateKey.generate()
    framed = _framed(key.public_key().public_bytes_raw(), key.sign(_signed(b"content")))
    lines = textwrap.fill(base64.b64encode(framed).decode(), 70)
    put("signatures", f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n".encode())
    put("places", b"org/name@v1", b"hf://datasets/a/b@x/y", b"https://me:secret@host:1/a?token=b", b"a-{000..010}.tar")
    put("places", b"SHA256:" + b"a" * 43, b"ada@lab.example", b"s3://bucket/a")


def fuzz(name: str, seconds: str, to: str) -> None:
    """Fuzz a target for so many seconds."""
    sys.path.append(str(LIBRARY))
    import atheris

    import variorum  # noqa: F401 - its package alone, so that `instrument_imports` sees the modules

    with atheris.instrument_imports(include=["variorum", "PIL", "yaml"]):
        tried(name, b"\0")  # imports all that it needs
        own_errors()
    where = Path(to)
    grown = where / "grown" / name
    grown.mkdir(parents=True, exist_ok=True)
    (where / "found").mkdir(exist_ok=True)
    sources = [place for place in (where / "seeds" / name, CORPUS / name) if place.exists()]
    limits = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}", f"-timeout={LONGEST}", "-max_len=65536"]
    options = [*limits, f"-artifact_prefix={where}/found/{name}-", "-print_final_stats=1", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *options, str(grown), *map(str, sources)], lambda data: tried(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    os.environ.setdefault("VARIORUM_CACHE", str(PLACE / "cache"))
    if sys.argv[1] == "seeds":
        seeds(Path(sys.argv[2]) / "seeds")
    else:
        fuzz(*sys.argv[1:])
