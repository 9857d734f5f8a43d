"""Services: created from a configuration, described, started, stopped, updated, deleted."""

import json
from collections.abc import Mapping
from typing import Any

from quickalign.api.pai import models, places, specs
from quickalign.api.pai.call import REGION, WORKSPACE, Call, invalid, missing, unsupported, validated
from quickalign.core.errors import NotFoundError
from quickalign.core.wire.pages import all_items
from quickalign.core.wire.services import RevisionSpec, Service, ServiceCreate, ServiceState, ServiceUpdate

S = ServiceState
_STATUS = {
    S.PENDING: "Waiting",
    S.STARTING: "Waiting",
    S.RUNNING: "Running",
    S.UPDATING: "Running",
    S.STOPPING: "Stopping",
    S.STOPPED: "Stopped",
    S.DELETING: "Deleting",
    S.DELETED: "Deleted",
    S.FAILED: "Failed",
}
_CONFIG = "pai_config"
"""The label that keeps a service's configuration as its maker wrote it, which clients read back."""

_KNOWN = {"name", "processor", "metadata", "cloud", "model_path", "labels"}
_KNOWN_METADATA = {"instance", "name", "workspace_id"}
_NO_CLOUD = "a service runs on the machine of this server, where there is nothing of the kind"


def create(call: Call) -> dict[str, Any]:
    """CreateService."""
    config = dict(call.body)
    name = _check(call, config)
    spec = RevisionSpec(source=_source(call, config))
    gpus = _gpus(call, config)
    request = validated(
        ServiceCreate,
        {"name": name, "spec": spec, "gpus": gpus, "replicas": _instances(config), "metadata": _labels(config)},
    )
    made = call.platform.services.create(request)
    return {"ServiceName": made.name, "ServiceId": made.id, "Status": "Creating", "Region": REGION}


def describe(call: Call) -> dict[str, Any]:
    """DescribeService."""
    return _shown(call, _service(call), with_token=True)


def list_all(call: Call) -> dict[str, Any]:
    """ListServices."""
    number, size = call.page()
    text = call.query.get("Filter") or None
    found = [*all_items(lambda after: call.platform.services.list(text=text, after=after, limit=1000))]
    chosen = found[(number - 1) * size : number * size]
    return {"Services": [_shown(call, one, with_token=False) for one in chosen], "TotalCount": len(found)}


def start(call: Call) -> dict[str, Any]:
    """StartService."""
    call.platform.services.start(_service(call).name)
    return {"Message": "The service starts."}


def stop(call: Call) -> dict[str, Any]:
    """StopService."""
    call.platform.services.stop(_service(call).name)
    return {"Message": "The service stops."}


def delete(call: Call) -> dict[str, Any]:
    """DeleteService."""
    name = _service(call).name
    call.platform.services.delete(name)
    return {"Message": f"Service [{name}] in region [{REGION}] is being deleted."}


def update(call: Call) -> dict[str, Any]:
    """UpdateService: another model, another number of replicas, or both."""
    service = _service(call)
    config = {**json.loads(service.metadata.get(_CONFIG, "{}")), **call.body, "name": service.name}
    _check(call, config)
    changes: dict[str, Any] = {"metadata": {**service.metadata, **_labels(config)}, "replicas": _instances(config)}
    if "model_path" in call.body:
        changes["spec"] = RevisionSpec(source=_source(call, config))
    call.platform.services.update(service.name, validated(ServiceUpdate, changes))
    return {"Message": f"Service [{service.name}] is being updated."}


def switch_version(call: Call) -> dict[str, Any]:
    """UpdateServiceVersion: what an earlier revision served is served again, by a new one."""
    service, wanted = _service(call), call.body.get("Version")
    spec = next((one.spec for one in service.revisions if one.number == wanted), None)
    if spec is None:
        raise invalid("Version", wanted, f"the service has {', '.join(str(one.number) for one in service.revisions)}")
    call.platform.services.update(service.name, ServiceUpdate(spec=spec))
    return {"Message": f"Service [{service.name}] switches to version {wanted}."}


