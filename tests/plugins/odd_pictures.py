"""Files that every generator must turn into pictures or into rows with a reason."""

import numpy as np
from PIL import Image


def write_odd_pictures(folder, pixels):
    """A photograph as `alpha.png`, `grey.png`, `palette.png`, `sixteen.png` and `tiny.png`, `flat.png` and `cut.jpg`.

    `alpha.png` is opaque in its middle alone, `tiny.png` has 20 pixels a side, `flat.png` has one level, and `cut.jpg`
    ends after four bytes.
    """
    photo = Image.fromarray(pixels)
    width, height = photo.size
    opacity = Image.new("L", photo.size, 0)
    opacity.paste(255, (width // 4, height // 4, width * 3 // 4, height * 3 // 4))
    seen = photo.convert("RGB")
    seen.putalpha(opacity)
    seen.save(folder / "alpha.png")
    grey = photo.convert("L")
    grey.save(folder / "grey.png")
    photo.convert("P").save(folder / "palette.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "sixteen.png")
    photo.resize((20, 20)).save(folder / "tiny.png")
    Image.new("RGB", (64, 64), (90, 90, 90)).save(folder / "flat.png")
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
