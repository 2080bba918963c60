"""What licences ask together: laws of the lattice, and cases read off the licences' texts."""

from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from variorum.models.table_entries import read_table
from variorum.reports.card import header_text
from variorum.reports.licence_facts import ALIKE, BLOCKING, HUB, LIFTABLE, PERMISSIVE, facts_of, parts_of
from variorum.reports.licences import OBLIGATIONS, SEVERAL, address, combined, conditions, terms_of

COMMONS = [
    f"CC-BY{elements}-{version}"
    for elements in ("", "-SA", "-NC", "-ND", "-NC-SA", "-NC-ND")
    for version in ("1.0", "2.0", "2.5", "3.0", "4.0")
]
NAMES = [
    *COMMONS,
    *PERMISSIVE,
    *ALIKE,
    "CC-BY-SA-3.0-DE",
    "CreativeML OpenRAIL-M",
    "LicenseRef-public-domain",
    "ImageNet terms of access",
    "non-commercial research",
    "all rights reserved",
    "",
    "unknown",
    "ask me first",
]
expressions = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner),
    max_leaves=4,
)
collections = st.dictionaries(expressions, st.integers(1, 5), max_size=5)


@given(collections, collections, st.booleans(), st.sampled_from(["", "our lawyer wrote to the authors"]))
def test_more_pictures_never_loosen_and_order_says_nothing(some, more, changed, checked):
    def terms(licences):
        return combined(licences, changed=changed, checked=checked)

    alone, both = terms(some), terms({**more, **some})
    assert alone.obligations.keys() <= both.obligations.keys()
    assert both.refused.keys() >= alone.refused.keys()
    assert alone.publishable or not both.publishable
    assert both == terms(dict(reversed({**more, **some}.items())))
    assert both.obligations.keys() == alone.obligations.keys() | terms(more).obligations.keys()  # and nothing else
    assert both.refused == {**terms(more).refused, **alone.refused}


@given(expressions, st.booleans())
def test_changing_pictures_and_a_statement_act_in_one_direction(licence, changed):
    plain = conditions(licence)
    assert conditions(licence, changed=True) >= plain or " OR " in licence
    assert not combined({licence: 1}).publishable or combined({licence: 1}, checked="x").publishable
    known = combined({licence: 3}, changed=changed)
    assert known.publishable == (not known.why)
    assert known.most_restrictive in HUB
    assert all(number == 3 for number in known.obligations.values())
    assert known.said().keys() or not known.obligations


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), st.randoms())
def test_a_picture_under_several_licences_is_one_whatever_their_order(names, random):
    shuffled = random.sample(names, len(names))
    assert conditions(" AND ".join(names)) == conditions(" AND ".join(shuffled))
    assert conditions(" OR ".join(names)) == conditions(" OR ".join(shuffled))
    assert conditions(" AND ".join([*names, *names])) == conditions(" AND ".join(names))


@given(st.text(max_size=60) | st.lists(st.sampled_from(["AND", "OR", "WITH", "(", ")", "MIT", "x"])).map(" ".join))
def test_any_text_is_read_as_something(text):
    assert parts_of(text)
    terms = combined({text: 1})
    header = yaml.safe_load(header_text(terms.header()))
    assert header["license"] in HUB
    assert "\n" not in terms.why


