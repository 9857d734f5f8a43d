"""What is counted and logged."""

import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quickalign.api.gateway.figures import Figures
from tests.support.gateways import wait_for


def samples(client, platform):
    token = platform.tokens.create("scrape")
    text = client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def ended(endpoints, number):
    wait_for(lambda: (lambda now: now.requests == number and now.open_requests == 0)(endpoints.metrics("service-one")))


def test_figures_of_a_service(ask, endpoints, client, platform):
    for order in ("say 4", "say 4", "whole", "die 2", "status 500", "status 400"):
        ask(order)
    ended(endpoints, 6)
    now = endpoints.metrics("service-one")
    assert (now.errors, now.tokens_out) == (2, 4 + 4 + 7 + 2)
    assert 0 < now.time_to_first_token_p50 <= now.time_to_first_token_p95
    assert now.tokens_per_second > 0
    found = samples(client, platform)
    label = ("service", "one")
    by_status = {
        dict(labels)["status"]: value
        for (name, labels), value in found.items()
        if name == "quickalign_service_requests_total"
    }
    assert by_status == {"200": 3, "400": 1, "500": 1, "broken": 1}
    assert found["quickalign_service_tokens_total", (label,)] == 17
    assert found["quickalign_service_errors_total", (label,)] == 2
    assert found["quickalign_service_open_requests", (label,)] == 0
    assert found["quickalign_service_time_to_first_token_seconds_count", (label,)] == 3
    assert found["quickalign_service_time_to_first_token_seconds_bucket", (("le", "+Inf"), label)] == 3
    route = (("method", "POST"), ("route", "/services/{name}/v1/chat/completions"), ("status", "200"))
    assert found["quickalign_http_requests_total", route] == 4


def test_a_client_that_left_is_no_error(held, endpoints, client, platform):
    with held("hang 1"):
        assert endpoints.metrics("service-one").open_requests == 1
    ended(endpoints, 1)
    assert endpoints.metrics("service-one").errors == 0
    assert samples(client, platform)["quickalign_service_requests_total", (("service", "one"), ("status", "left"))] == 1


def test_services_that_are_gone_are_forgotten():
    there = {"a"}
    figures = Figures(lambda service: service in there)
    for number in range(1000):
        there.add(f"s{number}")
        figures.of(f"s{number}", f"s{number}").tokens += 1
        there.discard(f"s{number}")
    assert len(figures._services) == 1


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "quickalign.api.request")

    def found():
        wait_for(lambda: any(hasattr(record, "fields") and "service" in record.fields for record in caplog.records))
        return [record.fields for record in caplog.records if "service" in getattr(record, "fields", {})]

    return found


def test_the_log_says_who_asked_and_who_answered_but_not_what(ask, lines):
    ask("say 3", headers={"X-Request-ID": "abc"})
    (line,) = lines()
    assert (line["service"], line["token"], line["status"], line["ended"], line["tokens"]) == (
        "one",
        "service",
        200,
        "200",
        3,
    )
    assert line["replica"].startswith("replica-")
    assert line["first_token_ms"] >= 0
    assert "say 3" not in str(line)
    assert "qs-one" not in str(line)


class TestWithContents:
    @pytest.fixture
    def config(self, config):
        return config.model_copy(update={"log_contents": True})

    def test_the_operator_may_ask_for_contents(self, ask, lines):
        ask("flood 8")
        (line,) = lines()
        assert "flood 8" in line["request"]
        assert "xxxx" in line["answer"]
        assert len(line["answer"]) == 64 << 10
