"""llama.cpp's own server as a peer of `benchmarks.serve_vs_peers`: `llama_cpp.py FILE.gguf PORT [THREADS]`.

Runs in an environment of its own, `pip install xllamacpp`, which holds llama.cpp with its server; by path, because it
imports nothing of this project. The file is made by scripts/make_gguf.py.
"""

import os
import sys
import threading

import xllamacpp

SLOTS, CONTEXT = 8, 1024


def main(arguments: list[str]) -> None:
    """Serve until the process is ended."""
    file, port, *threads = arguments
    settings = xllamacpp.CommonParams()
    settings.model.path = file
    settings.hostnames = ["127.0.0.1"]
    settings.port = int(port)
    settings.n_parallel = SLOTS
    settings.n_ctx = SLOTS * CONTEXT
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = int(threads[0]) if threads else os.cpu_count()
    settings.use_jinja = True
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
