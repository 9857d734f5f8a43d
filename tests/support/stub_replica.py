"""A replica that serves no model: it listens, says that it is well, writes its ready file and obeys SIGTERM.

`python stub_replica.py SPEC.json`. It imports next to nothing, so that a thousand of them cost little. The system prompt
may ask for trouble: `crash` ends it with SIGKILL before it is ready, `fail` with exit code 7 and an error sentence,
`deaf` ignores SIGTERM, `litter` leaves a process behind, in a session of its own.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'


def answer(listener: socket.socket) -> None:
    while True:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(ANSWER)


def write_ready(spec: dict, port: int) -> None:
    told = {
        "endpoint": f"http://127.0.0.1:{port}",
        "pid": os.getpid(),
        "engine": "stub",
        "precision": "none",
        "limit": 8,
        "proof": [{"name": "streamed answer", "passed": True, "seen": "It is a stub."}],
    }
    temporary = spec["ready_file"] + ".tmp"
    with open(temporary, "w") as stream:  # noqa: PTH123 - pathlib takes longer to import than all of this
        json.dump(told, stream)
    os.replace(temporary, spec["ready_file"])  # noqa: PTH105


def leave_a_process_behind() -> None:
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait(600)
        os._exit(0)


def main(path: str) -> int:
    with open(path) as stream:  # noqa: PTH123
        spec = json.load(stream)
    trouble = spec.get("system_prompt") or ""
    if trouble == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "fail":
        sys.stderr.write("error: The stub was asked to fail.\n")
        return 7
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: trouble == "deaf" or stop.set())
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=answer, args=(listener,), daemon=True).start()
    if trouble == "litter":
        leave_a_process_behind()
    write_ready(spec, listener.getsockname()[1])
    while not stop.wait(1.0):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
