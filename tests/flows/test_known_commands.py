"""`variorum known`: lists, editions, folders and an index, as table and JSON."""

import hashlib
import io
import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from served_files import serving

from variorum.kit.copies.blocklists import list_bytes
from variorum.kit.copies.file_hashes import look
from variorum.pipeline import Job, run
from variorum.schemas.recipe import Recipe


@pytest.fixture(scope="module")
def built(photos, tmp_path_factory):
    """A store with an edition of the photos."""
    folder = tmp_path_factory.mktemp("known")
    fields = {
        "dataset": "d",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(photos)},
        "curate": [{"name": "duplicates", "embedding": False}],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        run(Job(Recipe.parse(fields), str(folder / "store")))
    return folder / "store"


@pytest.fixture
def inbox(tmp_path):
    """A folder with a copy of a photo of scikit-image, another picture, and a file that is none."""
    import skimage.data

    folder = tmp_path / "inbox"
    folder.mkdir()
    shrunk = Image.fromarray(skimage.data.chelsea()).resize((220, 146)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    shrunk.save(folder / "cat.jpg", quality=70)
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((90, 90)).save(folder / "new.png")
    (folder / "[red]broken\x1b[31m.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture
def cli(command):
    def call(*words):
        done = command("known", *map(str, words))
        assert "Traceback" not in done.stderr
        return done

    return call


def test_a_folder_is_looked_up_in_the_shipped_lists(cli, inbox):
    done = cli("inbox")
    assert done.returncode == 0
    (row,) = [line for line in done.stdout.splitlines() if "cat.jpg" in line]
    assert "scikit_image" in row
    assert "bits of 256 differ" in row
    assert "1 of 3 pictures are known" in done.stdout
    assert "inbox/[red]broken\ufffd[31m.jpg: not_an_image" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_fail_is_an_exit_code_of_its_own(cli, inbox):
    assert cli("inbox/cat.jpg", "--fail").returncode == 3
    assert cli("inbox", "--blocklist", "scikit_learn", "--fail").returncode == 3  # one can't be read
    assert cli("inbox/new.png", "inbox/cat.jpg", "--blocklist", "scikit_learn", "--fail").returncode == 0


def test_json_names_the_set_the_evidence_and_the_picture(cli, built, photos, inbox):
    data = io.BytesIO()
    Image.open(photos / "coffee" / "2.jpg").transpose(Image.Transpose.ROTATE_90).save(data, "PNG")
    (inbox / "cup.png").write_bytes(data.getvalue())
    said = json.loads(cli("inbox", "--edition", "d", "--store", built, "--folder", photos, "--json").stdout)
    assert said["pictures"] == 4
    (hit,) = said["known"]
    assert hit["picture"] == "inbox/cup.png"
    edition, folder = sorted(hit["in"], key=lambda one: one["kind"])
    assert (edition["kind"], edition["name"], edition["layer"]) == ("edition", "d@1.0.0", "hash")
    assert len(edition["id"]) == 32
    assert (folder["kind"], folder["id"]) == ("folder", str(photos / "coffee" / "2.jpg"))
    assert 0 <= folder["distance"] <= 31
    assert [one["why"].partition(":")[0] for one in said["unreadable"]] == ["not_an_image"]
    assert [(one["name"], one["pictures"]) for one in said["looked_in"]] == [("d@1.0.0", 12), (str(photos), 12)]


def test_an_index_is_made_filled_and_asked(cli, built, photos, inbox, tmp_path):
    (tmp_path / "mine.parquet").write_bytes(list_bytes([look("new", inbox / "new.png")]))
    made = cli("--index", "seen", "--edition", "d", "--store", built, "--blocklist", "mine.parquet")
    assert made.returncode == 0
    assert "d@1.0.0" in made.stdout
    filled = cli("--index", "seen", "--folder", photos, "--edition", "d", "--store", built)
    assert f"{photos}: 12 new pictures of 12" in filled.stderr
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "seen" / "parts").rglob("*")}
    again = cli("--index", "seen", "--folder", photos, "--blocklist", "mine.parquet")
    assert f"{photos}: 0 new pictures of 12" in again.stderr
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "seen" / "parts").rglob("*")}
    said = json.loads(cli("inbox", photos / "chelsea" / "0.jpg", "--index", "seen", "--json").stdout)
    found = {os.path.basename(one["picture"]): {at["name"] for at in one["in"]} for one in said["known"]}
    assert found == {"new.png": {"mine"}, "0.jpg": {"d@1.0.0", str(photos)}}


def test_a_list_of_a_folder_is_made_shared_and_taken_by_its_address(command, cli, inbox, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "shared").mkdir()
    words = "--title", "Cats, 2026", "--licence", "CC-BY-4.0"
    made = command("blocklist", "./inbox", "--to", "shared/cats.parquet", *words)
    assert made.returncode == 0
    assert "2 pictures of Cats, 2026" in made.stdout
    assert "left out: inbox/[red]broken" in made.stderr
    assert hashlib.sha256((tmp_path / "shared" / "cats.parquet").read_bytes()).hexdigest() in made.stdout
    with serving(tmp_path / "shared") as served:
        found = cli("inbox", "--blocklist", f"{served.url}/cats.parquet", "--json")
        assert "cats: Cats, 2026, 2 pictures, CC-BY-4.0, by variorum" in found.stderr
        asked = len(served.asked)
        assert {one["picture"] for one in json.loads(found.stdout)["known"]} == {"inbox/cat.jpg", "inbox/new.png"}
        assert cli("inbox", "--blocklist", f"{served.url}/cats.parquet").returncode == 0
        assert len(served.asked) == asked  # kept in the cache
        (tmp_path / "shared" / "odd.parquet").write_bytes(b"no list")
        wrong = cli("inbox", "--blocklist", f"{served.url}/odd.parquet")
        assert wrong.returncode == 1
        assert "can't be read as parquet" in " ".join(wrong.stderr.split())
        assert not list((tmp_path / "cache").rglob("*odd*"))
        assert "no such file" in cli("inbox", "--blocklist", f"{served.url}/none.parquet").stderr


def test_an_exact_list_tells_no_looks(command, inbox):
    assert command("blocklist", "./inbox", "--to", "exact.parquet", "--exact").returncode == 0
    assert set(pq.read_schema(inbox.parent / "exact.parquet").names) == {"sha256", "pixels"}
    assert "for the folder write ./inbox" in " ".join(command("blocklist", "inbox", "--to", "x.parquet").stderr.split())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "give pictures or folders, or an index"),
        (("nothing.jpg",), 1, "nothing.jpg: no such file or folder"),
        (("inbox", "--blocklist", "imagenet_val"), 1, "or name a list that comes with the project: fashion_mnist_test"),
        (("inbox", "--blocklist", "inbox/new.png"), 1, "can't be read as parquet"),
        (("inbox", "--edition", "d", "--store", "nowhere"), 1, "doesn't exist"),
        (
            ("inbox", "--blocklist", "matplotlib", "--blocklist", "./matplotlib.parquet"),
            1,
            "two blocklists have the name",
        ),
        (("inbox", "--index", "seen"), 1, "there is none; make it with"),
        (("--index", "inbox", "--blocklist", "scikit_learn"), 1, "the folder holds other files"),
        (("--index", "seen", "--folder", "nowhere"), 1, "nowhere: no such file or folder"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(cli, inbox, words, code, said):
    done = cli(*words)
    assert done.returncode == code
    assert said in " ".join(done.stderr.split())
