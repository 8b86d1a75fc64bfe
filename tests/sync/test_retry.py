"""The retry table, row by row, and what holds for every row: never early, never without end, never blindly."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.client.patience import LONGEST_WAIT, retry_after
from fhirbridge.errors import SiteError, SiteRefused, SiteUnreachable, SiteUntrusted
from fhirbridge.fhir.outcome import OVER_LIMIT, issues, signals
from fhirbridge.sync.pace import LONGEST_BACKOFF, Pace, wait
from fhirbridge.sync.retry import TABLE, Decision, Do, Failure, Happened, Sent, decide, row_for

NOW = 1_795_338_465.0
ALONE = Sent(guarded=True)
BARE = Sent()
BUNDLE = Sent(resources=7, bundle=True, guarded=True)
READ = Sent(writes=False)
WHERE = Sent(conditional=True)


def happened(what: int | Failure, *said: str, entry: bool = False) -> Happened:
    failure, status = (what, None) if isinstance(what, Failure) else (None, what)
    return Happened(failure, status, frozenset(said), entry=entry)


def entry(what: int | Failure, *said: str) -> Happened:
    return happened(what, *said, entry=True)


# Every row: what makes it apply, what is done at first, and what when the attempts are used up (if they ever are).
ROWS: dict[str, tuple[Happened, Sent, Do, Do]] = {
    "unsent": (happened(Failure.UNSENT), BUNDLE, Do.AGAIN, Do.AGAIN),
    "misled": (happened(Failure.MISLED), BUNDLE, Do.STOP, Do.STOP),
    "garbled read": (happened(Failure.BROKEN), READ, Do.AGAIN, Do.AGAIN),
    "silent entry": (entry(Failure.UNBELIEVABLE), BUNDLE, Do.LOOK, Do.PARK),
    "broken bundle": (happened(Failure.BROKEN), BUNDLE, Do.LOOK, Do.BISECT),
    "broken": (happened(Failure.BROKEN), ALONE, Do.LOOK, Do.PARK),
    "no FHIR, bundle": (happened(Failure.UNBELIEVABLE), BUNDLE, Do.LOOK, Do.BISECT),
    "no FHIR": (happened(Failure.UNBELIEVABLE), ALONE, Do.LOOK, Do.PARK),
    "throttled entry": (entry(429), BUNDLE, Do.AGAIN, Do.PARK),
    "no guard": (happened(503), BARE, Do.LOOK, Do.AGAIN),
    "throttled": (happened(429), BUNDLE, Do.AGAIN, Do.AGAIN),
    "gateway read": (happened(504), READ, Do.AGAIN, Do.AGAIN),
    "gateway entry": (entry(502), BUNDLE, Do.LOOK, Do.PARK),
    "gateway bundle": (happened(502), BUNDLE, Do.LOOK, Do.BISECT),
    "gateway": (happened(408), ALONE, Do.LOOK, Do.PARK),
    "too large": (happened(413), BUNDLE, Do.HALVE, Do.HALVE),
    "too large alone": (happened(413), ALONE, Do.PARK, Do.PARK),
    "limit": (happened(400, OVER_LIMIT), BUNDLE, Do.HALVE, Do.HALVE),
    "token": (happened(401), BUNDLE, Do.REFRESH, Do.REFRESH),
    "token for entry": (entry(401), Sent(resources=7, bundle=True, refreshed=True), Do.PARK, Do.PARK),
    "token again": (happened(401), Sent(refreshed=True), Do.STOP, Do.STOP),
    "no bundles": (happened(404), BUNDLE, Do.STOP, Do.STOP),
    "repeated key": (happened(409), Sent(keyed=True, guarded=True), Do.CONFIRM, Do.CONFIRM),
    "race in bundle": (happened(409, "HAPI-0825"), BUNDLE, Do.AGAIN, Do.BISECT),
    "bundle refused": (happened(422, "invalid"), BUNDLE, Do.BISECT, Do.BISECT),
    "race": (happened(409), WHERE, Do.AGAIN, Do.PARK),
    "conflict": (happened(409), ALONE, Do.MERGE, Do.PARK),
    "locked": (happened(423), ALONE, Do.AGAIN, Do.PARK),
    "several match": (happened(412, "multiple-matches"), WHERE, Do.PARK, Do.PARK),
    "condition": (happened(412), WHERE, Do.LOOK, Do.PARK),
    "stale": (happened(412), Sent(versioned=True), Do.MERGE, Do.PARK),
    "wrong": (entry(422), BUNDLE, Do.REJECT, Do.REJECT),
    "forbidden": (entry(403), BUNDLE, Do.PARK, Do.PARK),
    "not found": (happened(404), ALONE, Do.PARK, Do.PARK),
    "not allowed": (happened(405), ALONE, Do.PARK, Do.PARK),
    "gone": (happened(410), ALONE, Do.PARK, Do.PARK),
    "other refusal": (happened(451), ALONE, Do.PARK, Do.PARK),
    "failed read": (happened(500), READ, Do.AGAIN, Do.PARK),
    "failed bundle": (happened(500), BUNDLE, Do.LOOK, Do.BISECT),
    "failed": (happened(507), ALONE, Do.LOOK, Do.PARK),
    "unproven read": (happened(204), READ, Do.AGAIN, Do.PARK),
    "unproven": (happened(202), ALONE, Do.LOOK, Do.PARK),
}


def spent(decision: Decision) -> Do:
    """What a decision comes to when looking finds nothing."""
    return decision.then if decision.do is Do.LOOK else decision.do


def with_attempt(sent: Sent, attempt: int, *, others_pass: bool = True) -> Sent:
    fields = {name: getattr(sent, name) for name in Sent.__dataclass_fields__}
    return Sent(**{**fields, "attempt": attempt, "others_pass": others_pass})


def test_every_row_of_the_table_is_walked_and_no_two_have_one_name() -> None:
    assert [row.name for row in TABLE] == list(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_does_what_it_says_first_and_last(name: str) -> None:
    what, sent, first, last = ROWS[name]
    row = row_for(what, sent)
    assert row.name == name
    decision = decide(what, sent, now=NOW, chance=0.5)
    assert (decision.do, decision.row, decision.reason, decision.scope) == (first, name, row.reason, row.scope)
    if first is Do.LOOK:
        assert decision.then is Do.AGAIN
    finally_ = decide(what, with_attempt(sent, row.most or 1_000_000), now=NOW, chance=0.5)
    assert spent(finally_) is last
    if row.do is Do.LOOK:
        assert finally_.do is Do.LOOK


@pytest.mark.parametrize("name", [row.name for row in TABLE if row.outage])
def test_an_outage_does_not_use_up_the_attempts_of_all_that_waits(name: str) -> None:
    """A night without the server must not park everything; what fails while others pass does not go on for ever."""
    what, sent, first, last = ROWS[name]
    assert decide(what, with_attempt(sent, 10_000, others_pass=False), now=NOW, chance=0).do is first
    assert spent(decide(what, with_attempt(sent, 10_000, others_pass=True), now=NOW, chance=0)) is last


# reliability.md §1.5, in its own words and order; None: no sending again of any kind.
RULE: list[tuple[int | Failure, Sent, set[Do]]] = [
    (Failure.UNSENT, BUNDLE, {Do.AGAIN}),
    (Failure.BROKEN, BUNDLE, {Do.LOOK}),
    (Failure.UNBELIEVABLE, ALONE, {Do.LOOK}),
    *[(status, ALONE, {Do.AGAIN}) for status in (425, 429, 503)],
    *[(status, sent, {Do.LOOK}) for status in (502, 504) for sent in (ALONE, BUNDLE, BARE)],
    *[(status, READ, {Do.AGAIN}) for status in (408, 425, 429, 502, 503, 504)],
    (500, ALONE, {Do.LOOK}),
    (409, Sent(keyed=True), {Do.CONFIRM}),
    (409, ALONE, {Do.MERGE}),
    (412, Sent(versioned=True), {Do.MERGE}),
    (413, BUNDLE, {Do.HALVE}),
    (401, ALONE, {Do.REFRESH}),
    (401, Sent(refreshed=True), {Do.STOP}),
    *[(status, ALONE, {Do.PARK}) for status in (403, 404, 410)],
    (422, ALONE, {Do.REJECT}),
]


@pytest.mark.parametrize(("what", "sent", "wanted"), RULE)
def test_the_rule_as_it_was_written_down(what: int | Failure, sent: Sent, wanted: set[Do]) -> None:
    assert decide(happened(what), sent, now=NOW, chance=0.1).do in wanted


everything = st.one_of(st.sampled_from(Failure), st.integers(0, 999), st.none())
said = st.frozensets(st.sampled_from([OVER_LIMIT, "HAPI-0825", "HAPI-0958", "multiple-matches", "throttled", "x"]))
sents = st.builds(
    Sent,
    resources=st.integers(1, 5_000),
    bundle=st.booleans(),
    writes=st.booleans(),
    guarded=st.booleans(),
    keyed=st.booleans(),
    conditional=st.booleans(),
    versioned=st.booleans(),
    refreshed=st.booleans(),
    attempt=st.integers(1, 10**9),
    others_pass=st.booleans(),
)


NO_HEADER: st.SearchStrategy[str | None] = st.none()


@st.composite
def events(draw: st.DrawFn, header: st.SearchStrategy[str | None] = NO_HEADER) -> Happened:
    what = draw(everything)
    failure, status = (what, None) if isinstance(what, Failure) else (None, what)
    return Happened(failure, status, draw(said), draw(header), draw(st.booleans()))


seconds = st.integers(0, 10**14).map(str)
dates = st.integers(0, 4 * 10**9).map(lambda at: format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True))
headers = st.one_of(seconds, dates, st.text(max_size=40), st.just("1795338765409"), st.just("-5"), st.none())


@given(events(headers), sents, st.floats(0, 1, exclude_max=True))
def test_nothing_ever_comes_before_retry_after(event: Happened, sent: Sent, chance: float) -> None:
    """Whatever was done is only done again, or looked at, when the server's own time has come."""
    decision = decide(event, sent, now=NOW, chance=chance)
    asked = retry_after(event.retry_after, NOW).until
    if decision.do in (Do.AGAIN, Do.LOOK, Do.MERGE):
        assert decision.at > NOW
        assert asked is None or decision.at >= asked
        assert decision.at <= NOW + LONGEST_WAIT + LONGEST_BACKOFF
    else:
        assert decision.at == NOW


