"""Pseudonyms and shifts: the same for the same key, and nothing in common between two projects."""

from __future__ import annotations

import datetime as dt
import hmac
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.errors import ConfigError
from fhirbridge.research.deidentify import Deidentifier, Profile, ProjectKey
from fhirbridge.research.deidentify.key import PSEUDONYM

SECRET = bytes(range(32))
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
PEOPLE = [f"https://clinic.example/sid/patient|P-{number}" for number in range(3_000)]


@pytest.mark.parametrize("length", [0, 1, 16, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ConfigError) as refused:
        ProjectKey(b"k" * length, "P")
    assert refused.value.code == "config.project_key"


@pytest.mark.parametrize("name", ["", "a|b", "a b", "ä", "x" * 201])
def test_a_name_that_could_be_read_in_two_ways_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ProjectKey(SECRET, name)
    assert refused.value.code == "config.project"


@given(st.text(max_size=80), st.sampled_from(["Patient", "Procedure"]))
def test_a_pseudonym_is_the_hmac_of_project_what_and_value(value: str, what: str) -> None:
    digest = hmac.digest(SECRET, f"P|{what}|{value}".encode(errors="surrogatepass"), "sha256")
    said = ProjectKey(SECRET, "P").pseudonym(what, value)
    assert said == "".join(_LETTERS[byte & 31] for byte in digest[:20])
    assert PSEUDONYM.fullmatch(said)


def test_a_key_neither_shows_nor_changes_its_secret() -> None:
    key = ProjectKey(SECRET, "P")
    assert "\\x" not in repr(key)
    assert key.as_text() not in repr(key)
    for other in (pickle.loads(pickle.dumps(key)), ProjectKey.from_text(key.as_text(), "P")):  # noqa: S301
        assert other.pseudonym("Patient", "1") == key.pseudonym("Patient", "1")
        assert other.shift("1") == key.shift("1")
    with pytest.raises(ConfigError):
        ProjectKey.from_text("not base64!", "P")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ProjectKey(SECRET, "A"), ProjectKey(SECRET[::-1], "B")),
        (ProjectKey(SECRET, "A"), ProjectKey(SECRET[::-1], "A")),
        (ProjectKey(SECRET, "A"), ProjectKey(SECRET, "B")),
        (ProjectKey(SECRET, "A").under("limited"), ProjectKey(SECRET, "A").under("shifted")),
    ],
    ids=["other key and name", "other key", "other name", "other profile"],
)
def test_two_projects_have_no_name_in_common_and_shifts_that_tell_nothing_of_each_other(
    one: ProjectKey, other: ProjectKey
) -> None:
    assert {one.pseudonym("Patient", who) for who in PEOPLE}.isdisjoint(
        other.pseudonym("Patient", who) for who in PEOPLE
    )
    left = [one.shift(who).days for who in PEOPLE]
    right = [other.shift(who).days for who in PEOPLE]
    # Equal by chance in one of 718 cases; the correlation of 3,000 independent pairs lies within 4/sqrt(3000).
    assert sum(a == b for a, b in zip(left, right, strict=True)) < 25
    mean = [sum(days) / len(days) for days in (left, right)]
    product = sum((a - mean[0]) * (b - mean[1]) for a, b in zip(left, right, strict=True))
    spread = [sum((day - middle) ** 2 for day in days) for days, middle in zip((left, right), mean, strict=True)]
    assert abs(product / (spread[0] * spread[1]) ** 0.5) < 0.073


def test_shifts_cover_all_days_evenly_and_never_stand_still() -> None:
    days = [ProjectKey(SECRET, "P").shift(f"{who}").days for who in range(20_000)]
    assert (min(days), max(days)) == (-365, 365)
    assert min(map(abs, days)) == 7
    # Ten bins of 71.8 days each hold 2,000 on average, with a standard deviation of 42.
    ranks = [day + 365 if day < 0 else day + 352 for day in days]
    bins = [sum(rank * 10 // 718 == number for rank in ranks) for number in range(10)]
    assert all(1_800 < count < 2_200 for count in bins)


def test_with_weekdays_kept_a_shift_is_a_number_of_weeks() -> None:
    key = ProjectKey(SECRET, "P")
    shifts = {key.shift(who, keep_weekday=True) for who in PEOPLE}
    assert all(one.days % 7 == 0 and one for one in shifts)
    assert max(shifts) == dt.timedelta(days=364)
    with pytest.raises(ConfigError):
        key.shift("P-1", fewest_days=8, most_days=13, keep_weekday=True)


def test_the_same_id_of_two_patients_has_two_names_and_that_of_one_patient_always_the_same() -> None:
    work = Deidentifier(Profile.load("shifted"), ProjectKey(SECRET, "P"))
    names = [work.course(work.person(who)).names for who in ("P-1", "P-2")]
    assert names[0].own("Procedure", "7") != names[1].own("Procedure", "7")
    assert names[0].own("Procedure", "7") == names[0].once("Procedure", "7")
    assert names[0].own("Procedure", "7") != names[0].own("Observation", "7")
