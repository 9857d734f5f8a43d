"""Speaks the part of vLLM's completions protocol that the engine uses. The token after t is t + 1, from 100 on 10.

It is started as vLLM is, starts a process of its own as vLLM does, and takes what its prompt's first token says: 900 is
refused, 901 breaks off, 902 ends the server, 903 ends the answer by an error of the engine, 904 never ends. Adapters
come and go as at vLLM: with one, the next token is as much further as its rank says; one of rank 13 cannot be loaded.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SETTINGS = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
ADAPTERS: dict[str, int] = {}
FOLDERS: dict[str, str] = {}
BROKEN_RANK = 13
CHILD = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def scored(token: int, top: int) -> tuple[str, float, dict[str, float]]:
    """The token is the second likeliest; with `top` likeliest ones it comes as one more, where it is none of them."""
    likely = {f"token_id:{token + 500 + place}": -0.5 - place for place in range(top)}
    return f"token_id:{token}", -0.75, {f"token_id:{token}": -0.75} | likely


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        told = {"argv": sys.argv[1:], "pids": [os.getpid(), CHILD.pid], "environment": dict(os.environ)}
        told["adapters"] = FOLDERS
        self.answer(200, told if self.path == "/told" else {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {os.environ['VLLM_API_KEY']}":
            self.answer(401, {"error": "Unauthorized"})
        elif self.path.endswith("_lora_adapter"):
            self.answer(*self.change(body))
        elif body["model"] not in ("base", "adapter", *ADAPTERS):
            self.answer(404, {"error": {"message": f"The model {body['model']} does not exist."}})
        elif body["prompt"][0] == 900:
            self.answer(400, {"error": {"message": "the prompt begins with 900"}})
        elif not body.get("stream"):
            self.answer(200, {"choices": [{"token_ids": [1, 2]}]})
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.stream(body)
            self.close_connection = True

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def change(self, body):
        """Load or unload an adapter."""
        name = body["lora_name"]
        if os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") != "True":
            return 404, {"detail": "Not Found"}
        if self.path == "/v1/unload_lora_adapter":
            if ADAPTERS.pop(name, None) is None:
                return 404, {"error": {"message": f"The lora adapter '{name}' cannot be found."}}
            del FOLDERS[name]
            return 200, {}
        if name in ADAPTERS and not body.get("load_inplace"):
            return 400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}}
        rank = json.loads((Path(body["lora_path"]) / "adapter_config.json").read_text())["r"]
        if rank == BROKEN_RANK:
            return 500, {"error": {"message": "the adapter cannot be read"}}
        ADAPTERS[name], FOLDERS[name] = rank, body["lora_path"]
        return 200, {}

    def tell(self, value):
        self.wfile.write(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n")
        self.wfile.flush()

    def stream(self, body):
        first, step = body["prompt"][0], ADAPTERS.get(body["model"], 1)
        token, made = body["prompt"][-1], 0
        while True:
            token, made = (token + step if token < 100 else 10), made + 1
            if first == 901 and made == 3:
                return
            if first == 902 and made == 3:
                os._exit(3)
            if first == 904:
                time.sleep(0.01)
            stops = token in body["stop_token_ids"]
            finish = "stop" if stops else "length" if made >= max(body["max_tokens"], 1) else None
            finish = "error" if first == 903 and made == 3 else finish
            for index in range(body["n"]):
                self.tell({"choices": [self.choice(body, index, token, made, finish)]})
            if finish:
                break
        self.tell({"choices": [], "usage": {"completion_tokens": made}})
        self.tell(b"[DONE]")

    def choice(self, body, index, token, made, finish):
        told = {"index": index, "text": "", "token_ids": [token], "finish_reason": finish}
        if body.get("logprobs") is None:
            return told
        ids = [token]
        if body.get("echo") and made == 1:
            ids = [*body["prompt"], *(ids if body["max_tokens"] else [])]
        tokens, values, tops = zip(*(scored(one, body["logprobs"]) for one in ids), strict=True)
        nothing_before = body.get("echo") and made == 1
        return told | {
            "logprobs": {
                "tokens": tokens,
                "token_logprobs": [None, *values[1:]] if nothing_before else values,
                "top_logprobs": [None, *tops[1:]] if nothing_before else tops,
            }
        }


if __name__ == "__main__":
    ThreadingHTTPServer((SETTINGS["--host"], int(SETTINGS["--port"])), Handler).serve_forever()
