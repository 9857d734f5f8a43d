"""The wrapper's files without its imports: `python -S quick_wrapper.py FOLDER TOKEN`, for rounds by the thousand.

It claims the attempt by link, runs the command in the same session and writes how it ended, as
`quickalign.platform.executors.wrapper` does; it neither copies results nor waits for locks.
"""

import json
import os
import signal
import sys
import time


def identity(pid: int, boot: str) -> dict:
    with open(f"/proc/{pid}/stat") as stream:  # noqa: PTH123 - pathlib takes longer to import than all of this
        start = int(stream.read().rpartition(")")[2].split()[19])
    return {"pid": pid, "create_time": start / os.sysconf("SC_CLK_TCK"), "boot_id": boot}


def write(path: str, values: dict, *, new: bool = False) -> bool:
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w") as stream:  # noqa: PTH123
        json.dump(values, stream)
    try:
        if new:
            os.link(temporary, path)
            os.unlink(temporary)  # noqa: PTH108
        else:
            os.rename(temporary, path)  # noqa: PTH104
    except FileExistsError:
        return False
    return True


def main(folder: str, token: str) -> int:
    with open("/proc/sys/kernel/random/boot_id") as stream:  # noqa: PTH123
        boot = stream.read().strip()
    with open(f"{folder}/lease.json") as stream:  # noqa: PTH123
        lease = json.load(stream)
    claim = {"attempt": lease["attempt"], "lease_token": token, "wrapper": identity(os.getpid(), boot)}
    if not write(f"{folder}/wrapper.json", claim, new=True):
        return 0
    with open(f"{folder}/stdout.log", "ab") as log:  # noqa: PTH123
        child = os.posix_spawn(
            lease["command"][0],
            lease["command"],
            os.environ | lease["environment"],
            file_actions=[(os.POSIX_SPAWN_DUP2, log.fileno(), 1), (os.POSIX_SPAWN_DUP2, log.fileno(), 2)],
        )
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
    write(f"{folder}/wrapper.json", claim | {"child": identity(child, boot)})
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    ended = {"code": code if code >= 0 else None, "signal": -code if code < 0 else None, "finished_at": time.time()}
    write(f"{folder}/exit.json", {"lease_token": token} | ended)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
