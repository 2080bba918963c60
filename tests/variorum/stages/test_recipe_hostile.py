"""Recipes that go wrong in every way: each ends in one line that says what to do."""

import os
import time

import pytest
import yaml

from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.stages.recipe_files import LARGEST, load_recipe, new_recipe

BASE = {"dataset": "d", "version": "1.0.0", "source": {"name": "image_folder", "path": "photos"}}
TEXT = yaml.safe_dump(BASE)


@pytest.fixture
def file(tmp_path):
    def make(text: str | bytes) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return make


def line(*args, **kwargs) -> str:
    """The message of a refusal: one line, not too long to read, given at once."""
    began = time.monotonic()
    with pytest.raises(RecipeError) as error:
        load_recipe(*args, **kwargs)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 1500
    assert time.monotonic() - began < 20
    return message


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "recipe.yaml")
    assert "is a pipe or a device; save it in a file" in line(str(tmp_path / "recipe.yaml"))
    assert "is a pipe or a device" in line("/dev/null")


def test_a_folder_is_no_recipe(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    for name in (tmp_path, tmp_path / "folder.yaml"):
        assert "Is a directory; recipes that come with Variorum: " in line(str(name))


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 5000 + ".yaml", "x/" * 2500, "x\0.yaml"])
def test_a_name_that_no_file_can_have(name):
    assert "recipes that come with variorum: " in line(name).lower()


def test_bytes_that_are_no_text_and_a_file_too_large(file):
    assert "isn't UTF-8 text (byte 3); save it as UTF-8" in line(file(b"a: \xff"))
    assert f"has more than {LARGEST} bytes" in line(file(b"#" * (LARGEST + 1)))
    assert "not YAML: unacceptable character #x0000" in line(file("a: \0"))


@pytest.mark.parametrize(
    ("key", "meant"),
    [("3", "a number"), ("yes", "true or false"), ("null", "nothing"), ("1.5", "a number"), ("2024-01-01", "a date")],
)
def test_keys_must_be_text(file, key, meant):
    said = f"line 6: YAML reads the key {key!r} as {meant}; put it in quotes"
    assert said in line(file(f"{TEXT}{key}: 1\n"))
    assert "no such field" in line(file(f'{TEXT}"{key}": 1\n'))
    assert "line 1: a key must be text" in line(file("[a]: 1"))
    with pytest.raises(RecipeError, match=r"3 is no field's name; put it in quotes"):
        Recipe.parse({**BASE, 3: 1})


def test_a_key_given_twice_is_named_with_its_lines(file):
    assert "line 7: the key 'seed' is in line 6 already; remove one of them" in line(file(f"{TEXT}seed: 1\nseed: 2\n"))
    nested = "card:\n  title: a\n  title: b\n"
    assert "line 8: the key 'title' is in line 7 already" in line(file(f"{TEXT}{nested}"))
    merged = "generate:\n- &one {name: probe, strength: 1}\n- {<<: *one, strength: 2}\n"
    assert [part.strength for part in load_recipe(file(f"{TEXT}{merged}")).generate] == [1, 2]


def test_an_evaluation_given_twice_is_refused(file):
    twice = "evaluate: [{name: brightness}, {name: brightness}]\n"
    assert "evaluate.1: brightness is there already; list each evaluation once" in line(file(f"{TEXT}{twice}"))


def test_a_module_that_exits_does_not_end_the_command(file, tmp_path):
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
    said = line(file(yaml.safe_dump({**BASE, "generate": [{"name": "./leaves.py"}]})))
    assert "leaves.py can't be imported: SystemExit: 3" in said


@pytest.mark.parametrize("value", ["1" * 6000, "0x" + "f" * 5000, "2024-13-45", "!!int x", "!!bool x"])
def test_scalars_that_python_cannot_hold(file, value):
    assert "can't be read as a value; put it in quotes if it is text" in line(file(f"{TEXT}seed: {value}\n"))
    assert "can't be read as a value" in line(file(TEXT), [f"seed={value}"])
    assert load_recipe(file(TEXT), ["card.title='2024-13-45'"]).card.title == "2024-13-45"


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "{a: "])
def test_deep_nesting(file, opening):
    assert "nested more than 50 levels deep" in line(file(opening * 3000))
    assert "nested more than 50 levels deep" in line(file(TEXT), [f"card.title={opening * 3000}"])


