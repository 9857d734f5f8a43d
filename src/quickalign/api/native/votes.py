"""Votes on answers, and the datasets made of them."""

from typing import Annotated

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from quickalign.api.access import ThePlatform, reply
from quickalign.api.documented import guarded, shown
from quickalign.api.limits import NativeRoute
from quickalign.api.native import examples
from quickalign.core.wire.base import Page
from quickalign.core.wire.files import StoredFile
from quickalign.core.wire.votes import Vote, VoteCreate, VotesDataset

router = APIRouter(tags=["votes"], route_class=NativeRoute)


@router.post(
    "/votes",
    status_code=201,
    response_model=Vote,
    summary="Vote on two answers",
    responses={**shown(examples.VOTE, 201, "The vote is kept."), **guarded(413)},
)
def add_vote(
    platform: ThePlatform, request: Annotated[VoteCreate, Body(examples=[examples.VOTE_CREATE.model_dump(mode="json")])]
) -> Response:
    """Votes are never changed; ties and two bad answers are kept as well."""
    return reply(platform.votes.add(request), 201)


@router.get("/votes", response_model=Page[Vote], summary="List votes", responses={**shown(examples.VOTES), **guarded()})
def list_votes(
    platform: ThePlatform,
    after: Annotated[str | None, Query(max_length=100, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Newest first."""
    return reply(platform.votes.list(after=after, limit=limit))


@router.post(
    "/votes/dataset",
    status_code=201,
    response_model=StoredFile,
    summary="Make a dataset of all votes",
    responses={**shown(examples.FILE, 201, "The file is stored."), **guarded(413)},
)
def make_dataset(
    platform: ThePlatform, request: Annotated[VotesDataset, Body(examples=[{"filename": "votes.jsonl"}])]
) -> Response:
    """A file of preference pairs, each with its origin, to train on."""
    return reply(platform.votes.dataset(request.filename), 201)
