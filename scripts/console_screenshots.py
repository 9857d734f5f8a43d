"""Make the pictures of the console in the documentation: `python -m scripts.console_screenshots ENDPOINT TOKEN`.

Expects a server whose home has had a first run and a service or two; needs chromium and playwright.
"""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
COLOURS = 128
MAX_BYTES = 1_500_000
QUESTION = "Hello! Who are you?"


def main() -> int:
    """Take all pictures; returns 1 where they are too large together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint")
    parser.add_argument("token")
    given = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 860}, locale="en-US", color_scheme="light")
        page.set_default_timeout(600_000)
        page.goto(f"{given.endpoint}/console/signin")
        page.fill("#token", given.token)
        page.press("#token", "Enter")
        page.wait_for_load_state("networkidle")
        _take(page, f"{given.endpoint}/console")
        browser.close()
    size = sum(file.stat().st_size for file in FOLDER.glob("console-*.png"))
    print(f"{size:,} bytes")
    return int(size > MAX_BYTES)


def _take(page: Page, console: str) -> None:
    page.goto(f"{console}/jobs")
    page.click("td .name")
    page.wait_for_selector(".plot canvas")
    _save(page, "job")
    page.goto(f"{console}/train?data=oss://pai-quickstart-local/huggingface/datasets/safe_rlhf/sampled_train.json")
    page.wait_for_selector("[data-estimate]")
    _save(page, "train")
    page.goto(f"{console}/chat")
    for box in page.locator('input[name="service"]:enabled').all()[:2]:
        box.check()
    page.fill("[data-message]", QUESTION)
    page.click("[data-send]")
    page.wait_for_selector("[data-votes]:not([hidden])")
    _save(page, "chat")


def _save(page: Page, name: str) -> None:
    """A picture in few colours: the console has few, and the file is a third as large."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(FOLDER / f"console-{name}.png", optimize=True)


if __name__ == "__main__":
    sys.exit(main())
