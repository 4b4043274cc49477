"""Pictures to begin with, drawn here: digits as a printer has them."""

from pathlib import Path

from gradio.utils import get_upload_folder
from PIL import Image, ImageDraw, ImageFont

SIDE = 28
DIGITS = "235"


def digits() -> list[str]:
    """Paths of small pictures of digits, white on black, among the files of the app."""
    folder = Path(get_upload_folder()) / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    font = ImageFont.load_default(24)
    paths = []
    for digit in DIGITS:
        picture = Image.new("L", (SIDE, SIDE))
        place = (SIDE / 2, SIDE / 2)
        ImageDraw.Draw(picture).text(place, digit, fill=255, font=font, anchor="mm", stroke_width=0.4)
        picture.save(folder / f"{digit}.png")
        paths.append(str(folder / f"{digit}.png"))
    return paths
