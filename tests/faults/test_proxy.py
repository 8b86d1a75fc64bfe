"""The proxy does to an exchange exactly what it was told, at the stage it was told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.faults.clinic import observation, patient
from tests.faults.proxy import STAGES, Arrival, Proxy, Rule, Stage, between
from tests.faults.server import FaultServer, serving


class Line:
    """A client that talks to a server through a proxy."""

    def __init__(self, server: FaultServer, proxy: Proxy, base: str) -> None:
        self.server, self.proxy, self.base = server, proxy, base
        self.session = requests.Session()
        self.session.trust_env = False

    def put(self, number: int = 1, timeout: float = 30) -> int:
        resource = observation(number, 1)
        url = f"{self.base}/Observation/{resource['id']}"
        return self.session.put(url, json=resource, timeout=timeout).status_code

    @property
    def stored(self) -> int:
        return self.server.store.head - 1


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    server = FaultServer(tmp_path / "log")
    server.commit_as_hospital("PUT", patient(1))
    with serving(server), between(server.base) as (proxy, base):
        one = Line(server, proxy, base)
        yield one
        one.session.close()


@pytest.mark.parametrize("do", ["reset", "close"])
@pytest.mark.parametrize(
    ("stage", "stored"), [("connected", 0), ("mid-request", 0), ("committed", 1), ("mid-reply", 1)]
)
def test_an_exchange_ends_where_it_was_told_to(line: Line, stage: Stage, do: str, stored: int) -> None:
    rule = line.proxy.add(Rule(stage, do, at=2))  # type: ignore[arg-type]
    assert line.put(1) == 201
    with pytest.raises(requests.RequestException):
        line.put(2)
    assert line.stored == 1 + stored
    assert line.put(3) == 201
    assert rule.hits == 1


@pytest.mark.parametrize(("stage", "stored"), [*zip(STAGES, (0, 0, 1, 1, 1), strict=True)])
def test_an_exchange_stands_still_until_it_may_go_on(line: Line, stage: Stage, stored: int) -> None:
    rule = line.proxy.add(Rule(stage, "hold"))
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(line.put(1)))
    thread.start()
    rule.held.wait()
    assert line.stored == stored
    rule.go_on.set()
    thread.join()
    assert (statuses, line.stored) == ([201], 1)


def test_what_is_decided_while_an_exchange_is_held_happens_to_that_one(line: Line) -> None:
    rule = line.proxy.add(Rule("connected", "hold"))
    failures: list[Exception] = []

    def put() -> None:
        try:
            line.put(1)
        except requests.RequestException as error:
            failures.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    rule.held.wait()
    rule.then.append(Rule("committed", "reset"))
    rule.go_on.set()
    thread.join()
    assert (len(failures), line.stored) == (1, 1)
    assert line.put(2) == 201


def test_a_stall_ends_with_the_patience_of_the_client(line: Line) -> None:
    line.proxy.add(Rule("committed", "hold"))
    with pytest.raises(requests.Timeout):
        line.put(1, timeout=0.2)
    assert line.stored == 1


@pytest.mark.parametrize("stage", ["connected", "mid-request"])
def test_what_is_stalled_arrives_after_the_client_gave_up_and_before_what_it_asks_next(
    line: Line, stage: Stage
) -> None:
    line.proxy.add(Rule(stage, "stall"))
    with pytest.raises(requests.Timeout):
        line.put(1, timeout=0.2)
    assert line.stored == 0
    assert line.put(2) == 201
    assert [one.id[-1] for one in line.server.store.commits[1:]] == ["1", "2"]


def test_a_stall_is_not_ended_by_what_others_ask(line: Line) -> None:
    rule = line.proxy.add(Rule("connected", "stall"))
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(line.put(1)))
    thread.start()
    rule.held.wait()
    assert requests.get(f"{line.base}/Patient/p1", timeout=30).status_code == 200
    assert (statuses, line.stored) == ([], 0)
    line.proxy.clear()
    thread.join()
    assert (statuses, line.stored) == ([201], 1)


def test_a_request_can_reach_the_server_twice(line: Line) -> None:
    line.proxy.add(Rule("connected", "repeat"))
    assert line.put(1) == 200
    assert [one.version for one in line.server.store.commits[1:]] == [1, 2]


def test_connections_are_refused_until_they_are_not(line: Line) -> None:
    assert line.put(1) == 201
    line.proxy.refuse()
    with pytest.raises(requests.ConnectionError):
        line.put(2)
    assert line.stored == 1
    line.proxy.accept()
    assert line.put(2) == 201


def test_reads_are_left_alone(line: Line) -> None:
    line.proxy.add(Rule("connected", "reset", times=0))
    assert line.session.get(f"{line.base}/Patient/p1", timeout=30).status_code == 200
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/p1"}}]}
    assert line.session.post(line.base, json=batch, timeout=30).status_code == 200
    with pytest.raises(requests.ConnectionError):
        line.put(1)


def test_a_rate_is_the_same_in_every_run() -> None:
    runs = []
    for _ in range(2):
        rule = Rule("committed", "reset", rate=0.05, seed=3)
        runs.append([rule.hits_this("create") for _ in range(1_000)])
    assert runs[0] == runs[1]
    assert 20 < sum(runs[0]) < 90


def test_a_dead_server_is_a_broken_connection(tmp_path: Path) -> None:
    server = FaultServer(tmp_path / "log")
    with serving(server), between(server.base) as (_, base):
        gone = base
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{gone}/metadata", timeout=5)


def test_a_witness_is_told_of_each_request_by_its_first_byte_before_the_server_has_any_of_it(line: Line) -> None:
    """Also on a connection that stays open: what counts is when the request came, not when the one before did."""
    came: list[Arrival] = []
    line.proxy.witness = came.append
    gate = line.proxy.add(Rule("connected", "hold"))
    before = time.time()
    thread = threading.Thread(target=line.put)
    thread.start()
    gate.held.wait()
    held, stored = len(came), line.stored
    between_them = time.time()
    gate.go_on.set()
    thread.join()
    assert (held, stored) == (1, 0)
    assert line.put(2) == 201
    first, second = came
    assert before <= first.at <= between_them <= second.at <= time.time()
    assert second.request.startswith(b"PUT /fhir/Observation/")
    assert second.request.endswith(b"}")


def test_a_request_that_breaks_off_has_come_all_the_same(line: Line) -> None:
    came: list[Arrival] = []
    heard = threading.Event()

    def witness(one: Arrival) -> None:
        came.append(one)
        heard.set()

    line.proxy.witness = witness
    half = b"PUT /fhir/Observation/x HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", line.proxy.port)) as client:
        client.sendall(half)
        client.shutdown(socket.SHUT_WR)
        # What the server makes of it does not matter.
        assert heard.wait(60)
    assert [one.request for one in came] == [half]
    assert line.stored == 0
