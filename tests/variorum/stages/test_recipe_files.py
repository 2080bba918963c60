import pytest
import yaml

from variorum.schemas.errors import RecipeError
from variorum.schemas.more import NeedsLabels
from variorum.schemas.recipe import Recipe
from variorum.stages.recipe_files import load_recipe, shipped_recipes

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
        ("source.name=image_foldr", "no source named 'image_foldr'; there are: balanced, "),
        ("generate.0.name=frog", "no generator named 'frog'; there are: adversarial_example, "),
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


STEPS = [
    {"name": "quality"},
    {"name": "features"},
    {"name": "duplicates"},
    {"name": "probabilities"},
    {"name": "confident_learning"},
    {
        "name": "policy",
        "rules": [
            {"when": [{"column": "duplicates.flag", "equals": True}], "action": "drop", "reason": "copy"},
            {
                "when": [{"column": "quality.flag", "equals": True}],
                "action": "drop",
                "reason": "poor",
                "value": "confident_learning.score",
            },
            {"when": [{"column": "variant", "equals": "plate"}], "action": "drop", "reason": "plate"},
        ],
    },
    {"name": "audit", "flags": ["confident_learning.flag", "quality.flag"], "guesses": "confident_learning.score"},
]


def test_a_step_left_out_takes_with_it_what_needs_it(file):
    recipe = load_recipe(
        file({**BASE, "curate": STEPS}), ["curate.probabilities=null", "curate.policy.min_class_size=7"]
    )
    names = [step.component_name() for step in recipe.curate]
    assert names == ["quality", "features", "duplicates", "policy", "audit"]
    policy, audit = recipe.curate[-2:]
    assert [rule.reason for rule in policy.rules] == ["copy", "plate"]
    assert policy.min_class_size == 7
    assert (audit.flags, audit.guesses) == (("quality.flag",), "")
    assert Recipe.parse(recipe.dump()) == recipe
    assert recipe.version == "1.0.0"
    without_pictures = load_recipe(file({**BASE, "curate": STEPS}), ["curate.features=null", "curate.quality=null"])
    assert [step.component_name() for step in without_pictures.curate] == ["policy", "audit"]


def test_the_other_lists_lose_a_component_by_name_or_position(file):
    recipe = load_recipe(file(), ["generate.1=null", "evaluate.brightness=null"])
    assert [part.copies for part in recipe.generate] == [1]
    assert recipe.evaluate == ()
    assert "no curate.x; there are: none" in message(file({**BASE, "curate": []}), ["curate.x=null"])


def test_the_shipped_recipe_without_labels(file):
    recipe = load_recipe("curate_folder", ["curate.probabilities=null", "curate.training_dynamics=null"])
    assert not any(isinstance(step, NeedsLabels) for step in recipe.curate)
    policy = next(step for step in recipe.curate if step.component_name() == "policy")
    assert {"shows_nothing", "copy"} <= {rule.reason for rule in policy.rules}


def test_people_are_asked_about_what_the_steps_that_stay_propose():
    recipe = load_recipe("multi_label_review", ["curate.neighbours=null"])
    steps = {step.component_name(): step for step in recipe.curate}
    assert steps["candidates"].columns == ("probabilities.predicted",)
    assert {"consensus", "reviewed", "policy", "audit"} <= steps.keys()
    models = ["curate.consensus.models=[candidates.cells, probabilities.p]", "curate.candidates=null"]
    step = {step.component_name(): step for step in load_recipe("multi_label_review", models).curate}["consensus"]
    assert step.models == ("probabilities.p",)
    method = ["curate.consensus.method=crowdlab", "curate.probabilities=null"]
    left = {step.component_name() for step in load_recipe("multi_label_review", method).curate}
    assert not {"consensus", "reviewed"} & left
    assert {"candidates", "neighbours"} <= left


def test_a_place_tells_which_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = ["source.name=image_folder", "source.path=photos"]
    folder = load_recipe("curate_folder", base).source.place()
    assert folder == f"image_folder path={tmp_path / 'photos'}"
    assert load_recipe("curate_folder", [*base, "source.licence=CC0-1.0"]).source.place() == folder
    hub = ["source.name=huggingface", "source.dataset=a/b"]
    assert load_recipe("curate_folder", hub).source.place() == "huggingface dataset=a/b split=train"


FROST = """
from variorum.schemas.component import Generator


class Frost(Generator):
    severity: int = 1

    def edit(self, sample, of):
        yield sample
"""


def test_a_python_file_lies_beside_its_recipe_and_goes_by_its_stem(file, tmp_path, monkeypatch):
    (tmp_path / "frost.py").write_text(FROST)
    path = file({**BASE, "generate": [{"name": "./frost.py", "severity": 2}, {"name": "probe"}]})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = load_recipe(path)
    assert recipe.generate[0].component_name() == "frost"
    assert recipe.generate[0].config() == {"name": str(tmp_path / "frost.py"), "severity": 2}
    assert recipe.generate[0].identity()["name"] == "frost"
    assert load_recipe(path, ["generate.frost.severity=5"]).generate[0].severity == 5
    assert [part.component_name() for part in load_recipe(path, ["generate.frost=null"]).generate] == ["probe"]
    assert "no generate.frosty; there are: frost, probe" in message(path, ["generate.frosty.severity=5"])
    assert load_recipe("../recipe.yaml").fingerprint() == recipe.fingerprint()
    (tmp_path / "frost.py").unlink()
    assert f"{tmp_path / 'frost.py'}: No such file or directory" in message(path)


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
