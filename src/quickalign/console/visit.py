"""One request as a page sees it: who asks, in which language, and how to answer."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from quickalign.console.language import Words
from quickalign.console.pulse import Pulses
from quickalign.console.rendering import environment
from quickalign.console.sentences import Problem, sentences_of
from quickalign.console.series import SeriesStore
from quickalign.console.session import Session, Sessions
from quickalign.core.errors import NotFoundError, QuickalignError
from quickalign.platform import Platform

FLASH = "quickalign_flash"
_SEEN_SECONDS = 60
# Without a referrer at all, browsers send forms with the Origin "null", which is nobody's.
_HEADERS = {"Referrer-Policy": "same-origin"}


@dataclass(frozen=True, slots=True)
class Shared:
    """What all requests share."""

    platform: Platform
    sessions: Sessions
    series: SeriesStore
    pulses: Pulses


@dataclass(slots=True)
class Visit:
    """See the module. `form` holds what a POST brought; empty otherwise."""

    request: Request
    shared: Shared
    words: Words
    theme: str
    session: Session | None
    form: FormData = field(default_factory=FormData)

    @property
    def platform(self) -> Platform:
        """The platform."""
        return self.shared.platform

    @property
    def endpoint(self) -> str:
        """Where the browser reaches this server."""
        return str(self.request.base_url).split("/console")[0]

    @property
    def is_partial(self) -> bool:
        """Whether HTMX asks for a part of a page."""
        return self.request.headers.get("hx-request") == "true"

    def path(self, name: str) -> str:
        """A part of the address."""
        return str(self.request.path_params[name])

    def query(self, name: str, default: str = "") -> str:
        """A value of the query."""
        return self.request.query_params.get(name, default)[:500]

    def count(self, name: str, default: int = 0, highest: int = 2**53) -> int:
        """A whole number of the query, within bounds; the default where it is none."""
        text = self.request.query_params.get(name, "")
        return min(int(text), highest) if text.isascii() and text.isdigit() else default

    def given(self, name: str, default: str = "") -> str:
        """A text field of the form."""
        value = self.form.get(name, default)
        return value if isinstance(value, str) else default

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A rendered page or part of one."""
        response = HTMLResponse(self.render(template, **values), status_code=status, headers=_HEADERS)
        if FLASH in self.request.cookies and not self.is_partial:
            response.delete_cookie(FLASH, path="/console")
        return response

    def render(self, template: str, **values: Any) -> str:
        """A template's text."""
        frame = {
            "theme": self.theme,
            "session": self.session,
            "here": self.request.url.path.removeprefix("/console"),
            "address": self.request.url.path + (f"?{self.request.url.query}" if self.request.url.query else ""),
            "flash": _read_flash(self.request.cookies),
        }
        return environment(self.words.tag).get_template(template).render(**frame, **values)

    def go(self, path: str, said: str | None = None, *, wrong: bool = False) -> Response:
        """To another page, which then shows the sentence `said` once."""
        if self.is_partial:
            response: Response = Response(status_code=200, headers={"HX-Redirect": quote(path, safe="/?=&%#")})
        else:
            response = RedirectResponse(path, status_code=303)
        if said:
            write_flash(response, said, wrong=wrong)
        return response

    def problem(self, error: QuickalignError) -> Problem:
        """An error in the reader's language."""
        return sentences_of(self.words.tag).problem(error)

    def refuse(self, error: QuickalignError) -> Response:
        """An error as a part of the page where HTMX asked, else as a page."""
        problem = self.problem(error)
        if self.is_partial:
            return self.page("parts/error.html", error=problem)
        return self.page("error.html", status=404 if isinstance(error, NotFoundError) else 422, error=problem)


def write_flash(response: Response, said: str, *, wrong: bool) -> None:
    """Let the next page say `said` once."""
    text = base64.urlsafe_b64encode(json.dumps({"said": said[:1500], "wrong": wrong}).encode()).decode()
    response.set_cookie(FLASH, text, max_age=_SEEN_SECONDS, path="/console", httponly=True, samesite="strict")


def _read_flash(cookies: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        value = json.loads(base64.urlsafe_b64decode(cookies.get(FLASH, "").encode()))
        return {"said": str(value["said"]), "wrong": bool(value["wrong"])}
    except (ValueError, KeyError, TypeError):
        return None
