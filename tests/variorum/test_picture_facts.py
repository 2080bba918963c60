"""What files say about their pictures: real files of all formats, with provenance put in where standards want it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from variorum.picture_facts import MAX_PROFILE_NAME, MAX_XMP, PictureFacts, picture_facts
from variorum.pixels import FORMATS, UndecodableImage, decode, upright_size

SIZE = 48, 32
"""Width and height of the pictures."""
TERM = "trainedAlgorithmicMedia"
URI = f"http://cv.iptc.org/newscodes/digitalsourcetype/{TERM}"
STORE = bytes.fromhex("6332706100110010800000AA00389B71")
ENDINGS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "PPM": "ppm",
    "JPEG2000": "jp2",
    "AVIF": "avif",
}


def saved(format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    pixels = np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.uint8).reshape(SIZE[1], SIZE[0], 3)
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def xmp(properties: str, *, inside: str = "", kind: str = "Iptc4xmpExt") -> bytes:
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:{kind}="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" {properties}>{inside}</rdf:Description>
</rdf:RDF></x:xmpmeta>{" " * 50}<?xpacket end="w"?>""".encode()


def as_attribute(uri: str = URI) -> bytes:
    return xmp(f'Iptc4xmpExt:DigitalSourceType="{uri}"')


def as_element(inner: str) -> bytes:
    return xmp("", inside=inner)


def box(kind: bytes, body: bytes, *, long: bool = False) -> bytes:
    if long:
        return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body
    return struct.pack(">I4s", 8 + len(body), kind) + body


def store(kind: bytes = STORE, *, long: bool = False) -> bytes:
    """A JUMBF superbox of this type with something in it."""
    return box(b"jumb", box(b"jumd", kind + b"\x03c2pa\0") + box(b"cbor", bytes(64)), long=long)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def in_png(chunk: bytes, *, late: bool = False) -> bytes:
    data = saved("PNG")
    place = data.rindex(b"IEND") - 4 if late else data.index(b"IDAT") - 4
    return data[:place] + chunk + data[place:]


def in_jpeg(*segments: bytes) -> bytes:
    data = saved("JPEG")
    parts = (b"\xff\xeb" + struct.pack(">H", len(segment) + 2) + segment for segment in segments)
    return data[:2] + b"".join(parts) + data[2:]


def in_webp(*chunks: tuple[bytes, bytes]) -> bytes:
    data = saved("WEBP")
    for kind, body in chunks:
        data += kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


# ── format, size, orientation, profile ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_that_is_decoded_has_an_ending(format):
    facts = picture_facts(saved(format))
    assert facts == PictureFacts(ENDINGS[format], SIZE[1], SIZE[0], 1, "", False, "")


def test_the_ending_follows_from_the_content():
    two = Image.new("RGB", SIZE)
    buffer = io.BytesIO()
    two.save(buffer, "MPO", save_all=True, append_images=[two.copy()])  # as phones write it
    assert picture_facts(buffer.getvalue()).ending == "jpg"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else [])])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(format, exif=exif.tobytes())
    facts = picture_facts(data)
    assert (facts.height, facts.width) == decode(data).shape[:2] == upright_size(data)
    assert (facts.height > facts.width) == (orientation >= 5)
    assert facts.orientation == orientation


