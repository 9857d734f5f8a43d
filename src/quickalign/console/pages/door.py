"""Signing in and out, and the reader's preferences."""

from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import Route

from quickalign.console.guard import LANGUAGE, THEME, THEMES, anyone, is_own_page, page, session_cookie
from quickalign.console.language import LANGUAGES
from quickalign.console.session import LIFETIME_SECONDS
from quickalign.console.visit import Visit

_FRONT = "/console/"
_YEAR_SECONDS = 365 * 24 * 3600


def _signin_page(visit: Visit) -> Response:
    if visit.session is not None:
        return visit.go(_target(visit.query("next")))
    return visit.page("signin.html", next=_target(visit.query("next")), token_file=_token_file(visit))


def _sign_in(visit: Visit) -> Response:
    target = _target(visit.given("next"))
    cookie = visit.shared.sessions.begin(visit.given("token"))
    if cookie is None:
        said = visit.words.gettext("This token is not one of this server, or it was revoked.")
        return visit.go(f"/console/signin?next={quote(target, safe='/')}", said, wrong=True)
    response = visit.go(target)
    response.set_cookie(
        session_cookie(visit.request),
        cookie,
        max_age=LIFETIME_SECONDS,
        path="/console",
        httponly=True,
        samesite="strict",
        secure=_is_encrypted(visit),
    )
    return response


def _sign_out(visit: Visit) -> Response:
    response = visit.go("/console/signin")
    response.delete_cookie(session_cookie(visit.request), path="/console")
    return response


def _prefer(visit: Visit) -> Response:
    response = visit.go(_target(visit.given("back")))
    language, theme = visit.given("language"), visit.given("theme")
    kept = {LANGUAGE: language if language in LANGUAGES else None, THEME: theme if theme in THEMES else None}
    for name, value in kept.items():
        if value is not None:
            response.set_cookie(name, value, max_age=_YEAR_SECONDS, path="/console", httponly=True, samesite="strict")
    return response


def _target(address: str) -> str:
    """Where to go next: a page of the console, whatever an address says that somebody sent along."""
    return address if is_own_page(address) else _FRONT


def _token_file(visit: Visit) -> str:
    """Where the token lies; told only to those on this machine."""
    return str(visit.platform.home.root / "token") if visit.platform.config.is_loopback else ""


def _is_encrypted(visit: Visit) -> bool:
    """Whether the browser comes by HTTPS: to this server, or to a balancer before it."""
    public = visit.platform.config.public_url or ""
    return visit.request.url.scheme == "https" or public.startswith("https://")


ROUTES = (
    Route("/signin", anyone(_signin_page), methods=["GET"]),
    Route("/signin", anyone(_sign_in), methods=["POST"]),
    Route("/signout", page(_sign_out), methods=["POST"]),
    Route("/preferences", anyone(_prefer), methods=["POST"]),
)
