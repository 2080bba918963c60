"""Secrets are taken out of URLs and texts, and everything else stays."""

import pickle
import traceback

import pytest

from variorum.schemas import secrets
from variorum.schemas.errors import RecipeError, SourceError, VariorumError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.secrets import cleaned, cleaned_errors, holds_secret, remember, shown, without_secrets

SECRET = "hunter22"


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch):
    monkeypatch.setattr(secrets, "_remembered", set())


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("s3://key:hunter22@bucket/x", "s3://bucket/x"),
        ("s3://key:hun/ter22@bucket/x", "s3://bucket/x"),
        ("https://user@host:80/a/b", "https://host:80/a/b"),
        ("https://host/x?token=hunter22#hunter22", "https://host/x"),
        ("simplecache::s3://key:hunter22@bucket/x", "simplecache::s3://bucket/x"),
        ("zip://a.png::https://u:hunter22@h/x.zip?sig=hunter22", "zip://a.png::https://h/x.zip"),
        ("http://u:hunter22@[::1]:80/x", "http://[::1]:80/x"),
        ("sftp://u:p%40hunter22@host/x", "sftp://host/x"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, bare):
    assert shown(url) == bare
    assert holds_secret(url)
    assert holds_secret({"a": ["b", {"c": url}]})
    assert SECRET not in without_secrets(f"can't open {url}: no such host")
    assert SECRET not in str(cleaned({"a": [url, f"see {url} there"]}))


@pytest.mark.parametrize(
    "text",
    [
        *("store", "/a/b@c:d", "s3://bucket/a@b", "file:///tmp/x", "http://[::1]:80/a@b", "memory://x", "", "a?b=c"),
        *("https://h/p.jpg?size=2&page=1", "max_tokens=77", "token = 5", "C:\\x", "mailto:a@b.org", "12:30@noon"),
        *("task-hunter22hunter22hunter22", "sk-hunter22", "sk-a-long-name-without-digits"),
    ],
)
def test_what_holds_no_secret_stays(text):
    assert without_secrets(text) == text
    assert not holds_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        *("?X-Amz-Signature=hunter22&x=1", "token=hunter22", "Authorization: Bearer hunter22hunter22"),
        *("AWS_SECRET_ACCESS_KEY=hunter22", "password%3Dhunter22", "https://h/x?a=1&sig=hunter22"),
        *("hf_hunter22hunter22hunter22", "{'api_key=hunter22'}", "sk-proj-hunter22hunter22hunter22"),
        *("github_pat_hunter22hunter22hunter22", "glpat-hunter22hunter22hunter22", "xoxb-hunter22hunter22hunter22"),
        *(
            "AIzahunter22hunter22hunter22hunter22abc",
            "-----BEGIN EC PRIVATE KEY-----\nhunter22\n-----END EC PRIVATE KEY-----",
        ),
    ],
)
def test_secrets_in_a_text(text):
    assert SECRET not in without_secrets(text)


@pytest.mark.parametrize(
    "text", ["http://me:hunter22@[::1/x?token=hunter22", "s3://[", "http://[x", "a://]:hunter22@["]
)
def test_what_is_no_url_is_no_error(text):
    remember([text])
    assert SECRET not in without_secrets(f"can't open {text}")
    assert SECRET not in str(cleaned({"a": text, "b": f"see {text} there"}))


def test_secrets_of_the_environment_and_of_known_urls(monkeypatch):
    assert without_secrets("a hunter22 b") == "a hunter22 b"
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert without_secrets("a hunter22 b") == "a *** b"
    monkeypatch.delenv("HF_TOKEN")
    remember({"files": ["https://user:swordfish@h/x?token=abra%20kadabra"]})
    assert without_secrets("user:swordfish@h swordfish abra kadabra abra%20kadabra") == "***h *** *** ***"


