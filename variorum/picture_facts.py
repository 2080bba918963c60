"""Read a picture file's facts: format, upright size, colour profile and provenance.

Only the header and the list of the file's parts are read, never pixels, so a photograph costs some 0.1 ms.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple
from xml.etree import ElementTree

from PIL import ExifTags, Image, ImageCms, JpegImagePlugin, TiffImagePlugin

from variorum.pixels import (
    MAX_CHUNKS,
    UndecodableImage,
    open_header,
    orientation,
    png_chunks,
    quiet,
    upright_size_of,
)

ENDINGS = {
    "JPEG": "jpg",
    "MPO": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "JPEG2000": "jp2",
    "AVIF": "avif",
    "PPM": "ppm",
}
"""Pillow's names of formats to the endings of their files."""
SOURCE_TYPES = frozenset(
    (
        "algorithmicMedia",
        "algorithmicallyEnhanced",
        "composite",
        "compositeCapture",
        "compositeSynthetic",
        "compositeWithTrainedAlgorithmicMedia",
        "computationalCapture",
        "dataDrivenMedia",
        "digitalArt",
        "digitalCapture",
        "digitalCreation",
        "humanEdits",
        "minorHumanEdits",
        "negativeFilm",
        "positiveFilm",
        "print",
        "screenCapture",
        "softwareImage",
        "trainedAlgorithmicMedia",
        "virtualRecording",
    )
)
"""Terms of IPTC's vocabulary DigitalSourceType, the retired ones included: old files have them."""
VOCABULARY = "cv.iptc.org/newscodes/digitalsourcetype"
MAX_XMP = 1 << 20
"""Bytes of XMP that are read; more hold copies of other files' metadata."""
MAX_PROFILE_NAME = 80

MAX_EXIF = 1 << 16
"""Bytes of a block of EXIF: that of a JPEG's segment."""

_EXIF, _GPS_NAMES = b"Exif\0\0", (b"GPSLatitude", b"GPSLongitude")
_PNG_TEXTS = frozenset((b"eXIf", b"iTXt", b"tEXt", b"zTXt"))
_GPS_TAGS = frozenset((2, 4, 20, 22))  # latitudes and longitudes, of the camera and of what it was pointed at
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
_STORE = bytes.fromhex("6332706100110010800000AA00389B71")  # type of the JUMBF box that C2PA's manifests are in
_STORE_UUID = bytes.fromhex("D8FEC3D61B0E483C92975828877EC481")  # type of the box around it in ISO BMFF files
_STORE_TAG = 0xCD41  # of TIFF
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0"  # uncompressed, as XMP's specification wants it


class PictureFacts(NamedTuple):
    """Facts in a picture's file.

    Attributes:
        ending: of a file with this content, such as `jpg`; `""` for another format.
        height: of the upright picture in pixels.
        width: of the upright picture in pixels.
        orientation: how the stored pixels lie, 1 to 8 as in EXIF; 1 is upright.
        profile: the description of the ICC profile, at most MAX_PROFILE_NAME printable characters; `""` for none.
        credentials: whether it has content credentials: a C2PA manifest store inside the file. They aren't verified.
        digital_source_type: IPTC's term for where the picture comes from, as its XMP says; `""` for none.
    """

    ending: str
    height: int
    width: int
    orientation: int
    profile: str
    credentials: bool
    digital_source_type: str


def picture_facts(data: bytes) -> PictureFacts:
    """Read the facts about a picture from the bytes of its file.

    Raises:
        UndecodableImage: the header can't be read, or the picture is a bomb; the same as `upright_size`.
    """
    image = open_header(data, 1)
    height, width = upright_size_of(image)
    return PictureFacts(
        ENDINGS.get(image.format or "", ""),
        height,
        width,
        orientation(image),
        _profile_name(profile) if (profile := image.info.get("icc_profile")) else "",
        _has_credentials(image, data),
        _source_type(_xmp(image, data)),
    )


def has_position(data: bytes) -> bool:
    """Return whether a file says where its picture, or a further one within it, was taken, in EXIF or XMP.

    EXIF that can't be read counts as none, and so does a file that is no picture, unless it has XMP as text.
    """
    if any(name in data for name in _GPS_NAMES):  # of XMP, as a rule
        return True
    blocks, start = list[Image.Exif](), data.find(_EXIF)
    while start >= 0 and len(blocks) < MAX_CHUNKS:
        block = Image.Exif()
        with suppress(Exception), quiet():  # broken EXIF raises many kinds of errors
            block.load(data[start : start + MAX_EXIF])
            blocks.append(block)
        start = data.find(_EXIF, start + len(_EXIF))
    with suppress(UndecodableImage):
        image = open_header(data, 1)
        if image.format == "PNG":
            if _PNG_TEXTS.isdisjoint(kind for kind, _ in png_chunks(data)):
                return False
            with suppress(Exception), quiet():
                image.load()  # what comes after the pixels
        texts = (text.encode() if isinstance(text, str) else text for text in image.info.values())
        if any(name in text for text in texts if isinstance(text, bytes) for name in _GPS_NAMES):
            return True
        with suppress(Exception), quiet():
            blocks.append(image.getexif())
    return any(map(_names_position, blocks))