# After these a write may have been done, whatever the server calls it.
OPEN = [Failure.BROKEN, Failure.UNBELIEVABLE, 200, 201, 202, 204, 302, 408, 500, 502, 504, 507, 599]


@given(st.sampled_from(OPEN), said, sents, st.booleans())
def test_a_doubt_is_never_answered_by_sending_again(
    what: int | Failure, words: frozenset[str], sent: Sent, is_entry: bool
) -> None:
    """Nor by giving up unseen: what may be there is looked for first, also after the last attempt."""
    fields = {name: getattr(sent, name) for name in Sent.__dataclass_fields__}
    decision = decide(happened(what, *words, entry=is_entry), Sent(**{**fields, "writes": True}), now=NOW, chance=0)
    assert decision.do is Do.LOOK


@given(events(), sents, st.integers(1, 30))
def test_one_token_is_asked_for_and_no_second(event: Happened, sent: Sent, tries: int) -> None:
    refreshed = 0
    state = with_attempt(sent, 1)
    for _ in range(tries):
        decision = decide(Happened(None, 401, event.signals, None, event.entry), state, now=NOW, chance=0)
        if decision.do is not Do.REFRESH:
            assert decision.do in (Do.STOP, Do.PARK)
            break
        refreshed += 1
        fields = {name: getattr(state, name) for name in Sent.__dataclass_fields__}
        state = Sent(**{**fields, "refreshed": True})
    assert refreshed <= 1


