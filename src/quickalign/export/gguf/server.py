"""`server.py FILE SLOTS CONTEXT`: llama.cpp's own server on loopback, for as long as standard input is open.

Run by path in a process of its own, which ends alone if llama.cpp does not bear a file. The first line that it reads
is the key that requests have to bear; the first that it writes is its address.
"""

import os
import sys

import xllamacpp


def main(arguments: list[str]) -> None:
    """Serve until standard input ends.

    Args:
        arguments: the file, how many requests are answered at once, and how many tokens each may have.
    """
    file, slots, context = arguments[0], int(arguments[1]), int(arguments[2])
    settings = xllamacpp.CommonParams()
    settings.model.path = file
    settings.hostnames, settings.port = ["127.0.0.1"], 0
    settings.api_keys = [sys.stdin.readline().strip()]
    settings.n_parallel, settings.n_ctx = slots, slots * context
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    settings.use_jinja = True
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)  # noqa: T201 - read by who started it
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
