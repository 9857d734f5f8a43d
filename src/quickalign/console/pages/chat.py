"""Talking to services: one, or several side by side, and votes on what they answer."""

import anyio
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quickalign.console.guard import page, signed_in
from quickalign.console.sentences import sentences_of
from quickalign.console.service_form import answering
from quickalign.console.visit import Visit
from quickalign.core.errors import OptionError
from quickalign.core.wire.services import Service, ServiceState
from quickalign.core.wire.votes import VoteCreate

_SERVICES = 200
_ANSWERING = (ServiceState.RUNNING, ServiceState.UPDATING)


def _chat(visit: Visit) -> Response:
    services = visit.platform.services.list(limit=_SERVICES).items
    return visit.page(
        "chat.html",
        services=[(one, served(one)) for one in services],
        answering=[one.name for one in services if one.state in _ANSWERING],
        chosen=visit.request.query_params.getlist("service"),
        votes=visit.platform.votes.count(),
    )


def served(service: Service) -> str:
    """What a service serves, in a few words."""
    source = answering(service).spec.source
    name = source.job or source.model or source.adapter or ""
    return f"{name}, step {source.checkpoint}" if source.checkpoint else name


async def _vote(visit: Visit) -> Response:
    try:
        request = VoteCreate.model_validate_json(await visit.request.body())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise OptionError(f"The vote cannot be kept: {first['msg']}.", "Ask both again, and vote then.") from None
    await anyio.to_thread.run_sync(visit.platform.votes.add, request)
    count = await anyio.to_thread.run_sync(visit.platform.votes.count)
    return JSONResponse(count.model_dump())


def _said(visit: Visit) -> Response:
    """What a service answered instead of its model, in the reader's language: services speak English alone."""
    return JSONResponse({"text": sentences_of(visit.words.tag).say(visit.given("text"))})


def _dataset(visit: Visit) -> Response:
    """All votes so far as a file, and on to the form that trains on it."""
    stored = visit.platform.votes.dataset()
    return visit.go(f"/console/train?data={stored.id}")


ROUTES = (
    Route("/chat", page(_chat), methods=["GET"]),
    Route("/chat/said", page(_said), methods=["POST"]),
    Route("/votes", signed_in(_vote), methods=["POST"]),
    Route("/votes/dataset", page(_dataset), methods=["POST"]),
)