def _names_position(exif: Image.Exif) -> bool:
    with suppress(Exception), quiet():
        return not _GPS_TAGS.isdisjoint(exif.get_ifd(ExifTags.IFD.GPSInfo))
    return False


@lru_cache(maxsize=64)
def _profile_name(profile: bytes) -> str:
    """The profile's description; `""` for a profile that can't be read."""
    try:
        name = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.profile_description or ""
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return ""
    return "".join(sign for sign in name if sign.isprintable()).strip()[:MAX_PROFILE_NAME]


def _has_credentials(image: Image.Image, data: bytes) -> bool:
    """Return whether there is a manifest store where C2PA's specification puts it in this format (annex A)."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # after ISO 19566-5: JP, the box's number, and that of the segment; each segment repeats the box's header
        return any(kind == "APP11" and part[:2] == b"JP" and _is_store(part[8:]) for kind, part in image.applist)
    if image.format == "PNG":
        return any(kind == b"caBX" and _is_store(body) for kind, body in png_chunks(data))
    if image.format == "WEBP":
        return any(kind == b"C2PA" and _is_store(body) for kind, body in _riff_chunks(data))
    if image.format == "AVIF":
        return any(kind == b"uuid" and body[:16] == _STORE_UUID for kind, body in _boxes(data))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _STORE_TAG in image.tag_v2
    return False


def _is_store(box: bytes | memoryview) -> bool:
    """Return whether a JUMBF box (ISO 19566-5) is a C2PA manifest store: a superbox with a description of that type."""
    inner = 16 if box[:4] == b"\0\0\0\1" else 8  # a long box has its length after its type
    return box[4:8] == b"jumb" and box[inner + 4 : inner + 8] == b"jumd" and box[inner + 8 : inner + 24] == _STORE


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each chunk of a RIFF file such as WebP."""
    view, place = memoryview(data), 12
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, place)
        yield kind, view[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _boxes(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each outer box of an ISO BMFF file such as AVIF."""
    view, place = memoryview(data), 0
    for _ in range(MAX_CHUNKS):
        if place + 16 > len(data):
            return
        length, kind, long = struct.unpack_from(">I4sQ", data, place)
        start, length = (16, long) if length == 1 else (8, length or len(data) - place)
        if length < start:
            return
        yield kind, view[place + start : place + length]
        place += length


def _xmp(image: Image.Image, data: bytes) -> bytes:
    """The XMP packet; empty for none. In a PNG it may come after the pixels, which Pillow doesn't read."""
    found = image.info.get("xmp")
    if found is None and image.format == "PNG":
        texts = (body for kind, body in png_chunks(data) if kind == b"iTXt")
        starts = len(_PNG_XMP)
        found = next((body[starts:] for body in texts if body[:starts] == _PNG_XMP), b"")
        found = bytes(found).partition(b"\0")[2].partition(b"\0")[2]  # after the language and the translated keyword
    return found if isinstance(found, bytes) else b""


def _source_type(xmp: bytes) -> str:
    """The DigitalSourceType that an XMP packet gives the picture itself; `""` for none or one of another vocabulary."""
    if b"DigitalSourceType" not in xmp or b"<!DOCTYPE" in xmp or len(xmp) > MAX_XMP:
        return ""  # XMP has no document type, and one could define entities that expand without end
    try:
        root = ElementTree.fromstring(xmp.strip(b"\0\t\n\r "))  # noqa: S314
    except (ElementTree.ParseError, ValueError, LookupError):
        return ""
    outer = root if root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF")
    for about in () if outer is None else outer.iterfind(f"{_RDF}Description"):
        value = about.get(_SOURCE_TYPE)
        if value is None and (element := about.find(_SOURCE_TYPE)) is not None:
            value = element.get(f"{_RDF}resource") or element.text
        vocabulary, _, term = (value or "").strip().rpartition("/")
        if vocabulary.partition("://")[2] == VOCABULARY and term in SOURCE_TYPES:
            return term
    return ""
