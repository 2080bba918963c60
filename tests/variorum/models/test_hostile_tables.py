"""Tables and lock files that anybody may have written: one clear line, or a table whose names stay inside the cache."""

from __future__ import annotations

import copy
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.models import ModelTable, weights
from variorum.schemas.errors import ModelUnavailable, RecipeError, VariorumError

SHA, COMMIT = "ab" * 32, "1" * 40
ENTRY = {"name": "m", "loader": "u2net", "licence": "MIT", "source": "me"}
PLACES = [
    {"wheel": {"package": "a==1", "member": "a/w.onnx", "sha256": SHA}},
    {"npm": {"package": "@a/b==1.0.0", "members": {"a/w.json": SHA, "a/w.bin": SHA}}},
    {"hub_file": {"repo": "a/b", "file": "w.onnx", "sha256": SHA, "revision": COMMIT}},
    {"hub_repo": {"repo": "a/b", "mirrors": ["c/d"], "revision": COMMIT, "files": ["unet/w.safetensors"]}},
    {"hub_repo": {"repo": "a/b"}},
    {"packaged": {"folder": "fashion_mnist_cnn", "sha256": SHA}},
    {"local": {"path": "nowhere/at/all"}},
    {"options": {"threads": 2}, "uses": ["segmenter"], "size": 3, "vram": 1.5, "dtype": "float16"},
]
TRICKS = [
    *(
        "",
        ".",
        "..",
        "/",
        "../../x",
        "/etc/passwd",
        "a/../../b",
        "..\\..\\x",
        "a\0b",
        "a\nb",
        "\x1b[2J",
        "~",
        "~nobody/x",
    ),
    *(
        "x" * 300,
        "x/" * 3000,
        "é",
        "\u202e",
        "{x}",
        "%s",
        "a==1 --index-url=http://x",
        "-r",
        "a b",
        "mine",
        "segmenter",
    ),
    *(
        "u2net",
        "sam",
        "diffusion",
        "file:///etc/passwd",
        "http://me:secret@host/x",
        0,
        -1,
        2**70,
        1.5,
        math.nan,
        math.inf,
    ),
    *(
        True,
        [],
        {},
        [[]],
        [""],
        ["mine"],
        ["segmenter"] * 20,
        {"a": {"b": []}},
        {"threads": "x"},
        {"threads": math.nan},
    ),
]


ALLOWED = ("-r", "a b", "mine", "segmenter", "u2net", "sam", "diffusion")
"""Those that are harmless as the name of a file."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables") / "inside"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def offline(place, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("VARIORUM_MODELS", str(place / "mine.toml"))
    monkeypatch.setenv("VARIORUM_LOCK", str(place / "models.lock.toml"))
    monkeypatch.setenv("VARIORUM_CACHE", str(place / "cache"))
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(place)


def toml(value):
    """A value as TOML; what TOML can't say becomes text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else json.dumps(value).replace("\x7f", "")


def walk(item, path, paths):
    """Append the path of every part of a value."""
    for key in item if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ():
        paths.append((*path, key))
        walk(item[key], (*path, key), paths)


def changed(data, value):
    """The same value with one of its parts replaced, removed, renamed or added."""
    found, paths = copy.deepcopy(value), []
    walk(found, (), paths)
    if not paths:
        return found
    *above, last = data.draw(st.sampled_from(paths))
    holder = found
    for key in above:
        holder = holder[key]
    how = data.draw(st.sampled_from(["replace", "replace", "remove", "rename", "add"]))
    trick = data.draw(st.sampled_from(TRICKS) | st.text(max_size=20))
    if how == "remove":
        del holder[last]
    elif isinstance(holder, dict) and how != "replace":
        holder[str(trick)] = holder.pop(last) if how == "rename" else trick
    else:
        holder[last] = trick
    return found


def outcome(aliases):
    """What every call says of a table: its errors, each of which must be for users."""
    said = []
    try:
        table = ModelTable("embedded")
    except RecipeError as error:
        return [str(error)]
    for alias in aliases(table):
        cached = table.entry(alias)
        if cached.wheel or cached.hub_file:
            path = weights.cached_file(cached, table.cache)
            assert path.parent == table.cache / "weights"
            assert Path(os.path.normpath(path)) == path
            assert path.name.startswith("abab")
        if cached.npm:
            folder = weights.npm_folder(cached.npm, table.cache)
            assert folder.parent == table.cache / "weights"
            assert Path(os.path.normpath(folder)) == folder
        asked = [table.pin, table.status, table.get, lambda one: table.check([one])]
        for ask in (
            asked if cached.wheel or cached.npm or cached.uses else [*asked, table.fetch]
        ):  # pip and npm are slow
            try:
                ask(alias)
            except VariorumError as error:
                said.append(str(error))
    return said


def readable(said):
    for message in said:
        assert message.strip()
        assert len(message) < 6000