@pytest.mark.parametrize(
    ("licences", "changed", "hub", "publishable"),
    [
        ({"CC0-1.0": 3}, True, "cc0-1.0", True),
        ({"CC0-1.0": 3, "CC-BY-4.0": 1}, True, "cc-by-4.0", True),
        ({"CC-BY-4.0": 1, "CC-BY-SA-4.0": 1}, True, "cc-by-sa-4.0", True),
        ({"CC-BY-NC-4.0": 1, "CC-BY-NC-SA-4.0": 1, "CC-BY-4.0": 9}, True, "cc-by-nc-sa-4.0", True),
        ({"CC-BY-SA-4.0": 1, "CC-BY-NC-SA-4.0": 1}, True, "other", True),  # beside each other, each keeps its own
        ({"CC-BY-2.0": 1, "CC-BY-4.0": 1}, True, "other", True),
        ({"MIT": 1, "CC-BY-4.0": 1}, True, "other", True),
        ({"CC-BY-ND-4.0": 1}, False, "cc-by-nd-4.0", True),
        ({"CC-BY-ND-4.0": 1, "CC0-1.0": 8}, True, "other", False),
        ({"CC-BY-SA-4.0 AND CC-BY-NC-4.0": 1}, True, "other", False),
        ({"CC-BY-SA-3.0 AND CC-BY-SA-4.0": 1}, True, "other", True),
        ({"CC-BY-SA-1.0 AND CC-BY-SA-4.0": 1}, True, "other", False),  # 1.0 has no later versions
        ({"CC-BY-SA-2.0 AND CC-BY-NC-SA-2.0": 1}, True, "other", False),
        ({"CC-BY-SA-4.0 AND GPL-2.0-or-later": 1}, True, "other", True),  # under GPL-3.0, by CC's declaration of 2015
        ({"CC-BY-SA-3.0 AND GPL-2.0-or-later": 1}, True, "other", False),  # the declaration is for 4.0 alone
        ({"CC-BY-SA-4.0 AND GPL-2.0-only": 1}, True, "other", False),
        ({"GPL-2.0-or-later AND CC-BY-2.0": 1}, True, "other", True),
        ({"GPL-2.0-or-later AND CC-BY-NC-2.0": 1}, True, "other", False),
        ({"GPL-3.0-only AND CreativeML OpenRAIL-M": 1}, True, "other", False),
        ({"MIT OR GPL-3.0-only": 1}, True, "other", True),
        ({"GPL-3.0-only WITH Font-exception-2.0": 1}, True, "other", True),
        ({"CreativeML OpenRAIL-M": 2}, True, "creativeml-openrail-m", True),
        ({"CreativeML Open RAIL++-M": 2}, True, "openrail++", True),
        ({"ImageNet terms of access": 1}, False, "other", False),
        ({"unknown": 1}, False, "unknown", False),
        ({"": 1, "CC0-1.0": 1}, False, "other", False),
        ({"https://creativecommons.org/licenses/by-nc-sa/2.0/": 4}, True, "cc-by-nc-sa-2.0", True),
        ({"CC BY 4.0": 4}, True, "cc-by-4.0", True),
        ({"public domain": 4}, True, "other", True),
        ({"CC-BY-4.5": 1}, True, "other", False),  # there is no such version
        ({"CC-BY-SA-4.0-DE": 1}, True, "other", False),  # nor one of a country
        ({"CC-BY-SA-3.0-DE": 1}, True, "other", True),
        ({"GPL-2.0-only AND Apache-2.0": 1}, True, "other", False),
        ({"GPL-2.0-or-later AND Apache-2.0": 1}, True, "other", True),  # under GPL-3.0
        ({"MIT OR CC-BY-NC-4.0 AND GPL-2.0": 1}, True, "other", True),
        ({"(MIT OR CC-BY-NC-4.0) AND ImageNet": 1}, True, "other", False),
        ({"CC\u2011BY\u20114.0": 1}, True, "other", False),  # hyphens that aren't any
        ({"\u0421\u0421-BY-4.0": 1}, True, "other", False),  # Cyrillic letters
        ({"MIT\u200b": 1}, True, "other", False),
        ({"CC0-1.0": 2, "ImageNet terms of access": 0}, True, "cc0-1.0", True),
        ({}, True, "unknown", True),
    ],
)
def test_cases_from_the_texts(licences, changed, hub, publishable):
    terms = combined(licences, changed=changed)
    assert (terms.most_restrictive, terms.publishable) == (hub, publishable)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cc-by-4.0", "CC-BY-4.0"),
        ("CC_BY 4.0 (International)", "CC-BY-4.0"),
        ("Creative Commons Attribution 4.0 International", "CC-BY-4.0"),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 2.0", "CC-BY-NC-SA-2.0"),
        ("Creative Commons Attribution Non-Commercial No Derivatives 4.0", "CC-BY-NC-ND-4.0"),
        ("Creative Commons Attribution-Share Alike 3.0 Unported", "CC-BY-SA-3.0"),
        ("https://creativecommons.org/licenses/by/4.0/?ref=chooser-v1", "CC-BY-4.0"),
        ("http://www.creativecommons.org/licenses/by-nc/2.0/", "CC-BY-NC-2.0"),
        ("creativecommons.org/licenses/by-sa/4.0/deed.de", "CC-BY-SA-4.0"),
        ("https://creativecommons.org/licenses/by-sa/3.0/de/", "CC-BY-SA-3.0-DE"),
        ("https://creativecommons.org/publicdomain/zero/1.0/?ref=chooser-v1", "CC0-1.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("MIT License", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("odbl", "ODbL-1.0"),
        ("odc-by", "ODC-By-1.0"),
        ("pddl", "PDDL-1.0"),
        ("https://creativecommons.org.example.org/licenses/by/4.0/", None),
        ("https://creativecommons.org/licenses/by-nd-sa/4.0/", None),
        ("https://creativecommons.org/licenses/by/4.0/?ref=a&licence=mine", None),
        ("Creative Commons Attribution 4.0, but ask me", None),
        ("CC-BY-3.1", None),
        ("CC-BY-2.1", None),
    ],
)
def test_ways_to_write_a_licence(text, name):
    facts = facts_of(text)
    assert (facts and facts.name) == name