@given(events(), sents, st.floats(0, 1, exclude_max=True))
def test_what_fails_while_others_pass_ends_or_slows_down(event: Happened, sent: Sent, chance: float) -> None:
    """Sends of one request: at most a dozen, except where nothing reached the server or it asked for patience."""
    now, sends = NOW, 0
    while sends < 50:
        sends += 1
        decision = decide(event, with_attempt(sent, sends), now=now, chance=chance)
        if decision.do not in (Do.AGAIN, Do.MERGE) and not (decision.do is Do.LOOK and decision.then is Do.AGAIN):
            break
        now = max(now, decision.at)
    else:
        row = row_for(event, sent)
        assert row.most is None
        assert row.scope == "site"
        # Half of the longest wait, 40 times and more.
        assert now - NOW > 40 * LONGEST_BACKOFF / 2
    assert sends <= 12 or sends == 50


def test_a_throttled_entry_goes_again_alone_and_holds_up_nobody() -> None:
    decision = decide(Happened.of_entry(429, (), "9"), BUNDLE, now=NOW, chance=0)
    assert (decision.do, decision.scope) == (Do.AGAIN, "entry")
    assert decision.at >= NOW + 9


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (SiteUnreachable("x", sent=False), Happened(Failure.UNSENT)),
        (SiteUnreachable("x", sent=True), Happened(Failure.BROKEN)),
        (
            SiteRefused("x", status=429, retry_after="5", signals=["throttled"]),
            Happened(None, 429, frozenset({"throttled"}), "5"),
        ),
        (SiteUntrusted("x", code="site.not_json"), Happened(Failure.UNBELIEVABLE)),
        (SiteUntrusted("x", code="site.broken_json"), Happened(Failure.UNBELIEVABLE)),
        (SiteUntrusted("x", code="site.too_large"), Happened(Failure.UNBELIEVABLE)),
        (SiteUntrusted("x", code="site.redirect"), Happened(Failure.MISLED)),
        (SiteUntrusted("x", code="site.foreign_link"), Happened(Failure.MISLED)),
        (SiteError("x"), Happened(Failure.UNBELIEVABLE)),
    ],
)
def test_an_error_of_the_client_says_what_happened(error: SiteError, what: Happened) -> None:
    assert Happened.of(error) == what


