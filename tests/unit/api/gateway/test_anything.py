"""Whatever is sent to the gateway, it answers, and never with a 500."""

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PARTS = st.sampled_from(
    ["services", "one", "two", "v1", "chat", "completions", "models", "default", "page", "chat.js", "health", "", ".", "..",
     "%2e%2e", "%00", "%ff", "a" * 300, "%F0%9F%98%80", "ft:base:q:one:abc"]
)  # fmt: skip
PATHS = st.sampled_from(["/services/one/v1/", "/services/", "/v1/", "/"]) | st.just("/services/one/v1/chat/completions")
TOKENS = st.sampled_from(["qs-one", "Bearer qs-one", "Bearer", "x", "", "Basic qs-one"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.binary(max_size=64) | st.builds(
    lambda model, rest: httpx.Request("POST", "http://x", json={"model": model} | rest).content,
    JSON.filter(lambda value: "nan" not in repr(value) and "inf" not in repr(value))
    | st.sampled_from(["one", "default", "ft:base:q:one:abc"]),
    st.dictionaries(st.sampled_from(["messages", "stream", "x"]), st.integers(), max_size=3),
)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]),
    start=PATHS,
    parts=st.lists(PARTS, max_size=4),
    token=TOKENS,
    body=BODIES,
)
@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_anything(address, client, service, method, start, parts, token, body):
    # the whole address: a path that begins with two slashes alone would name another server
    answer = client.request(method, address + start + "/".join(parts), content=body, headers={"Authorization": token})
    assert answer.status_code < 500, (method, start, parts, body, answer.text)
    json_error = answer.status_code >= 400 and method != "HEAD" and start.startswith(("/services", "/v1"))
    if json_error and answer.url.path.startswith(("/services/", "/v1/")):
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
