"""The schema of the native API: its examples run, and generated requests meet no undeclared answer."""

import json
import os

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

from quickalign.api.native import examples

SLOW = ("/api/v1/estimates", "/api/v1/files/{file_id}/report", "/api/v1/files/{file_id}/tokens")


CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]
EXAMPLES = int(os.environ.get("QUICKALIGN_SCHEMA_EXAMPLES", "15"))
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def test_generated_requests_meet_no_undeclared_answer(app, token):
    headers = {"Authorization": f"Bearer {token}", "Host": "127.0.0.1"}
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=headers)
    seen = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in MODES:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            def holds(case):
                case.call_and_validate(headers=headers, checks=CHECKS)

            try:
                holds()
            except Unsatisfiable:  # there is nothing that could be wrong about this request
                continue
            seen += 1
    assert seen > 30


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def request_of(path, operation, ids):
    """The request that an operation's own examples describe, with the ids of things that are there."""
    query = {}
    for parameter in operation.get("parameters", []):
        shown = parameter["schema"].get("examples") or parameter.get("examples")
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", shown[0])
        elif parameter["in"] == "query" and shown:
            query[parameter["name"]] = shown[0]
    content = operation.get("requestBody", {}).get("content", {})
    kind, body = next(iter(content.items()), (None, None))
    text = None
    if kind == "application/json":
        text = json.dumps((body.get("example") or body["schema"].get("examples") or [None])[0])
    elif kind:
        text = body["example"]
    for shown, real in ids.items():
        path, text = path.replace(shown, real), text and text.replace(shown, real)
    return path, query, kind, text


def prepared(make, drive, path, method):
    """A job in the state that the operation is for."""
    job = make()
    if path.endswith("/resume"):
        drive.jobs.pause(job["id"])
    if (method == "delete" and "job_id" in path) or path.endswith("/stream"):
        drive.jobs.cancel(job["id"])
    output = drive.home.output(job["id"])
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.json").write_text("{}")
    return job["id"]


def test_every_example_works(client, make_job, platform, file_id):
    document = client.get("/api/v1/openapi.json").json()
    seen = 0
    for method, path, operation in operations(document):
        if path in SLOW:
            continue
        fresh = client.post("/api/v1/files", params={"filename": "x.json"}, content=b'[{"prompt":"a"}]').json()["id"]
        file = fresh if method == "delete" else file_id
        ids = {examples.JOB_ID: prepared(make_job, platform, path, method), examples.FILE_ID: file}
        address, query, kind, text = request_of(path, operation, ids)
        headers = {"Content-Type": kind} if kind else {}
        answer = client.request(method, address, params=query, content=text, headers=headers)
        wanted = min(int(status) for status in operation["responses"] if status.startswith("2"))
        assert answer.status_code == wanted, (method, path, answer.text)
        content = operation["responses"][str(wanted)].get("content", {}).get("application/json")
        if content:
            whole = {**content["schema"], "components": document["components"]}
            Draft202012Validator(whole).validate(answer.json())
            if "example" in content:
                Draft202012Validator(whole).validate(content["example"])
        seen += 1
    assert seen >= 22


def test_every_operation_says_what_it_does_and_refuses(client):
    document = client.get("/api/v1/openapi.json").json()
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        if path.startswith("/api/"):
            assert {"400", "401", "403", "422", "503"} <= operation["responses"].keys(), (method, path)
            assert "application/problem+json" in operation["responses"]["401"]["content"]