def test_an_entry_without_a_status_is_an_answer_not_to_be_believed() -> None:
    assert Happened.of_entry(None) == Happened(Failure.UNBELIEVABLE, entry=True)


# ------------------------------------------------------------------------------------------------- Retry-After
@given(st.integers(0, int(LONGEST_WAIT)))
def test_seconds_are_seconds(number: int) -> None:
    assert retry_after(str(number), NOW).until == NOW + number
    assert retry_after(f"  {number} ", NOW).notice is None


@given(st.integers(int(NOW), int(NOW + LONGEST_WAIT)), st.sampled_from(["rfc1123", "rfc850", "asctime"]))
def test_a_date_is_read_in_its_three_forms(at: int, form: str) -> None:
    moment = datetime.fromtimestamp(at, UTC)
    text = {
        "rfc1123": format_datetime(moment, usegmt=True),
        "rfc850": moment.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        "asctime": moment.ctime(),
    }[form]
    assert retry_after(text, NOW).until == at
    assert retry_after(text, NOW).notice is None


@given(st.integers(int(NOW - 80_000), int(NOW + 80_000)), st.sampled_from([1, 1000]))
def test_a_moment_in_place_of_a_wait_is_read_as_that_moment(at: int, scale: int) -> None:
    """SMART's bulk data server sends milliseconds since 1970."""
    found = retry_after(str(at * scale), NOW)
    assert (found.until, found.notice) == (max(at, NOW), "retry-after-epoch")


@pytest.mark.parametrize(
    ("header", "until", "notice"),
    [
        (None, None, None),
        ("0", NOW, None),
        ("1.5", NOW + 1.5, None),
        ("-5", NOW, "retry-after-negative"),
        ("31536000", NOW + LONGEST_WAIT, "retry-after-capped"),
        ("9" * 400, NOW + LONGEST_WAIT, "retry-after-capped"),
        ("Fri, 31 Dec 9999 23:59:59 GMT", NOW + LONGEST_WAIT, "retry-after-capped"),
        ("Thu, 01 Jan 1970 00:00:00 GMT", NOW, "retry-after-past"),
        ("Mon, 30 Feb 2026 10:00:00 GMT", None, "retry-after-garbage"),
        ("Mon, 22 Nov 2026 25:00:00 GMT", None, "retry-after-garbage"),
        ("soon", None, "retry-after-garbage"),
        ("", None, "retry-after-garbage"),
        ("1e3", None, "retry-after-garbage"),
        ("١٢", None, "retry-after-garbage"),
    ],
)
def test_what_is_odd_is_said(header: str | None, until: float | None, notice: str | None) -> None:
    assert (retry_after(header, NOW).until, retry_after(header, NOW).notice) == (until, notice)


