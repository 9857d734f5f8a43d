"""Deploying from a program: PAI's arguments, honoured where they can be, else refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Required, TypedDict

from quickalign.core.errors import OptionError
from quickalign.sdk import cloud
from quickalign.sdk.predictor import Predictor
from quickalign.sdk.serializers import SerializerBase
from quickalign.sdk.service_request import service_request
from quickalign.sdk.session import Session
from quickalign.sdk.words import say

_NO_CLOUD = "a service runs on the machine of the server, where there is nothing of the kind"
_OWN_PROGRAM = "a service runs quickalign's own program and never an image or code that comes with a request"

REFUSED: dict[str, str] = {
    "resource_id": _NO_CLOUD,
    "inference_spec": _OWN_PROGRAM,
    "inference_method": _OWN_PROGRAM,
    "service_type": "a service answers at once; there are no queues to poll",
    "region": _NO_CLOUD,
}
"""Arguments of PAI's `deploy` that cannot be honoured, and why."""


class AutoscalingConfig(TypedDict, total=False):
    """How many replicas a cluster keeps: as many as the open requests need, between two bounds.

    `min` (1) replicas stay, 0 keeps none while nobody asks; `max` is the most. `ongoing_requests` (8) is how many open
    requests one replica should have, `quiet_seconds` (300) how long there must be less to do before a replica goes.
    """

    min: int
    max: Required[int]
    ongoing_requests: int
    quiet_seconds: float


def deploy(
    session: Session,
    source: Mapping[str, Any],
    service_name: str,
    *,
    instance_type: str | None = None,
    instance_count: int | None = None,
    resource_config: Any = None,
    options: Mapping[str, Any] | None = None,
    autoscaling: AutoscalingConfig | None = None,
    wait: bool = True,
    labels: Mapping[str, str] | None = None,
    serializer: SerializerBase | None = None,
    unsupported: Mapping[str, Any],
) -> Predictor:
    """Make a service; arguments as of `ModelTrainingRecipe.deploy`, `source` as of `Source`.

    Raises:
        OptionError: an argument or an option that cannot be honoured. QuickalignError: the service cannot be made, or
            failed while it was waited for.
    """
    cloud.refuse(unsupported, REFUSED, "A deployment")
    gpus = cloud.gpus_of(instance_type, resource_config, None, spec_name="resource_config")
    chosen = dict(options or {})
    if autoscaling is not None:
        if chosen.get("autoscaling") is not None:
            raise OptionError("autoscaling and options['autoscaling'] say the same.", "Give one of them.")
        chosen["autoscaling"] = autoscaling
    request = service_request(service_name, source, chosen, replicas=instance_count, gpus=gpus, labels=labels)
    made = session.services.create(request)
    predictor = Predictor(made.id, serializer=serializer, session=session)
    predictor.service_name = made.name
    say(f"Service {made.name}: {predictor.console_uri}")
    if wait:
        predictor.wait_for_ready()
    return predictor
