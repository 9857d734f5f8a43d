"""The signs beside words. They stand in the page itself: a file of their own would be one more thing to wait for, and
a browser lays a page out again when it comes."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from xml.etree import ElementTree

from markupsafe import Markup

_SVG = "{http://www.w3.org/2000/svg}"


@cache
def icons() -> Mapping[str, Markup]:
    """What is drawn for each sign, in a square of 24 units."""
    file = resources.files("quickalign.console") / "templates" / "parts" / "icons.svg"
    drawing = ElementTree.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314 - our own file
    found = {}
    for symbol in drawing.iter(f"{_SVG}symbol"):
        found[str(symbol.get("id"))] = Markup("").join(_shape(shape) for shape in symbol)
    return found


def _shape(shape: ElementTree.Element) -> Markup:
    """A path or circle without the namespace, which a page needs not."""
    given = Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in shape.items())
    return Markup("<{}{}/>").format(shape.tag.removeprefix(_SVG), given)
