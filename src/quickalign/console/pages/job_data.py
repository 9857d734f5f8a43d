"""What a job's page fetches while it is open: news, curves, pieces of the log, files.

One page asks one short question every few seconds instead of holding streams open: a browser has six connections for
all its tabs together. What is answered is looked up once for all pages of a job, and fifty cost next to nothing.
"""

import mimetypes
from typing import Any
from urllib.parse import quote

from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from quickalign.console import logs
from quickalign.console.guard import page
from quickalign.console.job_view import head, samples
from quickalign.console.pulse import Pulse
from quickalign.console.visit import Visit

_EVENTS = 200
_SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def _news(visit: Visit) -> Response:
    """What is new since the page last asked, which says by `seen` what it shows; empty where that is all there is."""
    pulse, seen = visit.shared.pulses.read(visit.path("job")), visit.query("seen")
    if seen == pulse.mark:
        return Response(status_code=204)
    job, after = pulse.job, visit.count("event")
    events = visit.platform.jobs.events(job.id, after=after, limit=_EVENTS).items if pulse.event > after else ()
    reached = events[-1].sequence if events else after
    parts = {}
    if not seen.startswith(pulse.head):
        parts["job-head"] = _head(visit, pulse)
    answer: dict[str, Any] = {
        "seen": pulse.mark if reached >= pulse.event else pulse.head,
        "state": str(job.state),
        "over": job.state.is_final,
        "curves": pulse.curves,
        "lines": pulse.lines,
        "log_size": pulse.log_size,
        "event": reached,
        "parts": parts,
    }
    if events:
        answer["events"] = visit.render("parts/events.html", events=events)
        kinds = {event.kind for event in events}
        if kinds & {"checkpoint", "done", "state"}:
            checkpoints = visit.platform.jobs.checkpoints(job.id)
            parts |= {
                "job-checkpoints": visit.render("parts/checkpoints.html", checkpoints=checkpoints, job=job),
                "job-samples": visit.render("parts/samples.html", samples=samples(visit, job), job=job),
            }
    return JSONResponse(answer)


def _head(visit: Visit, pulse: Pulse) -> str:
    def render() -> str:
        return visit.render("parts/job_head.html", **head(visit, pulse.job))

    reader = (visit.words.tag, visit.session.csrf if visit.session else "")
    return visit.shared.pulses.rendered_head(pulse, reader, render)


def _series(visit: Visit) -> Response:
    first, last = visit.query("first"), visit.query("last")
    content = visit.shared.series.read(
        visit.path("job"),
        points=visit.count("points", 1200),
        first=float(first) if _is_number(first) else None,
        last=float(last) if _is_number(last) else None,
    )
    return Response(content, media_type="application/json")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit()


def _log(visit: Visit) -> Response:
    size = visit.platform.jobs.log_size(visit.path("job"))
    window = logs.window(visit.platform, visit.path("job"), visit.query("at") or "end", visit.count("to", size), size)
    return JSONResponse(window)


def _search(visit: Visit) -> Response:
    found = logs.search(
        visit.platform,
        visit.path("job"),
        visit.query("text"),
        start=visit.count("from"),
        backwards=visit.query("backwards") == "1",
    )
    return JSONResponse(found)


def _file(visit: Visit) -> Response:
    """A file of the run. A report is shown without scripts and without a way out; anything else is saved."""
    found = visit.platform.jobs.artifact(visit.path("job"), visit.path("name"))
    kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
    headers = {"Content-Security-Policy": _SANDBOX}
    if kind != "text/html":
        headers["Content-Disposition"] = f"attachment; filename*=utf-8''{quote(found.name, safe='')}"
    return FileResponse(found, media_type=kind, headers=headers)


ROUTES = (
    Route("/jobs/{job}/news", page(_news), methods=["GET"]),
    Route("/jobs/{job}/series", page(_series), methods=["GET"]),
    Route("/jobs/{job}/log", page(_log), methods=["GET"]),
    Route("/jobs/{job}/log/search", page(_search), methods=["GET"]),
    Route("/jobs/{job}/files/{name:path}", page(_file), methods=["GET"]),
)
