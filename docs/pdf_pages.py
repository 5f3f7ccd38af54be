"""Make the picture of pages of candidates that the README shows, from what `darc demo` left.

    python docs/pdf_pages.py [FOLDER OF THE DEMO]

Needs pdftoppm (Debian: poppler-utils).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOTS_PER_INCH = 100
#: The part of a page that three candidates fill, and the frame around it, in dots.
PART = (0, 0, 920, 330)
TARGET = Path(__file__).parent / "images" / "candidates.png"


def main() -> None:
    """Put the first two pages of the first beam, frequency and DM against time, below each other."""
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    (pages,) = demo.glob("results/*/*/CB00.pdf")
    with tempfile.TemporaryDirectory() as name:
        command = ["pdftoppm", "-r", str(DOTS_PER_INCH), "-l", "2", "-png", str(pages), f"{name}/page"]
        subprocess.run(command, check=True)
        parts = [Image.open(path).convert("RGB").crop(PART) for path in sorted(Path(name).glob("*.png"))]
    whole = Image.new("RGB", (PART[2], PART[3] * len(parts)), "white")
    for number, part in enumerate(parts):
        whole.paste(part, (0, PART[3] * number))
    whole.quantize(128).save(TARGET, optimize=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
