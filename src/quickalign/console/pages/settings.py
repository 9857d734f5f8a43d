"""The server about itself: tokens, storage, mirrors, devices, queue, versions, and a bundle for a report."""

import io
import json
import shutil
import zipfile

from starlette.responses import Response
from starlette.routing import Route

from quickalign.console.guard import page
from quickalign.console.visit import Visit

_LOG_BYTES = 256 << 10
_SECRETS = ("tls_key",)
_QUEUE_SHOWN = 50


def _show(visit: Visit, *, fresh: str | None = None) -> Response:
    platform = visit.platform
    usage = shutil.disk_usage(platform.home.root)
    return visit.page(
        "settings.html",
        info=platform.system(queue_limit=_QUEUE_SHOWN),
        tokens=platform.tokens.list(),
        config=platform.config,
        usage=usage,
        fresh=fresh,
        mirrors=sorted(platform.config.mirror.items()),
    )


def _page(visit: Visit) -> Response:
    return _show(visit)


def _create(visit: Visit) -> Response:
    """Show the new token in the answer itself: it is written nowhere, and going back does not show it again."""
    return _show(visit, fresh=visit.platform.tokens.create(visit.given("name")))


def _revoke(visit: Visit) -> Response:
    visit.platform.tokens.revoke(visit.path("token"))
    return visit.go("/console/settings#tokens", visit.words.gettext("The token opens nothing any more."))


def _diagnostics(visit: Visit) -> Response:
    """What a report of a problem needs: versions, devices, settings and the end of the log; no token, no data."""
    platform = visit.platform
    config = platform.config.model_dump(mode="json", exclude=set(_SECRETS))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("system.json", platform.system().model_dump_json(indent=2))
        bundle.writestr("config.json", json.dumps(config, indent=2, ensure_ascii=False))
        bundle.writestr("server.log", _end_of_log(visit))
    headers = {"Content-Disposition": 'attachment; filename="quickalign-diagnostics.zip"'}
    return Response(held.getvalue(), media_type="application/zip", headers=headers)


def _end_of_log(visit: Visit) -> bytes:
    try:
        with (visit.platform.home.root / "log" / "server.log").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, io.SEEK_END) - _LOG_BYTES))
            return stream.read()
    except OSError:
        return b""


ROUTES = (
    Route("/settings", page(_page), methods=["GET"]),
    Route("/settings/tokens", page(_create), methods=["POST"]),
    Route("/settings/tokens/{token}/revoke", page(_revoke), methods=["POST"]),
    Route("/settings/diagnostics.zip", page(_diagnostics), methods=["GET"]),
)
