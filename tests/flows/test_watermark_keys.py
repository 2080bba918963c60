"""Watermark keys on the command line: they are made, they stay secret, and an edition outlives them."""

from __future__ import annotations

import json
from pathlib import Path

from variorum.generators.watermark.watermarking.keys import read_keys
from variorum.schemas.watermark import payload_of

RECIPE = """
dataset: marked
version: 1.0.0
source: {name: image_folder, path: PHOTOS}
limit: 3
generate:
  - name: watermark
    frame: 128
    keys: own.keys
    marks:
      - {name: stdm}
      - {name: ./my_mark.py, label: mine}
"""
MARK = '''
"""A mark of one's own: the lowest bit of the first pixels."""

import numpy as np

from variorum.schemas.watermark import Detected, Mark


class MyMark(Mark):
    """Bits of the payload in the lowest bits of the first row."""

    bits: int = 32

    def embed(self, images, keys, ctx):
        made = [image.copy() for image in images]
        for image, payload in zip(made, self.payloads(keys)):
            image[0, : self.bits, 0] = image[0, : self.bits, 0] & 254 | payload
        return made

    def detect(self, images, keys, ctx):
        bits = np.array([image[0, : self.bits, 0] & 1 for image in images], bool)
        return Detected((bits == self.payloads(keys)).mean(1), bits)
'''


def test_keys_are_made_checked_and_kept(command, tmp_path):
    made = command("keys", "own.keys")
    assert made.returncode == 0, made.stderr
    keys = read_keys(tmp_path / "own.keys")
    assert made.stdout == f"new keys in own.keys, id {keys.id}\n"
    again = command("keys", "own.keys")
    assert again.returncode == 1
    assert "never overwritten" in again.stderr
    assert json.loads(command("keys", "own.keys", "--check", "--json").stdout) == {"file": "own.keys", "id": keys.id}
    missing = command("keys", "none.keys", "--check")
    assert missing.returncode == 1
    assert "none.keys: no such file of watermark keys" in missing.stderr


def test_keys_are_in_no_output_and_an_edition_outlives_them(command, tmp_path, photos):
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "marked.yaml").write_text(RECIPE.replace("PHOTOS", str(photos)))
    (folder / "my_mark.py").write_text(MARK)
    assert command("keys", "own.keys").returncode == 0
    run = ("--debug", "run", "recipes/marked.yaml", "--store", "store")
    done = command(*run, "--runner", "threads")
    assert done.returncode == 0, done.stderr
    rows = json.loads(command("show", "marked", "--store", "store", "--json").stdout)
    keys, secret = read_keys(tmp_path / "own.keys"), json.loads((tmp_path / "own.keys").read_text())["secret"]
    wrong = command(*run, "--runner", "threads", "--set", "generate.watermark.frame=7")
    assert wrong.returncode == 1
    said = "".join((done.stdout, done.stderr, wrong.stdout, wrong.stderr, json.dumps(rows))).encode()

    import pyarrow.parquet as pq

    (table,) = (tmp_path / "store" / "objects").glob("*.parquet")
    ids = {one for name in ("id", "parent") for one in pq.read_table(table).column(name).to_pylist()}
    hidden = [bytes.fromhex(secret)]
    for picture in ids:
        for label in ("stdm", "mine"):
            hidden += [keys.of(label, picture), keys.shared(label), payload_of(keys.of(label, picture), 32).tobytes()]
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "own.keys"]
    assert len(files) > 5
    for content in (said, *(path.read_bytes() for path in files)):
        for one in hidden:
            assert one not in content
            if len(set(one)) > 2:  # a payload of bits says nothing as hexadecimal digits of bytes
                assert one.hex().encode() not in content
    assert keys.id.encode() in b"".join(path.read_bytes() for path in files)

    (tmp_path / "own.keys").unlink()
    for words in (("show", "marked"), ("verify", "marked"), ("view", "marked"), ("card", "recipes/marked.yaml")):
        assert command(*words, "--store", "store").returncode == 0, words
    lost = command(*run, "--runner", "threads")
    assert lost.returncode == 1
    assert "own.keys: no such file of watermark keys; bring the file back" in lost.stderr
    assert not Path(tmp_path / "own.keys").exists()


def test_a_plan_says_which_models_a_run_does_without(command, tmp_path, photos):
    recipe = RECIPE.replace("PHOTOS", str(photos)).replace("    keys: own.keys\n", "")
    (tmp_path / "plan.yaml").write_text(recipe.replace("      - {name: ./my_mark.py, label: mine}", ATTACKS))
    done = command("plan", "plan.yaml", "--json")
    assert done.returncode == 0, done.stderr
    models = json.loads(done.stdout)["models"]
    assert models["perceptual"]["pin"] == models["perceptual"]["state"] == "unavailable"
    assert "no model alias 'perceptual'" in models["perceptual"]["why"]
    assert "model     perceptual: unavailable" in command("plan", "plan.yaml").stdout


ATTACKS = """
  - name: watermark_attack
"""
