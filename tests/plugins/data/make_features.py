"""Makes `stamps_efficientnet_lite0.npz`: what a real network sees in real photographs, without the photographs.

    python tests/plugins/data/make_features.py

Each of Tux Paint's photographic cut-outs (Debian's `tuxpaint-stamps-default`) that a pattern below names is laid on a
grey plate, and the alias `encoder` (EfficientNet-Lite0, 1280 pooled features) looks at it. What is kept:
`features [N, 1280]` float16, `superclass [N]` (-1 for what belongs to none of the nine `classes`: the
out-of-distribution part), and `names [N]`, the stamps' paths. No picture can be had back from them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from variorum.arrays import Pixels
from variorum.models import ModelTable
from variorum.sources.exports.stamps import stamps_folder

TARGET = Path(__file__).with_name("stamps_efficientnet_lite0.npz")

SUPERCLASSES = {
    "bird": "animals/birds/*",
    "hoofed": "animals/mammals/{bovines,camel,deer,equines}/* animals/mammals/{giraffe,pig*,wildboar}",
    "beast": "animals/mammals/{apes,bears,cats,dogs,lagomorphs,rodents}/* animals/marsupials/* "
    "animals/mammals/{badger,elephant,ferret,hippopotamus,rhino_black} animals/mammals/aquatic/*",
    "underwater": "animals/fish/* animals/shellfish/*",
    "insect": "animals/insects/*",
    "fruit": "food/fruit/*",
    "vegetable": "food/vegetables/*",
    "flower": "plants/flowers/*",
    "vehicle": "vehicles/auto/* vehicles/{construction,cycle,emergency,race,ship,masstransit,locomotive}/* "
    "vehicles/flight/planes/* vehicles/{garbagetruck,blue_truck} military/vehicles/*",
}
"""What is in distribution."""
OTHERS = (
    "hobbies/music/*/* hobbies/{binoculars,camera_35mm} household/* household/tools/* household/dishes/* "
    "household/dishes/utensils/* household/arttools/* sports/* symbols/money/*/coins/* space/solarsystem/* "
    "space/solarsystem/moon/* seasonal/halloween/grave-* medical/* town/roadsigns/* town/*box "
    "town/monuments/inukshuk-photo clothes/{clotheshanger,clothespin_*,glasses1}"
)
"""What is not."""
DRAWN = (
    "kitten echidna hedgehog bee fly iso_bus motorbike clockface blankroadsign arrow tooth 7_uranus calculator camera "
    "clothes_iron fridge recyclingbox recyclingbox2 edward_bear tealight roundabout rugby_goal_posts stoplight_01_red "
    "stoplight_02_yellow stoplight_03_green crossroads t-junction walnutBoat Washing-machine wrench_adjustable key "
    "hospital screwdriver toilets"
)
"""Names of drawings among them."""


def paths(root: Path, patterns: str) -> list[str]:
    """Stamps that the patterns name, in order; `{a,b}` stands for either."""
    found: set[str] = set()
    for pattern in patterns.split():
        head, brace, rest = pattern.partition("{")
        inner, _, tail = rest.partition("}")
        for choice in inner.split(",") if brace else [""]:
            found |= {path.relative_to(root).as_posix() for path in root.glob(f"{head}{choice}{tail}.png")}
    return sorted(name for name in found if Path(name).stem not in DRAWN.split() and not name.endswith("_mirror.png"))


def on_grey(stamp: Image.Image) -> Pixels:
    """The cut-out, its longer side 200 pixels, in the middle of a grey square of 288."""
    cut = stamp.crop(stamp.getbbox())
    scale = 200 / max(cut.size)
    cut = cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.Resampling.BICUBIC)
    plate = Image.new("RGB", (288, 288), (128, 128, 128))
    plate.paste(cut, ((288 - cut.width) // 2, (288 - cut.height) // 2), cut)
    return np.asarray(plate)


def main() -> None:
    """Write the file anew."""
    root = stamps_folder()
    assert root is not None, "install tuxpaint-stamps-default or name the folder in VARIORUM_STAMPS"
    groups = [paths(root, patterns) for patterns in (*SUPERCLASSES.values(), OTHERS)]
    names = [name for group in groups for name in group]
    superclass = np.repeat([*range(len(SUPERCLASSES)), -1], [len(group) for group in groups])
    pictures = []
    for name in names:
        with Image.open(root / name) as image:
            pictures.append(on_grey(image.convert("RGBA")))
    encoder = ModelTable("embedded").get("encoder")
    np.savez_compressed(
        TARGET,
        features=encoder(pictures).astype(np.float16),
        superclass=superclass.astype(np.int8),
        names=np.array(names),
        classes=np.array(list(SUPERCLASSES)),
    )


if __name__ == "__main__":
    main()
