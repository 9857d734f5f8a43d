"""Services made and deleted by the hundred: nothing may be left of them but their rows."""

import os
import socket

import httpx
import pytest
from sqlalchemy import func, select

from quickalign.core.wire.services import RevisionSpec, ServiceCreate, ServiceState, Source
from quickalign.platform.context import Platform
from quickalign.platform.db.service_tables import ReplicaRow, ServiceRow, ServiceTokenRow
from tests.support.platforms import cpu
from tests.support.replicas import MODEL
from tests.support.service_rounds import (
    BRISK,
    QuickExecutor,
    drive,
    drive_to,
    end_all,
    open_files,
    open_rounds,
    processes_of,
    stub_service,
)

S = ServiceState
ROUNDS = int(os.environ.get("QUICKALIGN_SERVICE_ROUNDS", "100"))
REAL_ROUNDS = int(os.environ.get("QUICKALIGN_REAL_SERVICE_ROUNDS", "2"))
AT_ONCE = 20


def count(platform, table, *conditions):
    with platform._database.read() as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions))


@pytest.mark.slow
def test_many_rounds_leave_nothing_behind(tmp_path):
    home = tmp_path / "home"
    platform = open_rounds(home, replicas=QuickExecutor(home / "services"))
    try:
        descriptors = 0
        for first in range(0, ROUNDS, AT_ONCE):
            names = [f"round-{number}" for number in range(first, min(first + AT_ONCE, ROUNDS))]
            made = [platform.services.create(stub_service(home, name)) for name in names]
            drive(platform, lambda names=names: all(platform.services.endpoints.find(one).replicas for one in names))
            for name in names:
                platform.services.tokens.create(name, "somebody")
                platform.services.delete(name)
            drive(platform, lambda: not platform.services.list(limit=1).items)
            gone = platform.services.get(made[0].id)
            assert len(gone.removal.processes) >= 2
            assert len(gone.removal.ports) == 1
            descriptors = descriptors or open_files()
        assert count(platform, ServiceRow, ServiceRow.state == S.DELETED) == ROUNDS
        assert count(platform, ServiceRow, ServiceRow.state != S.DELETED) == 0
        assert count(platform, ReplicaRow) == count(platform, ServiceTokenRow) == 0
        assert list((home / "services").iterdir()) == list((home / "trash").iterdir()) == []
        assert processes_of(home) == []
        assert open_files() <= descriptors + 3
        assert platform.services._executor._wrappers == []
    finally:
        platform.close()
        end_all(home)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_rounds_of_the_real_engine_leave_nothing_behind(tmp_path):
    home = tmp_path / "home"
    platform = Platform.open(home, config=BRISK, devices=cpu())
    try:
        descriptors = 0
        for number in range(REAL_ROUNDS):
            spec = RevisionSpec(source=Source(model=MODEL))
            made = platform.services.create(ServiceCreate(name=f"real-{number}", spec=spec))
            running = drive_to(platform, made, S.RUNNING)
            (upstream,) = platform.services.endpoints.find(made.name).replicas
            asked = {"model": "default", "prompt": "Once", "max_tokens": 4}
            headers = {"Authorization": f"Bearer {upstream.token}"}
            answer = httpx.post(f"{upstream.base_url}/v1/completions", json=asked, headers=headers, trust_env=False)
            assert answer.json()["usage"]["completion_tokens"] > 0
            platform.services.delete(made.name)
            gone = drive_to(platform, made, S.DELETED)
            assert {one.pid for one in running.replicas} < set(gone.removal.processes)
            assert processes_of(home) == []
            descriptors = descriptors or open_files()
        assert list((home / "services").iterdir()) == list((home / "trash").iterdir()) == []
        assert open_files() <= descriptors + 3
    finally:
        platform.close()
        end_all(home)


def test_one_round_with_the_real_wrapper(tmp_path):
    home = tmp_path / "home"
    platform = open_rounds(home)
    try:
        service = platform.services.create(stub_service(home, "whole", replicas=2))
        drive(platform, lambda: len(platform.services.endpoints.find("whole").replicas) == 2)
        running = platform.services.get(service.id)
        platform.services.delete("whole")
        gone = drive_to(platform, service, S.DELETED)
        assert {one.pid for one in running.replicas} < set(gone.removal.processes)
        assert {one.port for one in running.replicas} == set(gone.removal.ports)
        for port in gone.removal.ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
        assert processes_of(home) == []
        assert not (home / "services" / service.id).exists()
    finally:
        platform.close()
        end_all(home)


def test_what_a_replica_leaves_behind_is_ended_before_it_counts_as_gone(tmp_path):
    home = tmp_path / "home"
    platform = open_rounds(home, replicas=QuickExecutor(home / "services"))
    try:
        service = platform.services.create(stub_service(home, "untidy", trouble="litter"))
        drive_to(platform, service, S.RUNNING)
        assert len(processes_of(home)) == 3
        platform.services.delete("untidy")
        gone = drive_to(platform, service, S.DELETED)
        assert len(gone.removal.processes) == 3
        assert processes_of(home) == []
    finally:
        platform.close()
        end_all(home)


def test_a_deaf_replica_is_killed(tmp_path):
    home = tmp_path / "home"
    platform = open_rounds(home, replicas=QuickExecutor(home / "services"))
    try:
        service = platform.services.create(stub_service(home, "deaf", trouble="deaf"))
        drive_to(platform, service, S.RUNNING)
        platform.services.delete("deaf")
        drive_to(platform, service, S.DELETED)
        assert processes_of(home) == []
    finally:
        platform.close()
        end_all(home)


def test_the_words_of_a_replica_that_fails_are_the_reason(tmp_path):
    home = tmp_path / "home"
    platform = open_rounds(home)
    try:
        service = platform.services.create(stub_service(home, "failing", trouble="fail"))
        failed = drive_to(platform, service, S.FAILED)
        assert failed.reason.message == "The stub was asked to fail."
        drive(platform, lambda: not platform.services.get("failing").replicas)
        assert "asked to fail" in platform.services.logs("failing").text
        crashing = platform.services.create(stub_service(home, "crashing", trouble="crash"))
        failed = drive_to(platform, crashing, S.FAILED)
        assert "SIGKILL" in failed.reason.message
        assert "started 3 times and never got ready" in failed.reason.message
    finally:
        platform.close()
        end_all(home)
