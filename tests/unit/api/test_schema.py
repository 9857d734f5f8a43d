"""The schema of the native API: its examples run, and generated requests meet no undeclared answer."""

import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

from quickalign.api.native import examples, pai, service_examples
from tests.unit.api.conftest import BOTH

SLOW = ("/api/v1/estimates", "/api/v1/files/{file_id}/report", "/api/v1/files/{file_id}/tokens")
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]
EXAMPLES = int(os.environ.get("QUICKALIGN_SCHEMA_EXAMPLES", "15"))
PATIENCE = 120
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.mark.slow
@BOTH
def test_generated_requests_meet_no_undeclared_answer(app, token):
    headers = {"Authorization": f"Bearer {token}", "Host": "127.0.0.1"}
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=headers, timeout=PATIENCE)
    seen = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in MODES:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            def holds(case):
                case.call_and_validate(headers=headers, checks=CHECKS, timeout=PATIENCE)

            try:
                holds()
            except Unsatisfiable:  # there is nothing that could be wrong about this request
                continue
            seen += 1
    assert seen > 60


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


def prepared_service(client, make_service, platform, world, path):
    """A service in the state that the operation is for, and a token of it."""
    if "/services" not in path:
        return {}
    service = make_service(f"service-{len(world.runs)}")["id"]
    token = client.post(f"/api/v1/services/{service}/tokens", json={"name": "a"}).json()["id"]
    if path.endswith("/stream"):
        platform.services.delete(service)
        for run in world.alive():
            world.end(run, 0)
        for _ in range(2):
            platform.service_reconciler.tick()
    return {service_examples.SERVICE_ID: service, service_examples.TOKEN_ID: token}


def test_every_example_works(client, make_job, make_service, platform, world, file_id):
    document = client.get("/api/v1/openapi.json").json()
    seen = 0
    for method, path, operation in operations(document):
        if path in SLOW:
            continue
        fresh = client.post("/api/v1/files", params={"filename": "x.json"}, content=b'[{"prompt":"a"}]').json()["id"]
        file = fresh if method == "delete" else file_id
        ids = {examples.JOB_ID: prepared(make_job, platform, path, method), examples.FILE_ID: file}
        ids |= prepared_service(client, make_service, platform, world, path)
        ids[pai.KEY_ID] = platform.access_keys.create("a")[0].id
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
    assert seen >= 38


def test_every_operation_says_what_it_does_and_refuses(client):
    document = client.get("/api/v1/openapi.json").json()
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        if path.startswith("/api/"):
            assert {"400", "401", "403", "422", "503"} <= operation["responses"].keys(), (method, path)
            assert "application/problem+json" in operation["responses"]["401"]["content"]
