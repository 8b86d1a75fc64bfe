"""The keeper of tokens, whatever its endpoint does: never two fetches at once, never one too early."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.client.auth.renewed import Renewed
from fhirbridge.client.auth.token import Token, read_token
from fhirbridge.client.auth.trouble import Trouble, refused
from fhirbridge.errors import SiteError
from fhirbridge.fhir.json import dump, parse
from tests.auth.tokens import Ticks

REFUSED = refused("site.token_refused", "no")
AWAY = Trouble("away", "site.token_failed", "no")
WAITS = st.floats(0, 10_000)
TROUBLES = st.one_of(
    st.just(REFUSED), st.just(AWAY), st.integers(1, 600).map(lambda s: Trouble("busy", "b", "", wait=s))
)


class Scripted(Renewed):
    """Fetches what a function makes, and notes when."""

    def __init__(self, make: Callable[[], Token | Trouble], ticks: Ticks) -> None:
        super().__init__(ticks)
        self._make = make
        self.fetched: list[tuple[float, Token | Trouble]] = []

    def _fetch(self) -> Token | Trouble:
        found = self._make()
        self.fetched.append((self._monotonic(), found))
        return found


@given(st.lists(st.tuples(WAITS, st.one_of(st.integers(1, 5_000), TROUBLES), st.booleans()), max_size=40))
def test_no_fetch_is_made_too_early_and_no_token_is_used_too_late(
    script: list[tuple[float, int | Trouble, bool]],
) -> None:
    """Before each request some seconds pass, and the next fetch would give a token of so many seconds, or trouble;
    some requests are answered with 401."""
    ticks = Ticks()
    coming: list[int | Trouble] = [AWAY]
    count = iter(range(10_000))

    def make() -> Token | Trouble:
        found = coming[0]
        return found if isinstance(found, Trouble) else Token(f"t{next(count)}", ticks() + found)

    kept = Scripted(make, ticks)
    for seconds, what, is_refused in script:
        ticks.sleep(seconds)
        coming[0] = what
        try:
            token = kept.headers()["Authorization"].removeprefix("Bearer ")
            last = next(one for _, one in reversed(kept.fetched) if isinstance(one, Token))
            assert (token, ticks() < last.until) == (last.value, True)
            if is_refused:
                kept.refused(401)
        except SiteError:
            pass
    in_a_row = 0
    for (at, found), (later, _) in zip(kept.fetched, kept.fetched[1:], strict=False):
        if isinstance(found, Trouble):
            in_a_row = in_a_row + 1 if found is REFUSED else in_a_row
            wait = min(60 * 2 ** (in_a_row - 1), 3_600) if found is REFUSED else found.wait
            assert later >= at + wait
        else:
            in_a_row = 0


def test_those_who_wait_for_a_fetch_that_fails_do_not_ask_again() -> None:
    gate, begun = threading.Event(), threading.Event()

    def make() -> Token | Trouble:
        begun.set()
        gate.wait()
        return AWAY

    kept = Scripted(make, Ticks())

    def ask(_: int) -> str:
        try:
            kept.headers()
        except SiteError as error:
            return error.code
        return "a token"

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, number) for number in range(8)]
        begun.wait()
        gate.set()
        assert {one.result() for one in asked} == {"site.token_failed"}
    assert len(kept.fetched) == 1


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=8), some, max_size=3),
    max_leaves=5,
)


@given(JSONS, JSONS, JSONS, st.sampled_from(["bearer", "Bearer", "BEARER"]))
def test_whatever_an_answer_says_a_token_lives_for_a_bounded_time(
    life: object, scope: object, value: object, sort: str
) -> None:
    tree = {"access_token": "abc", "token_type": sort, "expires_in": life, "scope": scope}
    token = read_token(parse(dump(tree)), 100.0)
    assert token is not None
    assert 100 < token.until <= 3_700
    assert read_token(parse(dump({**tree, "access_token": value})), 0.0) is None or isinstance(value, str)
    assert read_token(parse(dump(value)), 0.0) is None


def test_a_life_is_read_as_servers_write_it() -> None:
    def until(life: object) -> float:
        token = read_token({"access_token": "a", "token_type": "bearer", "expires_in": life}, 0.0)
        assert token is not None
        return token.until

    assert [until(300), until("300"), until(None), until(-5), until(True), until(10**9)] == [
        270,
        270,
        270,
        270,
        270,
        3_570,
    ]
    assert until(50) == 40
