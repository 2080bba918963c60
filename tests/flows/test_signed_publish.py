"""`variorum publish --sign-key` against a double of the Hub: the sidecar that people get is valid."""

import base64
import io
import json

import pytest
from hub_server import environment
from published_set import loaded, opened
from signing_keys import write_signer

from variorum.edition.editions import resolve
from variorum.hub.credentials import ASSERTION, FILE

c2pa = pytest.importorskip("c2pa", reason="c2pa-python isn't installed")
pytestmark = pytest.mark.slow
DOWNLOAD = """
from base64 import b64encode
from pathlib import Path
from huggingface_hub import hf_hub_download
names = ("contact_sheet.png", "contact_sheet.c2pa")
found = [Path(hf_hub_download("lab/signed", name, repo_type="dataset")) for name in names]
said = [b64encode(path.read_bytes()).decode() for path in found]
"""


def test_a_signed_edition_has_a_sidecar_that_stays_while_it_holds(shots, hub, command, tmp_path):
    hub.fresh()
    key, chain = write_signer(tmp_path)
    secret = key.read_text().splitlines()[1]

    def publish(*words):
        done = command(
            "publish", "shots@1.0.0", "lab/signed", "--store", str(shots / "store"), *words, **environment(hub)
        )
        assert secret not in done.stdout + done.stderr
        return done

    alone = publish("--sign-key", str(key))
    assert alone.returncode == 2
    assert "--sign-cert" in alone.stderr
    first = json.loads(publish("--sign-key", str(key), "--sign-cert", str(chain), "--json").stdout)
    assert {one["path"]: one["action"] for one in first["files"]}[FILE] == "upload"

    store = opened(shots / "store")
    sheet, sidecar = map(base64.b64decode, loaded(hub, tmp_path / "other", DOWNLOAD))
    reader = c2pa.Reader("image/png", io.BytesIO(sheet), sidecar)
    assert reader.get_validation_state() == "Valid"
    said = {one["label"]: one["data"] for one in reader.get_active_manifest()["assertions"]}[ASSERTION]
    assert said["digest"] == resolve("shots@1.0.0", store).digest()

    again = publish("--sign-key", str(key), "--sign-cert", str(chain))
    assert "is published already" in again.stdout
    assert base64.b64decode(loaded(hub, tmp_path / "other", DOWNLOAD)[1]) == sidecar
