"""Shared by all tests: component plugins, small real photographs, hypothesis without deadlines."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub_front import Hub
    from playwright.sync_api import Browser
    from s3_server import Server

    from variorum.models import ModelTable
    from variorum.models.table_entries import Entry

hypothesis.settings.register_profile("tests", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("tests")

for ignored in (signal.SIGINT, signal.SIGHUP):  # by background jobs of a shell, and so by every process started here
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored is signal.SIGINT else signal.SIG_DFL)

TESTS = Path(__file__).parent
sys.path.append(str(TESTS / "plugins"))  # installs the package acme-components, with its entry points

from watermark_keys import use_own_keys  # noqa: E402 - found there

from variorum.schemas import secrets  # noqa: E402

use_own_keys()


def pytest_collection_finish() -> None:
    """What thousands of tests are made of isn't looked through again by each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def forgotten_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test gives as a password isn't hidden in the messages of the next."""
    monkeypatch.setattr(secrets, "_remembered", set(secrets._remembered))


@pytest.fixture(autouse=True)
def own_signers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of known signers of a test, so that none is written in the home of whoever runs it."""
    monkeypatch.setenv("VARIORUM_SIGNERS", str(tmp_path / "known" / "signers.json"))
    return tmp_path / "known" / "signers.json"


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twelve small JPEGs, crops of scikit-image's photographs, four in each of three class folders."""
    import skimage.data
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "chelsea", "coffee"):
        (folder / name).mkdir()
        image = Image.fromarray(getattr(skimage.data, name)())
        for number in range(4):
            crop = image.crop((40 * number, 30 * number, 40 * number + 96, 30 * number + 64))
            crop.save(folder / name / f"{number}.jpg", quality=90)
    return folder


@pytest.fixture(scope="module")  # Playwright runs in one place at a time, so no module may leave it open
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip(f"there is no {chromium}")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=15_000)  # machines may be slow

    quiet = ("no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run", "disable-background-networking")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(chromium), args=[f"--{one}" for one in quiet])
        yield running
        running.close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real S3 server on loopback, with the bucket `variorum`; tests with it are slow ones."""
    from s3_server import serving

    with serving(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A double of the Hugging Face Hub on loopback, which takes what is published; tests with it are slow ones."""
    from hub_server import olah, serving

    command = olah()
    if command is None:
        pytest.skip("olah isn't installed: make olah")
    with serving(tmp_path_factory.mktemp("hub"), command) as running:
        yield running


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory of the test's own, for tests that need no fetched weights."""
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Diffusion pipelines with random weights: `text_to_image`, `xl`, `inpaint`, `image_variation`; and `clip`."""
    from hub_layouts.clip import clip_large
    from tiny_pipelines import save_pipelines

    folder = tmp_path_factory.mktemp("tiny")
    save_pipelines(folder)
    clip_large(folder / "clip")
    return folder


@pytest.fixture(scope="session")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of the Hub's cache, and of this project's, that tests share; `hub_models` puts checkpoints there."""
    return tmp_path_factory.mktemp("hub_home")


@pytest.fixture
def hub_models(hub_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelTable]:
    """A function that makes profile hub's aliases tiny checkpoints in the published layouts, also for processes."""
    from hub_layouts import environment
    from huggingface_hub import constants

    from variorum.models import ModelTable

    def with_tiny(*aliases: str, **others: Entry) -> ModelTable:
        for name, value in environment(hub_home, aliases, others).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub_home / "hub"))
        return ModelTable("hub")

    return with_tiny


@pytest.fixture
def a_dozen_will_do(monkeypatch):
    """Figures of a dozen photographs are shown, in tests of how they are made and not of how many they take."""
    for where in ("reports.profile.measure", "reports.standing", "reports.results", "api.report_checks"):
        monkeypatch.setattr(f"variorum.{where}.FEWEST", 10)