@given(st.text(max_size=60) | headers, st.floats(0, 4e9))
def test_no_header_is_an_error_or_stops_a_site_for_ever(header: str | None, now: float) -> None:
    found = retry_after(header, now)
    assert found.until is None or now <= found.until <= now + LONGEST_WAIT


@given(st.integers(1, 10**9), headers, st.floats(0, 1, exclude_max=True))
def test_the_wait_grows_has_a_limit_and_is_never_early(attempt: int, header: str | None, chance: float) -> None:
    due = wait(attempt, header, NOW, chance).until
    assert due >= (retry_after(header, NOW).until or NOW)
    assert due - NOW <= LONGEST_WAIT + LONGEST_BACKOFF
    assert wait(attempt + 1, None, NOW, chance).until >= wait(attempt, None, NOW, chance).until


# --------------------------------------------------------------------------------------------------------- pace
phases = st.lists(st.tuples(st.integers(1, 400), st.sampled_from(["up", "429", "503"])), min_size=1, max_size=6)


@given(phases, headers, st.integers(1, 16), st.randoms(use_true_random=False))
def test_a_site_in_trouble_is_asked_seldom_never_early_and_not_run_over(
    schedule: list[tuple[int, str]], header: str | None, workers: int, chance: Any
) -> None:
    """A day of work against a server that comes and goes, on a clock of its own: no call before the time that was
    asked for, few useless calls, and a slow start afterwards."""
    pace, now, end = Pace(), NOW, NOW
    ends = [(end := end + length, state) for length, state in schedule]
    not_before, useless, served, failures = 0.0, 0, 0, 0
    while now < end:
        state = next(state for until, state in ends if now < until)
        begun = 0
        while begun < workers and pace.may_begin(now, begun):
            begun += 1
        if begun == 0:
            now = max(pace.until, now + 1)
            continue
        assert now >= not_before
        if state == "up":
            served += begun
            failures = 0
            for _ in range(begun):
                pace = pace.succeeded()
            now += 1
            continue
        assert begun == 1 or failures == 0
        useless += begun
        failures += 1
        event = Happened(None, int(state), retry_after=header)
        for _ in range(begun):
            sent = Sent(attempt=failures, bundle=True, guarded=True)
            decision = decide(event, sent, now=now, chance=chance.random())
            assert (decision.do, decision.scope) == (Do.AGAIN, "site")
            pace = pace.failed(decision.at)
        not_before = max(not_before, retry_after(header, now).until or now)
    # One round of the workers, then one at a time at doubling distances, in each phase of trouble.
    assert useless <= sum(
        workers + 2 + length.bit_length() + length // 75 for length, state in schedule if state != "up"
    )


def test_after_a_failure_one_goes_first_and_the_others_follow_by_doubling() -> None:
    pace = Pace().failed(NOW + 5)
    assert not pace.may_begin(NOW + 4.9, 0)
    assert pace.may_begin(NOW + 5, 0)
    assert not pace.may_begin(NOW + 5, 1)
    assert pace.succeeded().may_begin(NOW + 5, 1)
    assert not pace.succeeded().may_begin(NOW + 5, 2)
    assert Pace().may_begin(NOW, 1_000)
    assert pace.failed(NOW + 1).until == NOW + 5


# ------------------------------------------------------------------------------------------- words about a limit
@pytest.mark.parametrize(
    "words",
    [
        "The number of entries in the bundle exceeded the configured limit of 500.",
        "Bundle contains more than the maximum allowed 160 entries",
        "too many entries",
        "Request payload too large",
    ],
)
def test_a_limit_is_heard_in_the_words_of_servers(words: str) -> None:
    said_ = issues({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "diagnostics": words}]})
    assert OVER_LIMIT in signals(said_)


@pytest.mark.parametrize("words", ["Zebulon Canary is not valid", "value exceeds 3 digits", "HAPI-0825: race", ""])
def test_other_words_are_no_limit_and_never_become_a_signal(words: str) -> None:
    said_ = issues({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "diagnostics": words}]})
    assert signals(said_) <= {"unknown", "HAPI-0825"}
