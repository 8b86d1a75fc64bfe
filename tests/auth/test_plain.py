"""The ways without a key of our own: user and password, tokens of others, client credentials."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable

import pytest

from fhirbridge.client.auth import Anonymous, AskedBearer, Basic, Bearer, ClientCredentials, Registered
from fhirbridge.client.auth.asked import expiry
from fhirbridge.errors import ConfigError, SiteError, SiteUnreachable
from tests.auth.conftest import Clinic
from tests.auth.test_smart_backend import stops, waits
from tests.auth.tokens import Ticks, Tokens, busy


def jwt_until(moment: float, own: str = "") -> str:
    """A token that says when it ends."""
    parts = [{"alg": "none"}, {"exp": int(moment), "own": own}]
    texts = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts]
    return ".".join([*texts, "c2ln"])


def test_basic_is_user_and_password_in_utf_8() -> None:
    own = Basic("clinic", "pässword:with colon")
    value = own.headers()["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(value).decode() == "clinic:pässword:with colon"
    assert "ssword" not in repr(own)
    assert not own.refused(401)


def test_nobody_and_a_fixed_token_have_nothing_else_to_offer() -> None:
    assert Anonymous().headers() == {}
    assert not Anonymous().refused(401)
    assert Bearer("t").headers() == {"Authorization": "Bearer t"}
    assert not Bearer("t").refused(401)


class Place:
    """Where somebody else keeps a token; counts who looks."""

    def __init__(self, token: str) -> None:
        self.token, self.looks = token, 0

    def __call__(self) -> str:
        self.looks += 1
        if not self.token:
            raise ConfigError("it is empty", hint="fill it")
        return self.token


def sent(own: AskedBearer) -> str:
    return own.headers()["Authorization"].removeprefix("Bearer ")


def test_a_place_is_looked_at_again_after_a_401_and_not_before() -> None:
    place, ticks = Place("one"), Ticks()
    own = AskedBearer(place, monotonic=ticks)
    assert [sent(own) for _ in range(5)] == ["one"] * 5
    assert place.looks == 1
    assert not own.refused(401)
    assert place.looks == 2
    place.token = "two"
    # A command takes its time: not after each of a hundred refusals.
    assert not own.refused(401)
    ticks.sleep(11)
    assert own.refused(401)
    assert (sent(own), place.looks) == ("two", 3)
    assert not own.refused(403)


def test_a_token_that_says_when_it_ends_is_asked_for_anew_before() -> None:
    clock, ticks = Ticks(1_000_000), Ticks()
    place = Place(jwt_until(1_000_300, "first"))
    own = AskedBearer(place, clock=clock, monotonic=ticks)
    first = sent(own)
    clock.sleep(260)
    assert sent(own) == first
    place.token = jwt_until(1_000_600, "second")
    clock.sleep(20)
    assert sent(own) == place.token
    assert place.looks == 2


def test_a_place_that_is_empty_later_on_lets_everything_wait() -> None:
    place, ticks = Place("one"), Ticks()
    own = AskedBearer(place, monotonic=ticks)
    sent(own)
    place.token = ""
    with pytest.raises(SiteUnreachable) as caught:
        own.refused(401)
    assert (caught.value.code, waits(caught.value)) == ("site.secret", True)
    with pytest.raises(ConfigError):
        AskedBearer(place)


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "..", "a.e30.c", "a.eyJleHAiOiJub3cifQ.c", "a.W10.c", "ä.b.c"])
def test_a_token_that_says_nothing_has_no_end(token: str) -> None:
    assert expiry(token) is None


def credentials(clinic: Clinic, registered: Registered, secret: Callable[[], str]) -> ClientCredentials:
    return ClientCredentials(clinic.channel, registered, secret, monotonic=clinic.ticks, tell=clinic.notices.append)


@pytest.mark.parametrize("post", [False, True])
def test_a_client_and_its_secret_get_a_token(clinic: Clinic, tokens: Tokens, post: bool) -> None:
    """With the characters that the two ways encode differently; a new secret needs no new start."""
    tokens.client_id, tokens.secret = "clinic & söhne".encode().hex(), "a+b%20:c&d=é"
    secrets = [tokens.secret]
    registered = Registered(tokens.client_id, tokens.url, "system/Observation.cruds", post)
    client = credentials(clinic, registered, lambda: secrets[-1])
    client.headers()
    tokens.secret = "another one"
    secrets.append("another one")
    clinic.ticks.sleep(300)
    client.headers()
    assert tokens.verdicts == ["issued", "issued"]
    assert clinic.notices == []
    assert "another" not in repr(client)


def test_a_wrong_secret_is_one_refused_request(clinic: Clinic, tokens: Tokens) -> None:
    tokens.secret = "right"
    client = credentials(clinic, Registered(tokens.client_id, tokens.url), lambda: "wrong")
    for _ in range(5):
        with pytest.raises(SiteError) as caught:
            client.headers()
        assert stops(caught.value)
        assert "wrong" not in str(caught.value)
    assert tokens.verdicts == ["secret"]


def test_a_secret_that_is_away_and_a_busy_endpoint_let_everything_wait(clinic: Clinic, tokens: Tokens) -> None:
    tokens.secret = "right"
    place = Place("right")
    client = credentials(clinic, Registered(tokens.client_id, tokens.url, "system/*.rs"), place)
    place.token = ""
    tokens.instead = deque([busy(503)])
    for code in ("site.secret", "site.token_busy"):
        with pytest.raises(SiteError) as caught:
            client.headers()
        assert (caught.value.code, waits(caught.value)) == (code, True)
        clinic.ticks.sleep(2)
        place.token = "right"
    assert client.headers()
