#!/usr/bin/env python3
"""Pictures of a report's sections: pictures.py REPORT/report.html OUT. Needs chromium and Pillow.

Writes OUT/table.png, quality.png, layers.png, parts.png, kinds.png and costs.png, each a section of the page, at twice its size.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

# In the order of the page.
SECTIONS = ("table", "quality", "layers", "parts", "kinds", "costs")


def picture(page: str, section: int, target: Path) -> None:
    """One section on white, cut to what is drawn."""
    style = (
        f"section:not(:nth-of-type({section})), header, footer {{ display: none }} body {{ background: #fff }} section {{ border: 0 }}")
    with tempfile.TemporaryDirectory() as folder:
        alone, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
        alone.write_text(page.replace("</style>", style + "</style>", 1), encoding="utf-8")
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=2",
             "--window-size=1240,1600", f"--screenshot={shot}", alone.as_uri()], check=True, capture_output=True)
        image = Image.open(shot).convert("RGB")
    box = ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox()
    if box is None:
        raise SystemExit(f"{target.name}: nothing is drawn")
    left, top, right, bottom = box
    image = image.crop((max(0, left - 24), max(0, top - 24), min(image.width, right + 24), min(image.height, bottom + 24)))
    image.quantize(128).save(target, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    page = options.report.read_text(encoding="utf-8")
    options.out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(SECTIONS, start=1):
        picture(page, number, options.out / f"{name}.png")


if __name__ == "__main__":
    main()