def _service(call: Call) -> Service:
    if call.path["region"] != REGION:
        raise missing("Region", call.path["region"])
    try:
        return call.platform.services.get(call.path["name"])
    except NotFoundError:
        raise missing("Service", call.path["name"]) from None


def _check(call: Call, config: Mapping[str, Any]) -> str:
    """Refuse what a configuration asks for and cannot have; gives the service's name."""
    for key, value in config.items():
        if key not in _KNOWN and value:
            raise unsupported(key, value, _NO_CLOUD)
    if config.get("processor") not in (None, specs.PROCESSOR):
        raise unsupported("processor", config["processor"], "models here are served by quickalign alone")
    metadata = config.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise invalid("metadata", metadata, "it must be an object")
    for key, value in metadata.items():
        if key not in _KNOWN_METADATA and value:
            raise unsupported(f"metadata.{key}", value, _NO_CLOUD)
    if str(metadata.get("workspace_id") or WORKSPACE) != WORKSPACE:
        raise missing("Workspace", str(metadata["workspace_id"]))
    name = config.get("name") or metadata.get("name")
    if not isinstance(name, str):
        raise invalid("name", name, "a service needs a name")
    return name


def _source(call: Call, config: Mapping[str, Any]) -> Any:
    path = config.get("model_path")
    if not isinstance(path, str):
        raise invalid("model_path", path, "it must be the URI of a model or of a job's result")
    return places.to_source(call.platform, "model_path", path)


def _instances(config: Mapping[str, Any]) -> Any:
    return (config.get("metadata") or {}).get("instance") or 1


def _gpus(call: Call, config: Mapping[str, Any]) -> int | None:
    computing = (config.get("cloud") or {}).get("computing") or {}
    name = computing.get("instance_type")
    if name is None:
        return None
    known = specs.instance_types(call.platform)
    if name not in known:
        raise invalid("cloud.computing.instance_type", name, f"this machine has {' and '.join(known)}")
    return 0 if name == "cpu" else 1


def _labels(config: Mapping[str, Any]) -> dict[str, str]:
    labels = config.get("labels") or {}
    if not isinstance(labels, dict):
        raise invalid("labels", labels, "it must be an object")
    own = {str(key): str(value) for key, value in labels.items() if key != _CONFIG}
    return own | {_CONFIG: json.dumps({key: value for key, value in config.items() if key != "labels"})}


def _shown(call: Call, service: Service, *, with_token: bool) -> dict[str, Any]:
    endpoint = f"{call.base_url}/services/{service.name}"
    config = json.loads(service.metadata.get(_CONFIG, "{}")) or {"name": service.name, "processor": specs.PROCESSOR}
    ready = sum(replica.state == "ready" for replica in service.replicas)
    reason = service.reason
    found = {
        "ServiceUid": service.id,
        "ServiceId": service.id,
        "ServiceName": service.name,
        "ServiceConfig": json.dumps(config),
        "ServiceType": "Standard",
        "Status": _STATUS[service.state],
        "Message": reason.message if reason else f"{ready} of {service.wanted_replicas} replicas are ready.",
        "Reason": reason.code if reason else "",
        "Region": REGION,
        "Workspace": WORKSPACE,
        "InternetEndpoint": endpoint,
        "IntranetEndpoint": endpoint,
        "CurrentVersion": service.revision or service.target,
        "LatestVersion": service.target,
        "TotalInstance": service.wanted_replicas,
        "RunningInstance": ready,
        "CreateTime": models.moment(service.created_at),
        "UpdateTime": models.moment(service.updated_at),
        "Labels": [{"LabelKey": key, "LabelValue": value} for key, value in service.metadata.items() if key != _CONFIG],
    }
    return found | ({"AccessToken": call.platform.services.tokens.own(service.name).token} if with_token else {})