def test_errors_lose_their_secrets_and_survive_pickling():
    error = SourceError("https://u:hunter22@h/x: gone")
    assert str(error) == "https://h/x: gone"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert VariorumError().args == ()


HELD = "shakennotstirred"


class Answered(Exception):
    """Makes its text from what it holds."""

    def __str__(self) -> str:
        return f"answered {self.args}"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError(f"with {HELD}"), RuntimeError),
        (FileNotFoundError(2, "missing", f"/{HELD}"), FileNotFoundError),
        (Answered({"token": HELD}), RuntimeError),
    ],
)
def test_an_error_its_causes_and_its_notes_are_cleaned(error, kind, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", HELD)
    error.add_note(f"noted {HELD}")
    outer = ValueError(f"outer {HELD}")
    outer.__cause__ = error
    with pytest.raises(ValueError, match=r"outer \*\*\*") as raised, cleaned_errors():
        raise outer
    assert HELD not in "".join(traceback.format_exception(raised.value))
    assert type(raised.value.__cause__) is kind
    assert str(raised.value.__cause__).count("***") == 1


def test_a_place_of_data_may_have_secrets_and_nothing_else():
    url = "https://u:hunter22@h/x.tar?token=hunter22"
    source = build_component("source", {"name": "webdataset", "shards": url}, "source")
    assert SECRET not in f"{source.identity()}{source.place()}{source.fingerprint()}"
    assert source.shards == url
    edition = build_component("source", {"name": "edition", "edition": "d", "store": url}, "source")
    assert SECRET not in f"{edition.identity()}{edition.place()}"
    nested = build_component("source", {"name": "corrupted", "of": {"name": "webdataset", "shards": url}}, "source")
    assert SECRET not in f"{nested.identity()}{nested.place()}"
    hub = {"name": "huggingface", "dataset": "parquet", "data_files": [url]}
    with pytest.raises(
        RecipeError, match=r"source\.data_files: holds a password or a token.*environment variable"
    ) as e:
        build_component("source", hub, "source")
    assert SECRET not in str(e.value)
    base = {"dataset": "d", "version": "1.0.0", "source": {"name": "samples"}}
    with pytest.raises(RecipeError, match=r"card\.summary: holds a password or a token"):
        Recipe.parse({**base, "card": {"summary": f"see {url}"}})


@pytest.mark.parametrize("secret", ["password=hunter22", "Bearer hunter22hunter22", "by hunter22-of-the-environment"])
@pytest.mark.parametrize(
    ("field", "path"),
    [
        ({"source": {"name": "image_folder", "path": "x", "licence": ...}}, "source.licence"),
        ({"card": {"citation": ...}}, "card.citation"),
        ({"warning": ...}, "warning"),
        ({"source": {"name": "huggingface", "dataset": "parquet", "data_files": [...]}}, "source.data_files"),
    ],
)
def test_a_stored_field_with_a_secret_is_refused(monkeypatch, secret, field, path):
    monkeypatch.setenv("LAB_API_KEY", "hunter22-of-the-environment")
    given = {"dataset": "d", "version": "1.0.0", "source": {"name": "samples"}, **_filled(field, secret)}
    with pytest.raises(RecipeError, match=rf"{path}: holds a password or a token") as caught:
        Recipe.parse(given)
    assert SECRET not in str(caught.value)


def _filled(value, secret):
    if isinstance(value, dict):
        return {name: _filled(one, secret) for name, one in value.items()}
    return [_filled(one, secret) for one in value] if isinstance(value, list) else secret if value is ... else value


def test_words_about_secrets_are_none(monkeypatch):
    """A licence may speak of passwords, and short values of variables occur everywhere."""
    monkeypatch.setenv("TEST_PASSWORD", "test")
    monkeypatch.setenv("DB_PASSWORD", "postgres")
    for text in (
        "Ask the authors for the password; a test of postgres.",
        "max_tokens=77",
        "token = letter",
        "sig=1.25",
    ):
        assert not holds_secret(text)
