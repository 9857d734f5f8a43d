"""The console as an application of its own, to be put under a server's roof at `PREFIX`."""

import mimetypes
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from quickalign.console.guard import visit_of
from quickalign.console.pages import (
    chat,
    compare,
    datasets,
    door,
    job_data,
    jobs,
    models,
    services,
    settings,
    start,
    tasks,
    train,
)
from quickalign.console.pulse import Pulses
from quickalign.console.rendering import marks, warm_up
from quickalign.console.series import SeriesStore
from quickalign.console.session import Sessions, read_key
from quickalign.console.visit import Shared
from quickalign.core.errors import NotFoundError
from quickalign.platform import Platform
from quickalign.platform.models import Models
from quickalign.platform.system import versions

PREFIX = "/console"
UPLOADS = (f"{PREFIX}/files",)
_KEY_FILE = "console.key"
_TEMPLATES = "console-templates"
_FOREVER = "public, max-age=31536000, immutable"
_PAGES = (door, start, models, tasks, train, datasets, jobs, job_data, compare, services, chat, settings)


def make_console(platform: Platform) -> ASGIApp:
    """The console of an open platform."""
    app = Starlette(routes=_routes(), exception_handlers={HTTPException: _on_http})
    key = read_key(platform.home.root / _KEY_FILE)
    series = SeriesStore(platform)
    app.state.shared = Shared(platform, Sessions(key, platform.tokens), series, Pulses(platform, series))
    app.router.redirect_slashes = False
    warm_up(platform.home.root / _TEMPLATES, _read_cards, versions)
    return app


def _read_cards() -> None:
    models = Models()
    models.get(models.list()[0].name)


def _routes() -> list[BaseRoute]:
    found: list[BaseRoute] = [Route("/static/{mark}/{name:path}", _static, name="static")]
    for part in _PAGES:
        found.extend(part.ROUTES)
    return found


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in marks():
        raise HTTPException(404)
    content = (resources.files("quickalign.console") / "static" / name).read_bytes()
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "application/octet-stream"
    known = request.path_params["mark"] == marks()[name]
    return Response(content, media_type=kind, headers={"Cache-Control": _FOREVER if known else "no-store"})


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    visit = visit_of(request)
    found = NotFoundError(
        visit.words.gettext("There is no such page."), visit.words.gettext("The menu leads to all pages.")
    )
    return visit.page("error.html", status=error.status_code, error=found)
