import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.schemas.errors import SourceError
from variorum.sources.coco_files import json_arrays
from variorum.sources.coco_files.json_arrays import elements

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text(max_size=5), st.lists(values, max_size=5) | values, max_size=4)


@given(documents, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans(), st.booleans())
def test_elements_and_their_places(tmp_path_factory, document, block, indent, ascii_only, bom):
    data = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    data = (b"\xef\xbb\xbf" if bom else b"") + data
    file = tmp_path_factory.getbasetemp() / "document.json"
    file.write_bytes(data)
    found: dict[str, list] = {}
    for element in elements(file, "document", block=block):
        of = found.setdefault(element.array, [])
        if element.length:
            assert json.loads(data[element.start : element.start + element.length]) == element.exact()
            of.append(element.exact())
    keys = {key.encode("utf-8", "surrogatepass").decode("latin-1") if not ascii_only else key for key in document}
    assert set(found) <= keys
    assert list(found.values()) == [value for value in document.values() if isinstance(value, list)]


def fails(tmp_path, data: bytes | str, **options) -> str:
    file = tmp_path / "a.json"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(SourceError) as error:
        list(elements(file, "annotations a.json", **options))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("end", range(1, 46))
def test_a_file_that_is_cut_short_says_where_it_ends(tmp_path, end):
    whole = '{"images": [{"id": 1, "x": "abc"}, {"id": 2}]}'
    assert len(whole) == 46
    message = fails(tmp_path, whole[:end], block=7)
    assert message.startswith(f"annotations a.json is cut short: it ends at byte {end}; ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is cut short: it ends at byte 0; a COCO file starts with {, expected it at byte 0"),
        ("[1, 2]", "is no valid JSON; a COCO file starts with {, expected it at byte 0"),
        ('{"images": [{"id": 1} {"id": 2}]}', "is no valid JSON; expected , or ] in the list 'images' at byte 22"),
        ('{"images": [{"id": nope}]}', "is no valid JSON; expecting value at byte 19"),
        ('{"images": [1,]}', "expecting value at byte 14"),
        ('{"images": [1],}', "expected a key after , at byte 15"),
        ('{"images" [1]}', "expected : after a key at byte 10"),
        ('{"images": [1] "b": 2}', "expected , or } at byte 15"),
        ("{3: [1]}", "expected a key in quotes instead of '3' at byte 2"),
        ('{"images": [1]} x', "expected the end of the file at byte 16"),
        ('{"images": ["a\tb"]}', "invalid control character at byte 14"),
        (b"\x1f\x8b\x08", "a COCO file starts with {, expected it at byte 0"),
        ('{"images": [' + "[" * 100_000, "values are nested too deep"),
        ('{"images": [' + "1" * 5000 + "]}", "Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_named_with_its_place(tmp_path, data, message):
    assert message in fails(tmp_path, data)


def test_an_error_in_a_large_file_is_found_without_reading_all_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(json_arrays, "LARGEST", 1000)
    data = '{"images": [1, {"id": nope}, ' + "2, " * 10_000 + "3]}"
    assert "expecting value at byte 22" in fails(tmp_path, data, block=100)
    assert "a value of more than 1000 bytes at byte 9" in fails(tmp_path, '{"info": "' + "x" * 5000 + '"}', block=100)


def test_a_text_that_is_no_utf8_is_the_matter_of_its_element(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes('{"a": ["é", "'.encode() + b'\xe9", "\\u00e9"]}')
    first, second, third = elements(file, "a")
    assert (first.exact(), third.exact()) == ("é", "é")
    with pytest.raises(ValueError, match="utf-8"):
        second.exact()


def test_a_missing_file(tmp_path):
    with pytest.raises(SourceError, match="can't be read: No such file"):
        list(elements(tmp_path / "none.json", "annotations none.json"))
