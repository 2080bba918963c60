import pytest
import yaml

from schemas.errors import RecipeError
from schemas.recipe import Recipe
from variorum.recipes import load_recipe, shipped_recipes

BASE = {
    "dataset": "d",
    "version": "1.0.0",
    "source": {"name": "image_folder", "path": "photos", "licence": "CC0-1.0"},
    "generate": [{"name": "probe", "strength": 1.0}, {"name": "probe", "copies": 2}],
    "evaluate": [{"name": "brightness"}],
    "card": {"title": "A title"},
}


@pytest.fixture
def file(tmp_path):
    def make(data=BASE, name="recipe.yaml") -> str:
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        return str(path)

    return make


def message(*args, **kwargs) -> str:
    with pytest.raises(RecipeError) as error:
        load_recipe(*args, **kwargs)
    return str(error.value)


def test_dump_parses_back(file):
    recipe = load_recipe(file(), ["limit=5", "seed=3"])
    again = Recipe.parse(recipe.dump())
    assert again == recipe
    assert again.fingerprint() == recipe.fingerprint()
    assert Recipe.parse(yaml.safe_load(yaml.safe_dump(recipe.dump()))) == recipe


def test_the_file_as_it_is_keeps_its_version(file):
    assert load_recipe(file()).version == "1.0.0"


@pytest.mark.parametrize(
    ("overrides", "limit", "version"),
    [
        (["seed=1"], None, "1.0.0-dev"),
        ([], 3, "1.0.0-dev"),
        (["version=2.0.0"], None, "2.0.0"),
        (["version=2.0.0"], 3, "2.0.0"),
        (["version=2.0.0-dev", "seed=1"], None, "2.0.0-dev"),
    ],
)
def test_what_departs_from_the_file_is_a_dev_version(file, overrides, limit, version):
    assert load_recipe(file(), overrides, limit).version == version


def test_a_dev_version_stays_one(file):
    assert load_recipe(file({**BASE, "version": "1.0.0-dev"}), ["seed=1"]).version == "1.0.0-dev"


def test_overrides_by_path_name_and_position(file):
    recipe = load_recipe(file(), ["generate.probe.strength=4", "generate.1.copies=3", "card.title=x y", "limit=7"])
    assert [(part.strength, part.copies) for part in recipe.generate] == [(4.0, 1), (2.0, 3)]
    assert recipe.card.title == "x y"
    assert recipe.limit == 7


def test_another_source_drops_the_fields_of_the_one_before(file):
    recipe = load_recipe(file(), ["source.path=elsewhere", "source.name=imagenet"])
    assert recipe.source.component_name() == "imagenet"
    assert str(recipe.source.path) == "elsewhere"
    assert recipe.source.licence != "CC0-1.0"
    same = load_recipe(file(), ["source.name=image_folder"])
    assert same.source.licence == "CC0-1.0"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed", "must be key=value"),
        ("=1", "must be key=value"),
        ("generate.prob.strength=1", "no generate.prob; there are: probe, probe"),
        ("generate.2.strength=1", "no generate.2; there are: probe, probe"),
        ("generate.probe=1", "generate is a list; name one of its components and a field"),
        ("dataset.x=1", "dataset is 'd' and has no fields"),
        ("generate.probe.strenth=1", "generate.0.strenth: no such field; there are: strength, "),
        ("generate.probe.strength=much", "generate.0.strength: input should be a valid number"),
        ("sed=1", "sed: no such field; there are: dataset, version, seed, "),
        ("name=x", "name: no such field; there are: dataset, version, seed, "),
        ("source.name=image_foldr", "no source named 'image_foldr' in generators/sources/; there are: "),
        ("generate.0.name=frog", "no generator named 'frog' in generators/; there are: "),
        ("version=1", "version: input should be a valid string"),
        ("version=one", "version: value error, must look like 1.2.3"),
        ("seed=-1", "seed: input should be greater than or equal to 0"),
        ("card.titel=x", "card.titel: "),
    ],
)
def test_a_wrong_override_is_answered_with_the_choices(file, override, said):
    assert said in message(file(), [override])


def test_choices_hold_third_party_components(file):
    assert "probe" in message(file(), ["generate.0.name=frog"]).partition("there are:")[2]


def test_every_wrong_field_is_named_at_once(file):
    text = message(file({**BASE, "seed": -1, "limit": 0, "dataset": "A b"}))
    assert all(f"{name}: " in text for name in ("seed", "limit", "dataset"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a: [", "not YAML"),
        ("- a", "must be a mapping"),
        ("", "must be a mapping"),
        ({"dataset": "d", "version": "1.0.0"}, "source: a recipe needs a source with a name"),
        ({**BASE, "source": {"path": "x"}}, "source: needs a name; there are: "),
        ({**BASE, "generate": ["probe"]}, "generate: must be a list of generators, each with a name"),
        ({**BASE, "generate": {"name": "probe"}}, "generate: must be a list of generators"),
        ("a: !!python/object/apply:os.system [echo]", "not YAML"),
    ],
)
def test_a_file_that_is_no_recipe(file, data, said):
    assert said in message(file(data))


def test_an_override_into_a_list_of_names_is_answered(file):
    assert "has no fields" in message(file({**BASE, "generate": ["probe"]}), ["generate.probe.strength=1"])


def test_a_missing_file_names_the_shipped_recipes():
    text = message("nowhere.yaml")
    assert "no such file" in text
    assert all(name in text for name in shipped_recipes())


def test_a_name_that_nobody_has():
    assert "no recipe 'zzzz'. Recipes that come with Variorum: " in message("zzzz")
    for name in shipped_recipes()[:1]:
        assert f"did you mean {name}?" in message(name[:-1])


def test_a_folder_is_no_recipe(tmp_path):
    assert "Is a directory" in message(str(tmp_path))