def test_aliases_that_loop_or_explode(file):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 10))
    assert "aliases stand for more than 100000 values" in line(file(f"{TEXT}{bomb}card: {{title: *a9}}\n"))
    assert "an anchor contains itself" in line(file("source: &s {name: corrupted, of: *s}"))
    assert "an anchor contains itself" in line(file("source: &s [*s]"))
    deep = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}]\n" for k in range(1, 60))
    assert "more than 50 levels" in line(file(deep))


def test_many_values_make_no_long_message(file):
    values = f"[{', '.join(['x'] * 20_000)}]"
    assert "input should be a valid string (got ['x', 'x'" in line(file(f"{TEXT}card: {{title: {values}}}\n"))
    with pytest.raises(RecipeError) as error:
        load_recipe(file(f"{TEXT}card: {{{', '.join(f'x{k}: 1' for k in range(5000))}}}\n"))
    assert str(error.value).endswith("and 4980 more")


def test_an_override_of_one_alias_leaves_the_other(file):
    text = f"{TEXT}generate:\n- &one {{name: probe, strength: 1}}\n- *one\n"
    recipe = load_recipe(file(text), ["generate.1.strength=2"])
    assert [part.strength for part in recipe.generate] == [1, 2]


@pytest.mark.parametrize("field", ["seed", "samples_per_shard", "limit", "max_failure_rate"])
@pytest.mark.parametrize("value", ["true", "no", "'3'"])
def test_true_is_no_number(file, field, value):
    assert f"{field}: input should be a valid " in line(file(f"{TEXT}{field}: {value}\n"))


def test_true_is_no_number_in_a_component(file):
    assert "generate.0.strength: value error, must be a number (got True)" in line(
        file(f"{TEXT}generate: [{{name: probe, strength: yes}}]\n")
    )


@pytest.mark.parametrize(
    "version", ["٣.0.0", "1.0.٣", "1.0.0-dev\n", "1.0", "1." + "0" * 400 + ".0", "9" * 400 + ".0.0", "1.0.0-r1"]
)
def test_versions_are_three_short_numbers(version):
    with pytest.raises(RecipeError, match=r"version: value error, must look like 1\.2\.3"):
        Recipe.parse({**BASE, "version": version})


def test_a_dataset_has_a_name_that_folders_and_the_hub_take(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = "up to 96 lower-case letters, digits and underscores"
    assert said in line(file(TEXT), ["dataset=" + "d" * 300])
    assert said in line(file(TEXT), ["dataset=\u0663"])
    assert load_recipe(file(TEXT), ["dataset=" + "d" * 96]).dataset == "d" * 96
    with pytest.raises(RecipeError, match=said):
        new_recipe("d" * 5000)
    with pytest.raises(RecipeError, match="can't be written: File name too long"):
        new_recipe("x" * 5000 + "/d.yaml")


def test_a_wrong_version_is_not_made_worse_by_an_override(file):
    said = "version: input should be a valid string (got 5)"
    assert said in line(file(TEXT.replace("1.0.0", "5")), ["seed=1"])


def test_an_empty_path_is_not_the_working_folder(file):
    assert "source.path: value error, must not be empty; write . for the current folder" in line(
        file(TEXT.replace("photos", '""'))
    )
    assert "must not be empty" in line(file(f"{TEXT}curate: [{{name: audit, answers: ''}}]\n"))
    assert load_recipe(file(TEXT.replace("photos", "."))).source.component_name() == "image_folder"


@pytest.mark.parametrize(
    "override",
    [
        "generate." + "9" * 6000 + ".x=1",
        "generate.².x=1",
        "x." * 5000 + "x=1",
        "y" * 6000,
        "source." + "a." * 30 + "b=1",
    ],
)
def test_overrides_of_nonsense(file, override):
    line(file(f"{TEXT}generate: [{{name: probe}}]\n"), [override])


@pytest.mark.parametrize("name", ["x" * 5000, "\x1b[31m", "~nobody_here/x.py", "x" * 5000 + ".py"])
def test_component_names_of_nonsense(file, name):
    line(file(yaml.safe_dump({**BASE, "generate": [{"name": name}]})))


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
def test_a_number_that_is_none_is_refused_in_every_component(file, value):
    said = line(file(f"{TEXT}\ncurate: [{{name: tileability, seam: {value}}}]"))
    assert f"curate.0.seam: input should be a finite number (got {value.replace('.', '')})" in said
    rule = f"{{when: [{{column: variant, above: {value}}}], action: drop, reason: x}}"
    said = line(file(f"{TEXT}\ncurate: [{{name: policy, rules: [{rule}]}}]"))
    assert f"curate.0.rules.0.when.0.above: input should be a finite number (got {value.replace('.', '')})" in said
