"""Every call that is answered: method, address, action, and who answers it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quickalign.api.pai import models, services, training, workspace
from quickalign.api.pai.call import Call

Answerer = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """One call; names in braces in its address are parts of it."""

    method: str
    address: str
    action: str
    answer: Answerer

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The named parts of `path`, where the route fits."""
        if method != self.method:
            return None
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.address)
        found = re.fullmatch(pattern, path)
        return None if found is None else found.groupdict()


_MODEL, _VERSION = "/api/v1/models/{id}", "/api/v1/models/{id}/versions/{version}"
_JOB, _SERVICE = "/api/v1/trainingjobs/{id}", "/api/v2/services/{region}/{name}"

ROUTES = (
    Route("GET", "/api/v1/models", "ListModels", models.list_all),
    Route("POST", "/api/v1/models", "CreateModel", models.create),
    Route("GET", _MODEL, "GetModel", models.get),
    Route("DELETE", _MODEL, "DeleteModel", models.delete),
    Route("GET", f"{_MODEL}/versions", "ListModelVersions", models.list_versions),
    Route("POST", f"{_MODEL}/versions", "CreateModelVersion", models.create_version),
    Route("GET", _VERSION, "GetModelVersion", models.get_version),
    Route("PUT", _VERSION, "UpdateModelVersion", models.update_version),
    Route("DELETE", _VERSION, "DeleteModelVersion", models.delete_version),
    Route("GET", "/api/v1/workspaces", "ListWorkspaces", workspace.list_all),
    Route("GET", "/api/v1/workspaces/{id}", "GetWorkspace", workspace.get),
    Route("GET", "/api/v1/defaultWorkspaces", "GetDefaultWorkspace", workspace.get),
    Route("GET", "/api/v1/workspaces/{id}/configs", "ListConfigs", workspace.configs),
    Route("GET", "/api/v1/algorithms", "ListAlgorithms", workspace.algorithms),
    Route("GET", "/api/v1/algorithms/{id}", "GetAlgorithm", workspace.algorithm),
    Route("GET", "/api/v1/algorithms/{id}/versions", "ListAlgorithmVersions", workspace.algorithm_versions),
    Route("GET", "/api/v1/algorithms/{id}/versions/{version}", "GetAlgorithmVersion", workspace.algorithm_version),
    Route("GET", "/api/v1/ecsspecs", "ListEcsSpecs", workspace.machines_for_training),
    Route("POST", "/api/v1/trainingjobs", "CreateTrainingJob", training.create),
    Route("GET", "/api/v1/trainingjobs", "ListTrainingJobs", training.list_all),
    Route("GET", _JOB, "GetTrainingJob", training.get),
    Route("GET", f"{_JOB}/logs", "ListTrainingJobLogs", training.logs),
    Route("PUT", f"{_JOB}/stop", "StopTrainingJob", training.stop),
    Route("DELETE", _JOB, "DeleteTrainingJob", training.delete),
    Route("POST", "/api/v2/services", "CreateService", services.create),
    Route("GET", "/api/v2/services", "ListServices", services.list_all),
    Route("GET", _SERVICE, "DescribeService", services.describe),
    Route("PUT", _SERVICE, "UpdateService", services.update),
    Route("DELETE", _SERVICE, "DeleteService", services.delete),
    Route("PUT", f"{_SERVICE}/start", "StartService", services.start),
    Route("PUT", f"{_SERVICE}/stop", "StopService", services.stop),
    Route("PUT", f"{_SERVICE}/version", "UpdateServiceVersion", services.switch_version),
    Route("GET", "/api/v2/public/instance_types", "DescribeMachineSpec", workspace.machines_for_serving),
)


def find(method: str, path: str, action: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a call; None where nothing here answers it."""
    for route in ROUTES:
        if route.action == action and (parts := route.match(method, path)) is not None:
            return route, parts
    return None
