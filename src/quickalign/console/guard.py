"""What stands between a request and a page: signing in, the mark of a change, and errors as people read them."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from urllib.parse import quote, urlsplit

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from quickalign.console.language import choose, words_of
from quickalign.console.visit import Shared, Visit, write_flash
from quickalign.core.errors import AccessError, QuickalignError

SESSION, LANGUAGE, THEME = "quickalign_session", "quickalign_language", "quickalign_theme"
THEMES = ("auto", "light", "dark")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

Handler = Callable[[Visit], Response]
AsyncHandler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def session_cookie(request: Request) -> str:
    """The cookie's name. Browsers do not tell ports apart, so two servers on one machine need two names."""
    return f"{SESSION}_{request.url.port or 'default'}"


def visit_of(request: Request) -> Visit:
    """The visit of a request, signed in or not."""
    shared: Shared = request.app.state.shared
    cookies = request.cookies
    theme = cookies.get(THEME, "auto")
    return Visit(
        request=request,
        shared=shared,
        words=words_of(choose(cookies.get(LANGUAGE), request.headers.get("accept-language", ""))),
        theme=theme if theme in THEMES else "auto",
        session=shared.sessions.find(cookies.get(session_cookie(request))),
    )


def page(handler: Handler) -> Endpoint:
    """A page for those who are signed in. It runs in a thread, because the platform's calls wait for the disk."""

    async def answer(visit: Visit) -> Response:
        return await anyio.to_thread.run_sync(handler, visit)

    return signed_in(answer)


def signed_in(handler: AsyncHandler) -> Endpoint:
    """As `page`, for a handler that reads the request's body itself or waits for other things."""

    async def endpoint(request: Request) -> Response:
        visit = visit_of(request)
        if visit.session is None:
            return _to_sign_in(visit)
        try:
            if request.method == "POST":
                await _accept_change(visit)
            return await handler(visit)
        except QuickalignError as error:
            return _refused(visit, error)

    return endpoint


def anyone(handler: Handler) -> Endpoint:
    """A page that needs no session. A change is then guarded by the Origin check around all requests."""

    async def endpoint(request: Request) -> Response:
        visit = visit_of(request)
        try:
            if request.method == "POST":
                visit.form = await request.form()
            return await anyio.to_thread.run_sync(handler, visit)
        except QuickalignError as error:
            return _refused(visit, error)

    return endpoint


def wants_json(request: Request) -> bool:
    """Whether a script asks that reads JSON."""
    return request.headers.get("accept", "").startswith("application/json")


async def _accept_change(visit: Visit) -> None:
    request = visit.request
    if _is_form(request):
        visit.form = await request.form()
    brought = request.headers.get("x-csrf-token") or visit.given("csrf")
    assert visit.session is not None
    if not hmac.compare_digest(brought.encode(), visit.session.csrf.encode()):
        raise AccessError("This change does not come from a page of this session.", "Reload the page and try again.")


def _to_sign_in(visit: Visit) -> Response:
    """Sign in first, where a change that did not happen is told of."""
    response = _away(visit)
    if visit.request.method == "POST":
        write_flash(response, visit.words.gettext("You were signed out; nothing was changed."), wrong=True)
    return response


def _away(visit: Visit) -> Response:
    """To the page that asked, by way of signing in; programs are told by the status."""
    request = visit.request
    if visit.is_partial:
        address = _address(request.headers.get("hx-current-url", ""))
        return Response(headers={"HX-Redirect": _sign_in_for(address)})
    if request.method == "GET" and not wants_json(request):
        return RedirectResponse(_sign_in_for(_address(str(request.url))), status_code=303)
    if _is_form(request) and not wants_json(request):
        return RedirectResponse(_sign_in_for(_address(request.headers.get("referer", ""))), status_code=303)
    return JSONResponse({"signed_out": True}, status_code=401)


def _sign_in_for(address: str) -> str:
    return "/console/signin" + (f"?next={quote(address, safe='/')}" if is_own_page(address) else "")


def _address(url: str) -> str:
    """The path and the query of a URL."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0] in _FORMS


def _refused(visit: Visit, error: QuickalignError) -> Response:
    if wants_json(visit.request):
        # A refusal that the page foresees is an answer: browsers would report any other status as a failure of ours.
        return JSONResponse({"problem": asdict(visit.problem(error))})
    if visit.request.method == "POST" and not visit.is_partial and (back := _back(visit)):
        return visit.go(back, visit.problem(error).text, wrong=True)
    return visit.refuse(error)


def _back(visit: Visit) -> str | None:
    """Where a form was sent from, if that is a page of the console."""
    back = visit.given("back")
    return back if is_own_page(back) else None


def is_own_page(address: str) -> bool:
    """Whether an address leads to a page of this console and nowhere else."""
    return address.startswith("/console/") and "\\" not in address and all(32 < ord(c) < 127 for c in address)