def files(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_any_change_to_a_table_is_an_error_for_users_or_a_table(place, data):
    entry = {**ENTRY, **data.draw(st.sampled_from(PLACES))}
    table = {"mine": entry, "other": {**ENTRY, "uses": ["mine"]}}
    for _ in range(data.draw(st.integers(1, 3))):
        table = changed(data, table)
    (place / "mine.toml").write_text("\n".join(f"{toml(key)} = {toml(value)}" for key, value in table.items()))
    before = {path for path in files(place.parent) if "/cache/" not in path}
    readable(outcome(lambda known: [alias for alias in known.aliases() if alias in table]))
    assert {path for path in files(place.parent) if "/cache/" not in path} == before


@pytest.mark.parametrize("entry", PLACES, ids=lambda entry: next(iter(entry)))
def test_every_trick_in_every_field_is_an_error_for_users_or_a_table(place, entry):
    paths, table = [], {"mine": {**ENTRY, **entry}}
    walk(entry, ("mine",), paths)
    for *above, last in paths:
        for trick in TRICKS:
            found = copy.deepcopy(table)
            holder = found
            for key in above:
                holder = holder[key]
            holder[last] = trick
            (place / "mine.toml").write_text(f"mine = {toml(found['mine'])}")
            readable(outcome(lambda known: ["mine"]))
            if isinstance(trick, str) and "member" in (last, *above):
                assert accepted() == (trick in ALLOWED), trick


def accepted():
    try:
        return bool(ModelTable("embedded"))
    except RecipeError:
        return False


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_to_a_lock_file_is_an_error_for_users_or_a_commit(place, data):
    (place / "mine.toml").write_text(f"mine = {toml({**ENTRY, 'hub_repo': {'repo': 'a/b'}})}")
    lock = {"mine": {"repo": "a/b", "revision": COMMIT}, "x": {"repo": "c/d", "revision": COMMIT}}
    for _ in range(data.draw(st.integers(1, 3))):
        lock = changed(data, lock)
    (place / "models.lock.toml").write_text("\n".join(f"{toml(key)} = {toml(value)}" for key, value in lock.items()))
    try:
        readable(outcome(lambda known: ["mine"]))
    finally:
        (place / "models.lock.toml").unlink()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 400), st.sampled_from(["mine.toml", "models.lock.toml"]))
def test_any_bytes_are_an_error_for_users(place, noise, at, name):
    (place / "mine.toml").write_text(f"mine = {toml({**ENTRY, **PLACES[3]})}")
    whole = (place / "mine.toml").read_bytes()
    (place / name).write_bytes(whole[:at] + noise + whole[at + len(noise) :])
    try:
        readable(outcome(lambda known: []))
    finally:
        (place / "models.lock.toml").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "[" * 5000, "nested too deeply"),
        ("x = " + "1" * 6000, "can't be read"),
        ("# " + "x" * 2**21, "more than 1 MiB"),
        ("mine = 3", "mine.toml: mine: "),
        ('["a\\u001bb"]', "mine.toml"),
        (f"mine = {toml({**ENTRY, 'uses': ['mine']})}", "'mine' uses 'mine': a model can't use itself"),
        (
            f"mine = {toml({**ENTRY, 'uses': ['b']})}\nb = {toml({**ENTRY, 'uses': ['mine']})}",
            "'mine' uses 'b' uses 'mine'",
        ),
        (f"mine = {toml({**ENTRY, 'uses': ['nobody']})}", "uses 'nobody', which isn't there; there are: adversary"),
        ("\n".join(f"m{n} = {toml({**ENTRY, 'uses': [f'm{n + 1}'] * 8})}" for n in range(500)), "at most 4 in a row"),
    ],
    ids=["deep", "digits", "large", "number", "alias", "itself", "each other", "nobody", "chain"],
)  # fmt: skip
def test_a_table_that_cannot_be_is_refused_with_the_reason(place, text, message):
    (place / "mine.toml").write_text(text)
    with pytest.raises(RecipeError) as raised:
        ModelTable("embedded")
    assert message in str(raised.value)
    readable([str(raised.value)])


@pytest.mark.parametrize("variable", ["VARIORUM_MODELS", "VARIORUM_LOCK"])
@pytest.mark.parametrize("kind", ["folder", "FIFO", "loop", "device", "no user"])
def test_what_is_no_file_is_refused(place, monkeypatch, variable, kind, tmp_path):
    (place / "mine.toml").write_text("")
    path = tmp_path / "odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    monkeypatch.setenv(variable, {"device": "/dev/zero", "no user": "~nobody-of-this-name/x"}.get(kind, str(path)))
    if kind == "no user" and variable == "VARIORUM_LOCK":
        assert ModelTable("embedded").aliases()  # a lock file that doesn't exist yet
        return
    with pytest.raises(RecipeError, match=r"the model table .* (isn't a file|can't be read)"):
        ModelTable("embedded")


def test_a_lock_file_that_cannot_be_written_is_one_line(place, monkeypatch):
    from variorum.models.download import write_lock

    monkeypatch.setenv("VARIORUM_LOCK", str(place / "mine.toml" / "models.lock.toml"))
    (place / "mine.toml").write_text("")
    with pytest.raises(ModelUnavailable, match=r"the lock file .* can't be written: "):
        write_lock({})
