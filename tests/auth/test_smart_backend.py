"""SMART Backend Services against an endpoint that checks every rule: what goes wrong ends well, and is told."""

from __future__ import annotations

import json
import logging
import pickle
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from fhirbridge.client.auth import SmartBackend
from fhirbridge.client.auth.signing import SigningKey
from fhirbridge.errors import SiteError, SiteRefused, SiteUnreachable
from fhirbridge.sync.retry import Do, Happened, Sent, decide
from tests.auth.conftest import Clinic
from tests.auth.tokens import JSON, Tokens, busy
from tests.client.server import FakeServer, Reply

WRITES = (
    Sent(),
    Sent(resources=20, bundle=True),
    Sent(guarded=True, conditional=True),
    Sent(keyed=True, attempt=50, others_pass=True),
)


def bearer(client: SmartBackend) -> str:
    scheme, _, token = client.headers()["Authorization"].partition(" ")
    assert scheme == "Bearer"
    return token


def wrong(client: SmartBackend) -> SiteError:
    with pytest.raises(SiteError) as caught:
        client.headers()
    return caught.value


def waits(error: SiteError) -> bool:
    """Whether the retry table lets every write wait for this, at any attempt: none is looked for, or set aside."""
    made = [decide(Happened.of(error), sent, now=0, chance=0) for sent in WRITES]
    return all(one.do is Do.AGAIN and one.scope == "site" for one in made)


def stops(error: SiteError) -> bool:
    """Whether the table ends the run, with every write still queued."""
    made = [decide(Happened.of(error), sent, now=0, chance=0) for sent in WRITES]
    return all(one.do in (Do.REFRESH, Do.STOP) for one in made)


