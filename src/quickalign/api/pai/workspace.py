"""The workspace: its settings, the algorithms and the machines that it has."""

import os
from typing import Any

from quickalign.api.oss.app import BUCKET
from quickalign.api.pai import specs
from quickalign.api.pai.call import WORKSPACE, Call, missing

_STORAGE = "modelExportPath"
_PROVIDER = "pai"
_VERSION = "v1.0"


def get(call: Call) -> dict[str, Any]:
    """GetWorkspace, and GetDefaultWorkspace."""
    if call.path.get("id", WORKSPACE) != WORKSPACE:
        raise missing("Workspace", call.path["id"])
    return {"WorkspaceId": WORKSPACE, "WorkspaceName": "quickalign", "Status": "ENABLED", "EnvTypes": ["prod"]}


def list_all(call: Call) -> dict[str, Any]:
    """ListWorkspaces."""
    number, _ = call.page()
    return {"Workspaces": [get(call)] if number == 1 else [], "TotalCount": 1}


def configs(call: Call) -> dict[str, Any]:
    """ListConfigs: the bucket that clients store into."""
    get(call)
    found = [{"WorkspaceId": WORKSPACE, "ConfigKey": _STORAGE, "ConfigValue": f"oss://{BUCKET}/"}]
    wanted = call.query.get("ConfigKeys")
    kept = found if not wanted or _STORAGE in wanted.split(",") else []
    return {"Configs": kept, "TotalCount": len(kept)}


def algorithms(call: Call) -> dict[str, Any]:
    """ListAlgorithms: one a method."""
    number, size = call.page()
    asked, provider = call.query.get("AlgorithmName"), call.query.get("AlgorithmProvider")
    names = [name for name in specs.METHODS if asked in (None, "", name) and provider in (None, "", _PROVIDER)]
    page = names[(number - 1) * size : number * size]
    return {"Algorithms": [_algorithm(name) for name in page], "TotalCount": len(names)}


def algorithm(call: Call) -> dict[str, Any]:
    """GetAlgorithm."""
    return _algorithm(_known(call))


def algorithm_versions(call: Call) -> dict[str, Any]:
    """ListAlgorithmVersions."""
    name = _known(call)
    return {"AlgorithmVersions": [{"AlgorithmId": name, "AlgorithmVersion": _VERSION}], "TotalCount": 1}


def algorithm_version(call: Call) -> dict[str, Any]:
    """GetAlgorithmVersion."""
    name = _known(call)
    if call.path["version"] != _VERSION:
        raise missing("AlgorithmVersion", call.path["version"])
    spec = specs.algorithm(name, list(specs.instance_types(call.platform)))
    return {**_algorithm(name), "AlgorithmVersion": _VERSION, "AlgorithmSpec": spec}


def machines_for_training(call: Call) -> dict[str, Any]:
    """ListEcsSpecs: what this machine has, under names that stay."""
    number, size = call.page()
    wanted = call.query.get("AcceleratorType")
    found = [one for one in _machines(call) if wanted in (None, "", one["AcceleratorType"])]
    return {"EcsSpecs": found[(number - 1) * size : number * size], "TotalCount": len(found)}


def machines_for_serving(call: Call) -> dict[str, Any]:
    """DescribeMachineSpec."""
    keys = {"InstanceType": "InstanceType", "Cpu": "CPU", "Memory": "Memory", "Gpu": "GPUAmount", "GpuType": "GPU"}
    metas = [{new: one[old] for old, new in keys.items() if one.get(old)} for one in _machines(call)]
    return {"InstanceMetas": metas, "Types": []}


def _machines(call: Call) -> list[dict[str, Any]]:
    by_kind = {device.kind: device for device in reversed(call.platform.devices)}
    cpu = by_kind["cpu"]
    base = {"Cpu": os.cpu_count() or 1, "Memory": cpu.total_bytes >> 30, "IsAvailable": True}
    found = []
    for name in specs.instance_types(call.platform):
        gpu = by_kind["cuda"] if name != "cpu" else None
        kind = {"AcceleratorType": "GPU" if gpu else "CPU", "Gpu": int(gpu is not None)}
        found.append({"InstanceType": name, **base, **kind, "GpuType": gpu.name if gpu else ""})
    return found


def _known(call: Call) -> str:
    if call.path["id"] not in specs.METHODS:
        raise missing("Algorithm", call.path["id"])
    return call.path["id"]


def _algorithm(name: str) -> dict[str, Any]:
    return {"AlgorithmId": name, "AlgorithmName": name, "AlgorithmProvider": _PROVIDER, "WorkspaceId": WORKSPACE}
