"""The chat page's files, which come with the package."""

from pathlib import Path
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from quickalign.serve.http.errors import ApiError

_FOLDER = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES = {path.name: path for path in _FOLDER.iterdir() if path.suffix in _TYPES}


def file(name: str) -> Response:
    """One of the page's files.

    Raises:
        ApiError: 404; there is none of that name.
    """
    found = _FILES.get(name)
    if found is None:
        raise ApiError(404, f"The page has no part {name[:100]!r}.", code="not_found")
    return Response(found.read_bytes(), media_type=f"{_TYPES[found.suffix]}; charset=utf-8")


def redirect(name: str) -> Response:
    """The way to a service's page."""
    return RedirectResponse(f"./{quote(name, safe='')}/", status_code=308)
