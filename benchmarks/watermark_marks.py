"""Marks: pictures per CPU second beside invisible-watermark, with the quality and the bits that each leaves.

Both mark the same 512 x 512 photographs with 32 bits, in rounds that take turns. The peer's `dwtDct` and `dwtDctSvd`
get one picture at a time, as in its README. It isn't among the extras, as it asks for OpenCV with windows and for
torch: `pip install --no-deps invisible-watermark PyWavelets`. Without it, it is left out. Two limits are timed in the
same rounds: the colour conversion to luminance that every such mark needs, and the PNG of the unmarked picture.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from imagenet_c import photographs
from timing import Work, median, ratio, rounds

from variorum.arrays import Pixels
from variorum.generators.watermark.marks.dwt_dct import DwtDct
from variorum.generators.watermark.marks.dwt_dct_svd import DwtDctSvd
from variorum.generators.watermark.marks.spread_spectrum import SpreadSpectrum
from variorum.generators.watermark.marks.stdm import Stdm
from variorum.generators.watermark.watermarking.quality import psnr
from variorum.pixels import encode_png
from variorum.schemas.component import Context
from variorum.schemas.watermark import Mark, random_of

SIDE = 512
BITS = 32
CTX = Context(0, None, None)  # these marks use no model
MARKS: dict[str, Mark] = {
    "stdm": Stdm(),
    "dwt_dct_svd": DwtDctSvd(),
    "dwt_dct": DwtDct(),
    "spread_spectrum": SpreadSpectrum(),
}
PEERS = {"peer_dwtDct": "maxDct.EmbedMaxDct", "peer_dwtDctSvd": "dwtDctSvd.EmbedDwtDctSvd"}
Embed = Callable[[Sequence[Pixels]], Sequence[Pixels]]
Detect = Callable[[Sequence[Pixels]], "np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None"]


def squares(number: int) -> list[Pixels]:
    """The middle squares of photographs, some of them twice: the second time mirrored."""
    found = []
    for picture in photographs():
        short = min(picture.shape[:2])
        top, left = ((length - short) // 2 for length in picture.shape[:2])
        found.append(cv2.resize(picture[top : top + short, left : left + short], (SIDE, SIDE)))
    found += [np.ascontiguousarray(picture[:, ::-1]) for picture in found]
    return [np.asarray(picture, np.uint8) for picture in found[:number]]


def jpeg(image: Pixels, quality: int) -> Pixels:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def ours(mark: Mark, keys: list[bytes]) -> tuple[Embed, Detect]:
    return lambda images: mark.embed(images, keys, CTX), lambda images: mark.detect(images, keys, CTX).bits


def peer(method: str, payloads: list[list[int]]) -> tuple[Embed, Detect]:
    module, name = method.split(".")
    cls = getattr(importlib.import_module(f"imwatermark.{module}"), name)
    workers = [cls(payload, wmLen=BITS) for payload in payloads]

    def embed(images: Sequence[Pixels]) -> list[Pixels]:
        pairs = zip(workers, images, strict=True)
        return [np.ascontiguousarray(one.encode(np.ascontiguousarray(x[..., ::-1]))[..., ::-1]) for one, x in pairs]

    def detect(images: Sequence[Pixels]) -> np.ndarray:
        pairs = zip(workers, images, strict=True)
        return np.array([one.decode(np.ascontiguousarray(image[..., ::-1])) for one, image in pairs], bool)

    return embed, detect


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    images = squares(asked.pictures)
    keys = [random_of(bytes(32), f"picture {place}").bytes(32) for place in range(len(images))]
    payloads = Stdm().payloads(keys)
    methods = {name: ours(mark, keys) for name, mark in MARKS.items()}
    if importlib.util.find_spec("imwatermark") and importlib.util.find_spec("pywt"):
        bits = payloads.astype(int).tolist()
        methods |= {name: peer(method, bits) for name, method in PEERS.items()}
    found: dict[str, dict[str, float]] = {}
    work: dict[str, Work] = {
        "luminance": lambda: [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images],
        "png": lambda: [encode_png(image) for image in images],
    }
    for name, (embed, detect) in methods.items():
        marked = list(embed(images))
        row = {"psnr": round(float(np.mean([psnr(*pair) for pair in zip(images, marked, strict=True)])), 2)}
        for what, changed in (("clean", marked), *((f"jpeg{q}", [jpeg(x, q) for x in marked]) for q in (90, 50))):
            read = detect(changed)
            if read is not None:
                row[f"bits_{what}"] = round(float((read == payloads).mean()), 4)
        found[name] = row
        work[f"{name} embed"] = lambda embed=embed: embed(images)
        work[f"{name} detect"] = lambda detect=detect, marked=marked: detect(marked)
    timed = rounds(work, asked.rounds)
    for name, row in found.items():
        for step in ("embed", "detect"):
            row[f"{step}_per_s"] = round(len(images) / median(timed, f"{name} {step}"), 1)
            row[f"{step}_to_luminance"] = ratio(timed, f"{name} {step}", "luminance")
            row[f"{step}_to_png"] = ratio(timed, f"{name} {step}", "png")
            for other in PEERS:
                if other in found and name not in PEERS:
                    row[f"{step}_times_as_fast_as_{other}"] = ratio(timed, f"{other} {step}", f"{name} {step}")
    absent = {} if any(name in found for name in PEERS) else {"invisible-watermark": "not installed, not compared"}
    print(json.dumps({"pictures": len(images), "side": SIDE, **found, **absent}))


if __name__ == "__main__":
    main()
