"""A server: where it listens, what it runs on, and what waits."""

import time
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import count, duration, printable, size
from quickalign.core.wire.system import DeviceInfo, SystemInfo

_QUEUE = 10


def status_view(endpoint: str, pid: int | None, info: SystemInfo) -> Group:
    """Everything the server says of itself."""
    blocks: list[RenderableType] = [parts.heading("Server", endpoint), parts.facts(_facts(pid, info))]
    if info.devices:
        blocks += ["", parts.indented(_devices(info))]
    if any(device.bases for device in info.devices):
        blocks += ["", parts.indented(_bases(info))]
    if info.queue:
        blocks += ["", parts.indented(_queue(info))]
    return Group(*blocks)


def _facts(pid: int | None, info: SystemInfo) -> Iterator[tuple[str, RenderableType]]:
    yield "version", info.version
    process = f" as process {pid}" if pid is not None else ""
    yield "running", f"for {duration(time.time() - info.started_at)}{process}"
    yield "home", Text(info.home, style="path")
    yield "database", info.database
    known = {state: number for state, number in info.jobs.items() if number}
    yield "jobs", ", ".join(f"{number:,} {state}" for state, number in known.items()) or "none yet"


def _devices(info: SystemInfo) -> Table:
    table = parts.table("device", "memory", "reserved", "jobs", right=[1, 2])
    for device in info.devices:
        name = _name(device)
        jobs = "\n".join(device.jobs)
        table.add_row(parts.plain(name), size(device.total_bytes), size(device.reserved_bytes), jobs)
    return table


def _bases(info: SystemInfo) -> Table:
    """What lies on a device once for several services."""
    table = parts.table("shared base", "on", "once", "services", right=[2])
    for device in info.devices:
        for base in device.bases:
            services = "\n".join(base.services)
            table.add_row(parts.plain(base.name), parts.plain(_name(device)), size(base.memory_bytes), services)
    return table


def _name(device: DeviceInfo) -> str:
    return f"{device.name} ({device.kind} {device.index})" if device.kind != "cpu" else device.name


def _queue(info: SystemInfo) -> Table:
    table = parts.table("waiting", "needs", "why", right=[])
    for entry in info.queue[:_QUEUE]:
        needs = count(entry.resources.gpus, "GPU") if entry.resources.gpus else "CPU"
        table.add_row(entry.job, needs, Text(printable(entry.reason.message), style="quiet"))
    if (rest := len(info.queue) - _QUEUE) > 0:
        table.add_row(Text(f"and {rest:,} more", style="quiet"), "", "")
    return table
