"""Profiles name every field there is, and what is wrong with one is said all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirbridge.errors import ConfigError
from fhirbridge.records import Amount, Coding, Concept, Identifier, Period, Record, Ref
from fhirbridge.research.deidentify import Profile
from fhirbridge.research.deidentify.profile import SHIPPED, _models
from fhirbridge.research.deidentify.rules import fits
from tests.kinds import CASES

# What actions.py, codes.py and references.py make anew. A field that is added to one of these models is left out of
# what they make, and has to be looked at there.
MADE_ANEW = {
    Amount: {"value", "unit", "comparator"},
    Coding: {"system", "code", "display", "version", "user_selected"},
    Concept: {"text", "codings"},
    Identifier: {"system", "value", "type", "use"},
    Period: {"start", "end"},
    Ref: {"type", "identifier", "display", "literal"},
}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_field_of_every_kind_and_of_every_part_has_a_rule(name: str) -> None:
    """A new field of a model fails here until somebody has decided what becomes of it."""
    profile = Profile.load(name)
    assert profile.records.keys() == CASES.keys()
    assert profile.unnamed() == []
    for kind, case in CASES.items():
        assert profile.records[kind].keys() == case.kind.record.model_fields.keys()


@pytest.mark.parametrize(("model", "fields"), MADE_ANEW.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_made_anew_has_no_field_that_nobody_knows(model: Any, fields: set[str]) -> None:
    assert set(model.model_fields) == fields


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_left_out_without_a_reason(name: str) -> None:
    profile = Profile.load(name)
    for tables in (profile.records, profile.parts, profile.resources):
        assert all(rule.why for rules in tables.values() for rule in rules.values() if rule.action == "drop")


def test_no_free_text_can_be_kept_by_any_profile() -> None:
    for models in _models().values():
        for model in models.values():
            for field, about in model.model_fields.items():
                if fits("keep", about.annotation):
                    kept = str(about.annotation)
                    assert "Literal" in kept or "bool" in kept, f"{model.__name__}.{field}"
    assert not fits("keep", Record.model_fields["id"].annotation)


OURS = """
extends = "shifted"
name = "ours"
[times]
time_of_day = "drop"
[records.session]
kap = "drop (need)"
"""


def test_a_profile_of_ones_own_says_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(OURS)
    ours, shifted = Profile.load(path), Profile.load("shifted")
    assert ours.times.time_of_day == "drop"
    assert ours.times.most_days == shifted.times.most_days
    assert ours.records["session"]["kap"].action == "drop"
    assert ours.records["session"]["rems"] == shifted.records["session"]["rems"]
    assert ours.digest != shifted.digest
    assert Profile.load("shifted").digest == shifted.digest


def test_a_profile_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Pseudonyms depend on it."""
    path = tmp_path / "ours.toml"
    path.write_text('extends = "shifted"\n')
    with pytest.raises(ConfigError, match="name of its own"):
        Profile.load(path)


WRONG = """
extends = "shifted"
name = "wrong"
colour = "blue"
[times]
dates = "guess"
most_days = 0
[codes.systems]
"http://snomed.info/sct" = "("
[postcode]
digits = 4
[records.session]
id = "keep"
notes = "keep"
startet_at = "time"
started_at = "drop (C)"
location = "place (B)"
[records.diary]
text = "drop (text)"
[parts.Series]
protocol = "code"
[resources.Patient]
name = "shout"
"""


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG)
    with pytest.raises(ConfigError) as refused:
        Profile.load(path)
    assert refused.value.code == "config.profile"
    for place in (
        "colour", "times.dates", "times.most_days", "codes.systems.http://snomed.info/sct", "postcode.digits",
        "records.session.id", "records.session.notes", "records.session.startet_at", "records.session.started_at",
        "records.session.location", "records.diary", "parts.Series.protocol", "resources.Patient.name",
    ):  # fmt: skip
        assert f"{place}:" in str(refused.value), place


@pytest.mark.parametrize("text", ["name = ", 'extends = "loop.toml"\nname = "x"', "\xff"])
def test_a_file_that_cannot_be_read_as_a_profile_is_refused(text: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as refused:
        Profile.load("loop.toml")
    assert refused.value.code == "config.profile"


def test_a_profile_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigError) as refused:
        Profile.load("safe-harbour")
    assert "safe-harbor" in refused.value.hint


def test_a_provision_may_not_be_told_as_it_holds_itself(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text('extends = "shifted"\nname = "ours"\n[records.consent]\nprovisions = "inside"\n')
    with pytest.raises(ConfigError, match="without end"):
        Profile.load(path)
