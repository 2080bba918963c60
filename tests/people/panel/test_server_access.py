"""Hosts, origins, keys and cookies of the review server, and the pages' policy."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.people.server.access import (
    ATTEMPTS,
    ATTEMPTS_ALL,
    Access,
    Attempts,
    Place,
    address,
    check_key,
    from_here,
    is_loopback,
    new_key,
    same,
    token_of,
)
from variorum.people.server.shell import PAGES, shell
from variorum.schemas.errors import RecipeError

HERE = Place("127.0.0.1", 8765)
EVERYWHERE = Place("0.0.0.0", 8765, ("https://review.example.org",))


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765"])
def test_names_of_this_machine_are_ours(host):
    assert HERE.origin(host) == f"http://{host.lower()}"


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:87650",
            "localhost",
            "evil.example:8765",
            "localhost.evil.example:8765",
        ),
        *(
            "127.0.0.1:8765@evil.example",
            "evil.example#127.0.0.1:8765",
            "127.0.0.1:8765/",
            "192.168.1.7:8765",
            "::1:8765",
        ),
        *(
            "127.0.0.1:٨٧٦٥",
            "127.0.0.1:+8765",
            " 127.0.0.1:8765",
            "127.0.0.1:8765\n",
            "[::1:8765",
            "review.example.org",
        ),
    ],
)
def test_other_hosts_are_not(host):
    assert HERE.origin(host) is None


def test_a_server_for_others_has_numeric_addresses_its_name_and_the_proxys():
    assert EVERYWHERE.origin("192.168.1.7:8765") == "http://192.168.1.7:8765"
    assert EVERYWHERE.origin("[fe80::1]:8765") == "http://[fe80::1]:8765"
    assert EVERYWHERE.origin(f"{socket.gethostname()}:8765")
    assert EVERYWHERE.origin("review.example.org") == "https://review.example.org"
    for host in ("evil.example:8765", "192.168.1.7:8766", "review.example.org:8765", "review.example.org.evil.example"):
        assert EVERYWHERE.origin(host) is None
    assert EVERYWHERE.url == "https://review.example.org"


@given(host=st.text(max_size=40))
def test_no_text_that_is_not_a_name_of_ours_is_a_host(host):
    known = {"127.0.0.1:8765", "localhost:8765", "[::1]:8765"}
    assert (HERE.origin(host) is not None) == (host.lower() in known)


@pytest.mark.parametrize(
    ("host", "yes"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.7", False), ("example.org", False), ("", False)],
)  # fmt: skip
def test_what_is_loopback(host, yes):
    assert is_loopback(host) == yes
    assert Place(host, 1).loopback == yes


def test_a_proxy_makes_a_loopback_server_reachable():
    assert not Place("127.0.0.1", 8765, ("https://review.example.org",)).loopback


def test_addresses_are_as_browsers_write_origins():
    assert address(" https://Review.Example.org/ ") == "https://review.example.org"
    assert address("https://review.example.org:443") == "https://review.example.org"
    assert address("http://10.0.0.1:8080") == "http://10.0.0.1:8080"
    assert address("http://[::1]:8080") == "http://[::1]:8080"


@pytest.mark.parametrize(
    "text",
    ["", "review.example.org", "ftp://x", "https://", "https://x/path", "https://x?q", "https://a@x", "https://x:99999",
     "https://[x", "https://x#y"],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(RecipeError):
        address(text)


def test_requests_that_change_something_come_from_here():
    ours = ["http://127.0.0.1:8765"]
    assert from_here(ours[0], None, ours)
    assert from_here(ours[0], "same-origin", ours)
    for origin, site in (
        (None, None), ("null", None), ("http://evil.example", None), ("http://127.0.0.1:8766", None),
        ("https://127.0.0.1:8765", None), (ours[0], "cross-site"), (ours[0], "same-site"), (ours[0], "none"),
    ):  # fmt: skip
        assert not from_here(origin, site, ours)
    assert not from_here(None, None, [None])


def test_tokens_depend_on_the_secret():
    assert token_of("a") == token_of("a") != token_of("b")
    assert same(token_of("a"), token_of("a"))
    assert not same(token_of("a"), token_of("b"))
    assert len({new_key() for _ in range(100)}) == 100


@pytest.mark.parametrize("key", ["", "short", "with space in it", "tab\tin the middle", "ключключключ"])
def test_keys_that_are_too_weak(key):
    with pytest.raises(RecipeError):
        check_key(key)


def people(secret):
    return {"s1": "ann", "s2": "ben"}.get(secret)


def test_keys_are_kept_as_digests_only():
    join_key, admin_key = new_key(), new_key()
    access = Access("d@1.0.0/main", HERE, join_key, admin_key, people)
    assert access.may_join(join_key)
    assert not access.may_join("")
    assert not access.may_join(join_key + "x")
    secret = access.sign_in(admin_key)
    assert access.is_admin(secret)
    assert access.sign_in(join_key) is None
    assert not access.is_admin("")
    assert not access.is_admin(admin_key)
    held = repr([vars(access), access.attempts])
    assert not any(one in held for one in (join_key, admin_key, secret))


def test_nobody_needs_a_key_where_there_is_none():
    access = Access("d@1.0.0/main", HERE, "", new_key(), people)
    assert access.may_join("")
    assert access.may_join("anything")
    assert not access.needs_key


def test_reviewers_are_found_by_their_secret_and_forgotten_on_request():
    asked = []

    def find(secret):
        asked.append(secret)
        return people(secret)

    access = Access("d@1.0.0/main", HERE, "", new_key(), find)
    assert [access.reviewer(one) for one in ("s1", "s1", "s2", "", "none", "x" * 300)] == [
        "ann", "ann", "ben", None, None, None,
    ]  # fmt: skip
    assert asked == ["s1", "s2", "none"]
    access.forget()
    assert access.reviewer("s1") == "ann"
    assert asked[-1] == "s1"


def test_cookies_of_two_panels_have_two_names():
    one, other = (Access(name, HERE, "", "k" * 20, people) for name in ("d@1.0.0/main", "d@1.0.0/second"))
    names = {one.cookie, one.admin_cookie, one.key_cookie, other.cookie, other.admin_cookie, other.key_cookie}
    assert len(names) == 6
    assert all(re.fullmatch("[a-z0-9_]+", name) for name in names)


def test_attempts_are_limited_by_address_and_in_all():
    attempts = Attempts()
    assert [attempts.allowed("a") for _ in range(ATTEMPTS + 2)] == [True] * ATTEMPTS + [False] * 2
    assert attempts.allowed("b")
    found = [attempts.allowed(str(number)) for number in range(ATTEMPTS_ALL)]
    assert found == sorted(found, reverse=True)
    assert not found[-1]


# ── pages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Parts(HTMLParser):
    """The inline scripts and styles of a page, and all that it would load."""

    def __init__(self):
        super().__init__()
        self.inside, self.found, self.loads, self.handlers = "", {"script": [], "style": []}, [], []

    def handle_starttag(self, tag, attributes):
        self.inside = tag if tag in self.found else self.inside
        self.loads += [
            value for name, value in attributes if name in ("src", "href") and not value.startswith(("#", "data:"))
        ]
        self.handlers += [name for name, _ in attributes if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag):
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data):
        if self.inside:
            self.found[self.inside].append(data)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_answer_that_runs_only_its_own_script(name):
    whole = shell(name)
    parts = Parts()
    parts.feed(whole.page.decode())
    assert parts.loads == []
    assert parts.handlers == []
    for kind, texts in parts.found.items():
        assert len(texts) == 1
        digest = base64.b64encode(hashlib.sha256(texts[0].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in whole.policy
    rules = dict(rule.split(" ", 1) for rule in whole.policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"] == rules["form-action"] == "'self'"
    assert rules["img-src"] == "'self' blob: data:"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in whole.policy
    assert b"</head>" in whole.page
    assert whole.page.index(b"<script>") > whole.page.index(b"<body")
