"""Several photographs of each small one, as reports and cards show no figure of fewer than thirty."""

from pathlib import Path

from PIL import Image


def three_of_each(photographs: Path, place: Path) -> None:
    """Write three crops of each JPEG below a folder to the same place below another one."""
    for photograph in sorted(photographs.rglob("*.jpg")):
        inside = place / photograph.parent.relative_to(photographs)
        inside.mkdir(parents=True, exist_ok=True)
        with Image.open(photograph) as image:
            for number in range(3):
                image.crop((8 * number, 0, 8 * number + 64, 64)).save(inside / f"{photograph.stem}_{number}.png")
