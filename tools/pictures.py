#!/usr/bin/env python3
"""Takes the pictures that the tests of the pages left in target/console into docs/images, each in the few colours that it has."""
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["admin", "admin-dark", "admin-phone", "jobs", "job", "me", "keys", "models", "tenant"]

images = ROOT / "docs" / "images"
images.mkdir(exist_ok=True)
for name in NAMES:
    picture = Image.open(ROOT / "target" / "console" / f"{name}.png").convert("RGB")
    picture.quantize(colors=128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(images / f"{name}.png", optimize=True)
    print(f"pictures: docs/images/{name}.png, {(images / f'{name}.png').stat().st_size >> 10} KiB")