def test_exif_after_the_pixels_of_a_png_turns_it_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = in_png(png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")), late=True)
    facts = picture_facts(data)
    assert (facts.height, facts.width) == decode(data).shape[:2] == upright_size(data) == SIZE
    assert facts.orientation == 6


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_doesn_t_exist_turns_nothing(value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert picture_facts(saved("JPEG", exif=exif)).orientation == 1


def profile(name: str) -> bytes:
    """A profile of sRGB whose description is this."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    text = name.encode("utf-16-be")
    text = b"mluc" + struct.pack(">III4sII", 0, 1, 12, b"enUS", len(text), 28) + text
    for tag in range(struct.unpack_from(">I", data, 128)[0]):
        if data[132 + 12 * tag : 136 + 12 * tag] == b"desc":
            struct.pack_into(">II", data, 136 + 12 * tag, len(data), len(text))
    data += text + bytes(-len(text) % 4)
    struct.pack_into(">I", data, 0, len(data))
    return bytes(data)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_is_named(format):
    assert picture_facts(saved(format, icc_profile=profile("Display P3"))).profile == "Display P3"


def test_a_profile_s_name_is_short_and_printable_whatever_the_file_says():
    name = picture_facts(saved("PNG", icc_profile=profile("A\x1b[31m\n" + "x" * 500))).profile
    assert name == "A[31m" + "x" * (MAX_PROFILE_NAME - 5)
    assert picture_facts(saved("PNG", icc_profile=b"no profile")).profile == ""


# ── content credentials ──────────────────────────────────────────────────────────────────────────────────────────────


def app11(box_: bytes, number: int = 1) -> bytes:
    return b"JP" + struct.pack(">HI", 1, number) + box_


WITH = {
    "JPEG": in_jpeg(app11(store())),
    "JPEG, long box": in_jpeg(app11(store(long=True))),
    "JPEG, other box first": in_jpeg(app11(store(b"\0" * 16)), app11(store())),
    "JPEG, two segments": in_jpeg(app11(store()[:60]), app11(store()[:8] + store()[60:], 2)),
    "PNG": in_png(png_chunk(b"caBX", store())),
    "PNG, after the pixels": in_png(png_chunk(b"caBX", store()), late=True),
    "WebP": in_webp((b"C2PA", store())),
    "WebP, after a chunk of odd length": in_webp((b"XXXX", b"odd"), (b"C2PA", store())),
    "AVIF": (saved("AVIF") if features.check("avif") else b"")
    + box(b"uuid", bytes.fromhex("D8FEC3D61B0E483C92975828877EC481") + bytes(4) + b"manifest\0" + bytes(8) + store()),
    "TIFF": saved("TIFF", tiffinfo={0xCD41: store()}),
}
WITHOUT = {
    "JPEG, plain": saved("JPEG"),
    "JPEG, another kind of box": in_jpeg(app11(store(b"\0" * 16))),
    "JPEG, another kind of segment": in_jpeg(b"XX" + app11(store())[2:]),
    "JPEG, a comment that says it": saved("JPEG", comment=store() + b"JP c2pa jumb"),
    "PNG, a text that says it": in_png(png_chunk(b"teXt", store())),
    "PNG, an empty chunk": in_png(png_chunk(b"caBX", b"")),
    "WebP, another chunk": in_webp((b"C2PX", store())),
    "after the end of a PNG": saved("PNG") + png_chunk(b"caBX", store()),
    "after the end of a JPEG": saved("JPEG") + in_jpeg(app11(store())),
}


@pytest.mark.parametrize("name", [name for name in WITH if name != "AVIF" or features.check("avif")])
def test_credentials_are_seen(name):
    assert picture_facts(WITH[name]).credentials
    decode(WITH[name])  # it is a picture like others


@pytest.mark.parametrize("name", WITHOUT)
def test_what_only_looks_like_credentials_is_none(name):
    assert not picture_facts(WITHOUT[name]).credentials


# ── IPTC's digital source type ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else [])])
def test_the_source_type_is_read_from_xmp(format):
    options = {"tiffinfo": {700: as_attribute()}} if format == "TIFF" else {"xmp": as_attribute()}
    assert picture_facts(saved(format, **options)).digital_source_type == TERM


@pytest.mark.parametrize("late", [False, True])
def test_the_source_type_is_read_from_a_png_s_text(late):
    for language in (b"", b"en"):
        body = b"XML:com.adobe.xmp\0\0\0" + language + b"\0\0" + as_attribute()
        assert picture_facts(in_png(png_chunk(b"iTXt", body), late=late)).digital_source_type == TERM


@pytest.mark.parametrize(
    "packet",
    [
        as_attribute(f"  {URI} "),
        as_attribute(URI.replace("http:", "https:")),
        as_element(f"<Iptc4xmpExt:DigitalSourceType>{URI}</Iptc4xmpExt:DigitalSourceType>"),
        as_element(f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{URI}"/>'),
        xmp(f'other:DigitalSourceType="{URI}"', kind="other"),  # the namespace counts, not its prefix
        as_attribute() + b"\0" * 9,
    ],
)
def test_all_ways_to_write_it_are_understood(packet):
    assert picture_facts(saved("JPEG", xmp=packet)).digital_source_type == TERM


INGREDIENT = f"""<xmpMM:Pantry><rdf:Bag><rdf:li><rdf:Description Iptc4xmpExt:DigitalSourceType="{URI}"/></rdf:li>
</rdf:Bag></xmpMM:Pantry>"""
EXPANDING = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "packet",
    [
        as_attribute("http://cv.iptc.org/newscodes/digitalsourcetype/somethingElse"),
        as_attribute(f"http://example.org/{TERM}"),
        as_attribute(TERM),
        as_attribute("../../etc/passwd"),
        as_attribute("<"),
        as_element(INGREDIENT),  # it speaks of another picture
        as_element("<Iptc4xmpExt:DigitalSourceType/>"),
        as_attribute()[:-90],
        as_attribute().decode().encode("utf-16"),
        EXPANDING + as_attribute(),
        b'<?xml version="1.0" encoding="nonsense"?>' + as_attribute(),
        b"DigitalSourceType",
        b"",
    ],
)
def test_whatever_else_it_says_is_no_source_type(packet):
    assert picture_facts(saved("JPEG", xmp=packet)).digital_source_type == ""


def test_endless_xmp_isn_t_parsed():
    data = saved("WEBP", xmp=as_attribute().replace(b" " * 50, b" " * MAX_XMP))
    assert picture_facts(data).digital_source_type == ""


# ── garbage ──────────────────────────────────────────────────────────────────────────────────────────────────────────

WHOLE = [*WITH.values(), *WITHOUT.values(), *(saved(format) for format in FORMATS), saved("WEBP", xmp=as_attribute())]


def facts_or_none(data: bytes) -> PictureFacts | None:
    try:
        return picture_facts(data)
    except UndecodableImage:
        return None


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([data for data in WHOLE if data]), st.data())
def test_a_damaged_file_gives_facts_or_the_error_of_decoding(data, draw):
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 6), "damages")):
        damaged[draw.draw(st.integers(0, len(damaged) - 1), "place")] = draw.draw(st.integers(0, 255), "byte")
    facts = facts_or_none(bytes(damaged[: draw.draw(st.integers(0, len(damaged)), "length")]))
    assert facts is None or (facts.height > 0 and facts.width > 0 and 1 <= facts.orientation <= 8)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
@pytest.mark.parametrize("part", [b"pitm", b"iloc"])
def test_an_avif_without_a_part_is_corrupt(part):
    data = saved("AVIF").replace(part, b"none")
    for read in (decode, upright_size, picture_facts):
        with pytest.raises(UndecodableImage, match="corrupt: "):
            read(data)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_an_avif_with_broken_pixels_is_corrupt():
    data = saved("AVIF")
    data = data[: data.index(b"mdat") + 6].ljust(len(data), b"\0")
    for read in (decode, picture_facts):  # its size isn't known without them
        with pytest.raises(UndecodableImage, match="corrupt: "):
            read(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x89PNG\r\n\x1a\n")
@example(b"RIFF\0\0\0\0WEBP")
def test_garbage_is_no_picture(data):
    assert facts_or_none(data) is None or data[:2] in (
        b"P1",
        b"P2",
        b"P3",
        b"P4",
        b"P5",
        b"P6",
        b"BM",
        b"Pf",
        b"PF",
        b"Py",
    )
