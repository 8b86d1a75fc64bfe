"""Scopes: asked for in the server's version, and compared across versions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.client.auth.scope import Needs, missing, scopes, version_of
from fhirbridge.config import parse
from fhirbridge.credentials import needs
from tests.auth.tokens import SCOPE

LETTERS = st.sets(st.sampled_from("cruds"), min_size=1).map("".join)
NEEDS = st.dictionaries(st.sampled_from(["Patient", "Observation", "Procedure", "Consent"]), LETTERS, min_size=1)


@given(NEEDS)
def test_what_is_asked_for_has_the_syntax_of_smart_and_covers_itself(needed: Needs) -> None:
    two, one = scopes(needed, 2), scopes(needed, 1)
    assert all(SCOPE.fullmatch(scope) for scope in [*two.split(), *one.split()])
    assert missing(two, two) == missing(one, one) == ()
    # Version 1 has coarser words, so it covers what version 2 says.
    assert missing(two, one) == missing(two, "system/*.cruds") == missing(one, "system/*.*") == ()


@given(NEEDS, st.data())
def test_one_letter_less_is_missed_and_named(needed: Needs, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(needed)))
    letter = data.draw(st.sampled_from(sorted(needed[name])))
    less = needed[name].replace(letter, "")
    granted = scopes({**needed, name: less} if less else {key: one for key, one in needed.items() if key != name}, 2)
    (left,) = missing(scopes(needed, 2), granted)
    assert left.startswith(f"system/{name}.")


def test_several_grants_add_up_and_a_narrowed_one_covers_only_itself() -> None:
    assert missing("system/Observation.cruds", "system/Observation.rs system/Observation.cud") == ()
    assert missing("system/Observation.rs", "system/Observation.rs?category=vital-signs") == ("system/Observation.rs",)
    assert missing("system/Observation.rs", "user/Observation.rs patient/*.rs") == ("system/Observation.rs",)
    assert missing("openid custom", "openid") == ("custom",)


def test_the_version_is_the_one_that_the_server_says() -> None:
    assert version_of(["permission-v1", "permission-v2"], []) == 2
    assert version_of(["permission-v1"], ["system/*.rs"]) == 1
    assert version_of([], ["system/*.read", "launch"]) == 1
    assert version_of([], ["system/*.rs"]) == 2
    assert version_of([], []) == 2


def test_what_a_site_does_is_what_is_asked_for() -> None:
    site = {"base_url": "https://h.example", "types": ["Condition"], "directory": {"Practitioner": {"crosswalk": "x"}}}
    tree = {"clinic": {"demo": True}, "site": {"a": site, "b": {**site, "provenance": "never"}}}
    settings = parse(tree).site
    found = needs(settings["a"], ["Observation", "Basic"])
    assert {name for name, letters in found.items() if letters == "rs"} == {"Patient", "Practitioner", "Condition"}
    assert {name for name, letters in found.items() if letters == "cruds"} == {
        "Consent", "Procedure", "MedicationAdministration", "Observation", "AdverseEvent", "Basic", "Provenance",
    }  # fmt: skip
    assert "Provenance" not in needs(settings["b"], [])