def test_a_refusal_names_the_licence_the_reason_and_the_way_out():
    terms = combined({"CC0-1.0": 5, "CC-BY-ND-2.0": 2, "unknown": 7}, changed=True)
    assert terms.why.startswith("2 pictures with 'CC-BY-ND-2.0': it allows no adaptations")
    assert "1 other licence" in terms.why
    assert "`licence`" in terms.why
    lifted = combined({"unknown": 7, "ask me first": 1}, checked="the photographers agreed in writing")
    assert lifted.publishable
    assert not combined({"ImageNet terms of access": 1}, checked="the photographers agreed in writing").publishable
    assert "say who found out" in combined({"unknown": 1}).why
    assert "say who found out" not in combined({"ImageNet terms of access": 1}).why


def test_headers_name_a_licence_that_the_hub_has_or_other():
    assert combined({"CC-BY-4.0": 1}).header() == {"license": "cc-by-4.0"}
    assert combined({"CC-BY-SA-2.0": 1}).header() == {
        "license": "other",
        "license_name": "cc-by-sa-2.0",
        "license_link": "https://spdx.org/licenses/CC-BY-SA-2.0",
    }
    assert combined({"MIT": 1, "CC-BY-4.0": 1}).header() == {"license": "other", "license_name": SEVERAL}
    assert address("GPL-2.0-or-later AND CC0-1.0") == "GPL-2.0-or-later AND CC0-1.0"
    assert address("CC0-1.0") == "https://spdx.org/licenses/CC0-1.0"


def test_models_that_bind_their_pictures_add_an_obligation():
    entry = read_table("hub")["inpainter"][0]
    fields = {"profile": "hub", "licences": {"CC0-1.0": 4}, "sources_edited": 1, "pictures": lambda: 4}
    plain = SimpleNamespace(models={"inpainter": "another@sha256:0"}, **fields)
    bound = SimpleNamespace(models={"inpainter": f"{entry.name}@commit:0"}, **fields)
    assert dict(terms_of(plain).obligations) == {}
    assert dict(terms_of(bound).obligations) == {"use restrictions": 4}


def test_the_table_of_facts_is_consistent():
    assert BLOCKING.keys() > LIFTABLE
    for name in (*COMMONS, *PERMISSIVE, *ALIKE):
        facts = facts_of(name)
        assert facts, name
        assert facts.spdx == name
        assert facts_of(name.lower()) == facts
        assert {one.partition(":")[0] for one in facts.conditions} <= {*OBLIGATIONS, *BLOCKING}
        assert all(facts_of(one) for one in facts.adapted), name
    assert facts_of("GPL-2.0+") == facts_of("GPL-2.0-or-later")
    assert facts_of("CC-BY-ND-SA-4.0") is None
