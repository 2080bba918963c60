import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.schemas.canonical import (
    AT_ONCE,
    canonical_json,
    derive_seed,
    digest,
    digest_of_each,
    digests,
    short_digest,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def shuffled(value, random):
    """The same value with every mapping's keys in another order, and lists as tuples."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    if isinstance(value, list):
        return tuple(shuffled(item, random) for item in value)
    return value


@given(VALUES, st.randoms())
def test_the_order_of_keys_does_not_matter(value, random):
    assert canonical_json(shuffled(value, random)) == canonical_json(value)


@given(VALUES)
def test_canonical_json_reads_back(value):
    assert json.loads(canonical_json(value)) == value


@given(VALUES, VALUES)
def test_one_digest_means_one_value(one, other):
    # 1, 1.0 and True are equal in Python and not in JSON, so the comparison is by JSON's own text
    assert (digest(one) == digest(other)) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


WITHOUT_FORM = [
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    ({1, 2}, "builtins.set"),
    (b"bytes", "builtins.bytes"),
    (object(), "builtins.object"),
    (np.float32("nan"), "nan"),
    (np.complex64(1), "numpy.complex64"),
    (np.longdouble(1), "numpy.longdouble"),
    (np.datetime64("2024-01-01"), "numpy.datetime64"),
    (np.zeros(2), "numpy.ndarray"),
    (np.array(3), "numpy.ndarray"),
]


@pytest.mark.parametrize(("value", "named"), WITHOUT_FORM, ids=[named for _, named in WITHOUT_FORM])
def test_what_has_no_canonical_form_raises_with_its_path(value, named):
    with pytest.raises(TypeError, match=f"^value: {named}"):
        canonical_json(value)
    with pytest.raises(TypeError) as error:
        digest({"requested": [{"size": 1}, {"size": value}]})
    assert str(error.value).startswith(f".requested[1].size: {named}")


def test_numpy_scalars_have_the_form_of_the_python_value():
    given = {"passed": np.bool_(True), "rows": [np.int64(3), np.uint8(255)], "at": (np.float64(0.1), np.float32(0.1))}
    plain = {"passed": True, "rows": [3, 255], "at": [0.1, 0.10000000149011612], "kind": "frost"}
    assert canonical_json({**given, "kind": np.str_("frost")}) == canonical_json(plain)


def test_a_key_that_is_no_string_raises():
    with pytest.raises(TypeError, match=r"\.a: key 1 is int, not str"):
        canonical_json({"a": {1: 2}})


@given(st.lists(st.text(max_size=5) | st.integers(), min_size=1, max_size=4))
def test_seeds_are_63_bits_and_stable(parts):
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    assert derive_seed(*parts) == seed


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=2, max_size=4))
def test_seeds_depend_on_where_one_part_ends(parts):
    joined = ["".join(parts)]
    assert derive_seed(*parts) != derive_seed(*joined)


def test_seeds_of_neighbours_have_nothing_in_common():
    seeds = np.array([derive_seed(0, "fog", str(i), "") for i in range(2000)], dtype=np.uint64)
    assert len(set(seeds.tolist())) == 2000
    bits = np.unpackbits(seeds.view(np.uint8).reshape(-1, 8), axis=1)
    used = np.delete(bits, 56, axis=1)  # little-endian bytes: bit 63 is the first of the last byte, always zero
    assert not bits[:, 56].any()
    assert np.abs(used.mean(axis=0) - 0.5).max() < 0.06  # 5 sigma of 2000 fair coins
    agree = (used[:, :, None] == used[:, None, :]).mean(axis=0)
    np.fill_diagonal(agree, 0.5)
    assert np.abs(agree - 0.5).max() < 0.065


def test_digests_are_the_same_in_another_process():
    value = {"b": [1, 2.5, None, True], "a": "ü", "ids": {str(i): i for i in range(50)}}
    code = f"from variorum.schemas.canonical import *; v = {value!r}\n"
    code += "print(digest(v), short_digest(v), derive_seed(1, 'x'))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [digest(value), short_digest(value), str(derive_seed(1, "x"))]


def test_many_digests_are_those_of_one_after_the_other():
    common, each = {"classes": ["ä", "b"], "split": 1}, [{"start": k, "stop": k + 1} for k in range(3)]
    assert list(digests(common, each)) == [digest({**common, **one}) for one in each]
    with pytest.raises(ValueError, match="'seed' doesn't come behind 'split'"):
        next(digests(common, [{"seed": 1, "start": 2}]))


@pytest.mark.parametrize("number", [0, 1, AT_ONCE, AT_ONCE + 1])
def test_a_long_list_has_the_digest_of_the_whole(number):
    values = [[f"ä{place}", None, {"b": 1, "a": place}] for place in range(number)]
    assert digest_of_each(iter(values)) == digest(values)
