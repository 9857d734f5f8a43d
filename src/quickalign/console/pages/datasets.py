"""Uploaded files: the list, an upload, the data report, and rows side by side, as text or as tokens."""

from pathlib import PurePosixPath
from urllib.parse import quote

import anyio
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from quickalign.console.differences import mark
from quickalign.console.guard import page, signed_in
from quickalign.console.sample import SAMPLE_TRAIN
from quickalign.console.visit import Visit
from quickalign.core.hyperparameters import Hyperparameters

_ROWS, _TOKEN_ROWS = 20, 8
_BLOCK = 1 << 20


def _list(visit: Visit) -> Response:
    found = visit.platform.files.list(after=visit.query("after") or None, limit=50)
    return visit.page("datasets.html", files=found.items, following=found.next, sample=SAMPLE_TRAIN)


async def _upload(visit: Visit) -> Response:
    """The body is the file as it is, so that a browser can say how much of it has gone."""
    name = visit.request.query_params.get("filename", "")
    files = visit.platform.files
    held = bytearray()
    with await anyio.to_thread.run_sync(files.begin, name, "fine-tune") as incoming:
        async for chunk in visit.request.stream():
            held += chunk
            if len(held) >= _BLOCK:
                await anyio.to_thread.run_sync(incoming.write, bytes(held))
                held.clear()
        if held:
            await anyio.to_thread.run_sync(incoming.write, bytes(held))
        stored = await anyio.to_thread.run_sync(incoming.commit, None)
    return JSONResponse({"id": stored.id, "filename": stored.filename, "bytes": stored.bytes})


def _show(visit: Visit) -> Response:
    file = visit.platform.files.get(visit.path("file"))
    return visit.page(
        "dataset.html",
        file=file,
        models=visit.platform.models.list(),
        model=visit.query("model") or visit.platform.models.list()[0].name,
        seq_length=_seq_length(visit),
        view=visit.query("view") or "pairs",
    )


def _seq_length(visit: Visit) -> int:
    """The longest example that was asked for, in tokens and within the option's bounds."""
    return max(8, visit.count("seq_length", Hyperparameters().seq_length, 1_048_576))


def _report(visit: Visit) -> Response:
    file = visit.platform.files.get(visit.path("file"))
    model = visit.query("model") or None
    options = {"seq_length": _seq_length(visit)} if model else {}
    found = visit.platform.files.report(file.id, model=model, options=options)
    return visit.page("parts/report.html", report=found, file=file, shown=20)


def _rows(visit: Visit) -> Response:
    file, offset = visit.platform.files.get(visit.path("file")), visit.count("offset")
    if visit.query("view") == "tokens":
        found = visit.platform.files.tokens(
            file.id, model=visit.query("model"), seq_length=_seq_length(visit), offset=offset, limit=_TOKEN_ROWS
        )
        return visit.page(
            "parts/token_rows.html",
            rows=found,
            file=file,
            offset=offset,
            step=_TOKEN_ROWS,
            model=visit.query("model"),
        )
    texts = visit.platform.files.texts(file.id, offset=offset, limit=_ROWS)
    marked = [(row, mark(row.chosen, row.rejected) if row.rejected is not None else None) for row in texts.items]
    return visit.page("parts/pair_rows.html", rows=marked, page=texts, file=file)


def _content(visit: Visit) -> Response:
    file = visit.platform.files.get(visit.path("file"))
    name = PurePosixPath(file.filename).name
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}"}
    return FileResponse(visit.platform.files.path(file.id), media_type="application/octet-stream", headers=headers)


def _delete(visit: Visit) -> Response:
    file = visit.platform.files.get(visit.path("file"))
    visit.platform.files.delete(file.id)
    said = visit.words.gettext("%(name)s is deleted; %(size)s are free unless a job still has them.")
    return visit.go("/console/datasets", said % {"name": file.filename, "size": visit.words.size(file.bytes)})


ROUTES = (
    Route("/files", signed_in(_upload), methods=["POST"]),
    Route("/datasets", page(_list), methods=["GET"]),
    Route("/datasets/{file}", page(_show), methods=["GET"]),
    Route("/datasets/{file}/report", page(_report), methods=["GET"]),
    Route("/datasets/{file}/rows", page(_rows), methods=["GET"]),
    Route("/datasets/{file}/content", page(_content), methods=["GET"]),
    Route("/datasets/{file}/delete", page(_delete), methods=["POST"]),
)