@pytest.mark.parametrize("sort", ["es", "rs"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_token_is_fetched_once_and_kept(
    clinic: Clinic, tokens: Tokens, sort: str, version: int, request: pytest.FixtureRequest
) -> None:
    """Both algorithms, and scopes in the version that the server speaks; the margin before its end is kept."""
    key = request.getfixturevalue(sort)
    tokens.know(key)
    tokens.version, tokens.life = version, 100
    client = clinic.smart(key)
    first = bearer(client)
    clinic.ticks.sleep(79)
    assert bearer(client) == first
    clinic.ticks.sleep(2)
    assert bearer(client) != first
    assert tokens.verdicts == ["issued", "issued"]
    assert set(tokens.scopes) == {
        "system/Observation.cruds system/Patient.rs"
        if version == 2
        else "system/Observation.read system/Observation.write system/Patient.read"
    }
    assert clinic.notices == []


def test_a_scope_that_is_set_is_asked_for_as_it_stands(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    bearer(clinic.smart(es, scope="system/*.rs"))
    assert tokens.scopes == ["system/*.rs"]


def test_many_threads_fetch_one_token(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    client = clinic.smart(es)
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: bearer(client), range(64)))
    assert len(found) == 1
    assert tokens.verdicts == ["issued"]


def test_after_a_401_one_of_many_threads_renews_and_all_go_on(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    client = clinic.smart(es)
    met = threading.Barrier(8)

    def work(_: int) -> tuple[str, bool, str]:
        before = bearer(client)
        met.wait()
        return before, client.refused(401), bearer(client)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert tokens.verdicts == ["issued", "issued"]
    assert {one[1] for one in found} == {True}
    assert len({one[0] for one in found}) == len({one[2] for one in found}) == 1
    assert found[0][0] != found[0][2]


def test_a_second_401_is_handed_on(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    """A new token that is refused at once is not cured by another one; one that was good for a while is."""
    tokens.know(es)
    client = clinic.smart(es)
    bearer(client)
    assert client.refused(401)
    bearer(client)
    assert not client.refused(401)
    assert not client.refused(401)
    assert not client.refused(403)
    clinic.ticks.sleep(60)
    bearer(client)
    assert client.refused(401)
    assert tokens.verdicts == ["issued"] * 3


def test_a_refused_client_asks_no_more_for_a_growing_time(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    """Forty requests, of eight threads at once, are one refused token request, or an account would be locked."""
    client = clinic.smart(es)

    def work(_: int) -> str:
        error = wrong(client)
        assert stops(error)
        return error.code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(work, range(40)))
    assert sorted(set(codes)) == ["site.token_closed", "site.token_refused"]
    assert codes.count("site.token_refused") == 1
    asked = []
    for _ in range(8):
        clinic.ticks.sleep(59)
        wrong(client)
        asked.append(len(tokens.verdicts))
    # After 60 s, then 120 s, then 240 s.
    assert asked == [1, 2, 2, 2, 3, 3, 3, 3]
    tokens.know(es)
    clinic.ticks.sleep(480)
    assert bearer(client)


def test_a_wrong_audience_is_a_refusal_that_stops(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    # A proxy in between: the endpoint knows itself by another address.
    tokens.says, tokens.url = tokens.url, "https://login.hospital.example/token"
    error = wrong(clinic.smart(es))
    assert tokens.verdicts == ["aud"]
    assert (error.code, stops(error)) == ("site.token_refused", True)
    assert "invalid_client" in str(error)


@pytest.mark.parametrize("off", [-90, -30, 30, 90])
def test_a_clock_that_is_off_by_90_seconds_needs_nothing(
    clinic: Clinic, tokens: Tokens, es: SigningKey, off: int
) -> None:
    tokens.know(es)
    clinic.off = off
    assert bearer(clinic.smart(es))
    assert tokens.verdicts == ["issued"]
    assert clinic.notices == []


@pytest.mark.parametrize(("off", "rule"), [(-600, "expired"), (600, "exp too late")])
def test_a_clock_that_is_off_by_more_is_corrected_and_told(
    clinic: Clinic, tokens: Tokens, es: SigningKey, off: int, rule: str
) -> None:
    """By the endpoint's Date, once; later tokens need no second try."""
    tokens.know(es)
    clinic.off = off
    client = clinic.smart(es)
    bearer(client)
    clinic.ticks.sleep(400)
    bearer(client)
    assert tokens.verdicts == [rule, "issued", "issued"]
    (notice,) = clinic.notices
    assert notice.code == "site.clock"


def test_a_clock_that_is_off_by_an_hour_is_for_people(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    clinic.off = 3_700
    error = wrong(clinic.smart(es))
    assert tokens.verdicts == ["exp too late"]
    assert (error.code, stops(error)) == ("site.clock", True)


def test_a_key_that_the_hospital_has_not_read_yet_gives_way_to_the_older_one(
    clinic: Clinic, tokens: Tokens, es: SigningKey, es2: SigningKey
) -> None:
    """It is tried once an hour; while that goes on, no other token request is refused."""
    tokens.know(es)
    client = clinic.smart(es2, es)
    for _ in range(10):
        bearer(client)
        clinic.ticks.sleep(300)
    assert tokens.verdicts == ["kid"] + ["issued"] * 10
    assert [one.code for one in clinic.notices] == ["site.key"]
    tokens.know(es2, es)
    clinic.ticks.sleep(900)
    bearer(client)
    assert tokens.verdicts[-1] == "issued"
    # And the newest signs.
    tokens.know(es2)
    clinic.ticks.sleep(300)
    bearer(client)
    assert tokens.verdicts.count("kid") == 1


def test_an_older_key_that_is_dropped_gives_way_to_the_newest(
    clinic: Clinic, tokens: Tokens, es: SigningKey, es2: SigningKey
) -> None:
    tokens.know(es)
    client = clinic.smart(es2, es)
    bearer(client)
    tokens.know(es2)
    clinic.ticks.sleep(300)
    bearer(client)
    assert tokens.verdicts == ["kid", "issued", "kid", "issued"]


def test_a_key_that_nobody_knows_costs_two_requests_and_stops(
    clinic: Clinic, tokens: Tokens, es: SigningKey, es2: SigningKey
) -> None:
    error = wrong(clinic.smart(es2, es))
    assert tokens.verdicts == ["kid", "kid"]
    assert stops(error)


def test_the_key_whose_algorithm_the_server_takes_signs(
    clinic: Clinic, tokens: Tokens, es: SigningKey, rs: SigningKey
) -> None:
    tokens.know(es, rs)
    tokens.algorithms = ("RS384",)
    assert bearer(clinic.smart(es, rs))
    error = wrong(clinic.smart(es))
    assert (error.code, stops(error)) == ("site.token_algorithm", True)
    assert tokens.verdicts == ["issued"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttled_endpoint_is_asked_when_it_wants_to_be(
    clinic: Clinic, tokens: Tokens, es: SigningKey, status: int
) -> None:
    """Until then everything waits: no record is failed or looked for."""
    tokens.know(es)
    tokens.instead = deque([busy(status, "30")])
    client = clinic.smart(es)
    for _ in range(5):
        error = wrong(client)
        assert isinstance(error, SiteRefused)
        assert (error.status, error.code, waits(error)) == (429, "site.token_busy", True)
        assert error.retry_after is not None
        assert decide(Happened.of(error), Sent(), now=1_000.0, chance=0.0).at >= 1_000 + int(error.retry_after)
        clinic.ticks.sleep(5)
    assert tokens.verdicts == ["instead"]
    clinic.ticks.sleep(6)
    assert bearer(client)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(502, b"<html>", content_type="text/html"),
        Reply(408),
        Reply(cut=True),
        Reply(200, b"<html>log in</html>", content_type="text/html"),
        Reply(200, b'{"access_token": "a b", "token_type": "bearer"}', content_type=JSON),
        Reply(200, b'{"access_token": "ab", "token_type": "mac"}', content_type=JSON),
        Reply(200, b'{"access_token": "ab"}', content_type=JSON),
        Reply(200, b'{"access_token": "ab", "access_token": "cd", "token_type": "bearer"}', content_type=JSON),
        Reply(200, b"[]", content_type=JSON),
        Reply(200, b"", content_type=JSON),
        Reply(200, b"{", content_type=JSON),
        Reply(400, b'{"error": "temporarily_unavailable"}', content_type=JSON),
    ],
    ids=lambda reply: f"{reply.status}-{reply.body[:44]!r}",
)
def test_an_endpoint_that_fails_lets_everything_wait(
    clinic: Clinic, tokens: Tokens, es: SigningKey, reply: Reply
) -> None:
    tokens.know(es)
    tokens.instead = deque([reply])
    client = clinic.smart(es)
    error = wrong(client)
    assert isinstance(error, SiteUnreachable)
    assert waits(error)
    assert error.sent is False
    clinic.ticks.sleep(2)
    assert bearer(client)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"error": "invalid_client", "error_description": "canary-1"}, "invalid_client"),
        ({"error": "invalid_scope", "error_uri": "https://canary-2.example"}, "invalid_scope"),
        ({"error": "canary-3 of the server's own"}, "other"),
        ({"error": {"canary": 4}}, "other"),
        ({"canary": 5}, "no reason given"),
    ],
)
def test_of_a_refusal_only_the_code_of_the_rfc_is_told(
    clinic: Clinic, tokens: Tokens, es: SigningKey, body: dict[str, object], word: str
) -> None:
    tokens.instead = deque([Reply(400, json.dumps(body).encode(), content_type=JSON)])
    client = clinic.smart(es)
    for error in (wrong(client), wrong(client)):
        assert stops(error)
        assert word in str(error)
        assert "canary" not in f"{error} {error!r}"


def test_a_refusal_that_is_told_as_success_is_one(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.instead = deque([Reply(200, b'{"error": "invalid_client"}', content_type=JSON)])
    assert stops(wrong(clinic.smart(es)))


def test_no_redirect_of_the_endpoint_is_followed(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    tokens.instead = deque([Reply(307, headers={"Location": f"{tokens.url}?again"})])
    error = wrong(clinic.smart(es))
    assert tokens.verdicts == ["instead"]
    assert stops(error)


def test_a_narrower_scope_is_a_warning_that_names_what_is_missing(
    clinic: Clinic, tokens: Tokens, es: SigningKey
) -> None:
    tokens.know(es)
    tokens.granted = lambda _: "system/Observation.rs system/Patient.rs"
    client = clinic.smart(es)
    bearer(client)
    clinic.ticks.sleep(300)
    bearer(client)
    (notice,) = clinic.notices
    assert notice.code == "site.scope"
    assert "system/Observation.cruds" in notice.message
    assert "Patient" not in notice.message


@pytest.mark.parametrize("granted", [None, "system/*.cruds", "system/*.*", "system/*.read system/*.write"])
def test_a_scope_that_covers_what_was_asked_is_no_warning(
    clinic: Clinic, tokens: Tokens, es: SigningKey, granted: str | None
) -> None:
    tokens.know(es)
    tokens.granted = lambda _: granted
    bearer(clinic.smart(es))
    assert clinic.notices == []


def test_a_warning_goes_to_the_log_and_holds_no_token(
    tokens: Tokens, clinic: Clinic, es: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    tokens.know(es)
    tokens.granted = lambda _: "system/Patient.rs"
    client = SmartBackend(clinic.channel, clinic.smart(es)._service, [es])
    with caplog.at_level(logging.DEBUG):
        token = bearer(client)
    assert "site.scope" in caplog.text
    assert token not in caplog.text


def test_the_assertion_names_where_the_keys_are_published(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    tokens.jku = "https://clinic.example/jwks.json"
    assert bearer(clinic.smart(es, jku=tokens.jku))


def test_without_a_smart_configuration_the_endpoint_has_to_be_set(
    clinic: Clinic, tokens: Tokens, es: SigningKey
) -> None:
    tokens.know(es)
    tokens.smart = False
    error = wrong(clinic.smart(es))
    assert (error.code, stops(error)) == ("site.no_smart", True)
    assert "token_url" in error.hint
    assert bearer(clinic.smart(es, token_url=tokens.url))
    assert tokens.scopes == ["system/Observation.cruds system/Patient.rs"]


def test_an_endpoint_that_is_set_outranks_what_the_server_says(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    tokens.says, tokens.version = "https://evil.example/token", 1
    assert bearer(clinic.smart(es, token_url=tokens.url))
    tokens.says = tokens.url
    assert bearer(clinic.smart(es, token_url=tokens.url))
    # Its version of the scopes still counts, where the two agree.
    assert tokens.scopes[-1].startswith("system/Observation.read")


def test_a_foreign_endpoint_is_refused_with_what_to_add(
    clinic: Clinic, tokens: Tokens, es: SigningKey, server: FakeServer
) -> None:
    tokens.know(es)
    tokens.says = "https://login.hospital.example:8443/token"
    error = wrong(clinic.smart(es))
    assert tokens.verdicts == []
    assert (error.code, stops(error)) == ("site.token_origin", True)
    assert 'token_origins = ["https://login.hospital.example:8443"]' in error.hint


def test_an_endpoint_that_has_moved_is_found_again(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    client = clinic.smart(es)
    bearer(client)
    clinic.ticks.sleep(300)
    tokens.instead = deque([Reply(404)])
    wrong(client)
    looked = len(tokens.verdicts)
    clinic.ticks.sleep(61)
    assert bearer(client)
    assert len(tokens.verdicts) == looked + 1


def test_nothing_shows_what_it_holds(clinic: Clinic, tokens: Tokens, es: SigningKey) -> None:
    """Neither repr nor pickle; and no error on the way has quoted the endpoint's words."""
    tokens.know(es)
    client = clinic.smart(es)
    token = bearer(client)
    assert token not in repr(client)
    for held in (client, es, client._token):
        with pytest.raises(TypeError, match="holds a secret"):
            pickle.dumps(held)
    assert repr(es) == "SigningKey(…)"
    assert token not in repr(client._token)
