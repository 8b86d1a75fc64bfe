"""Changes at different paths are merged, at one path they are a conflict, and a report holds no value."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.fhir.json import Json, canonical
from fhirbridge.sync.conflict import merge

Tree = dict[str, Any]
KEY = b"a key for hashes"
NAMES = st.sampled_from(["a", "b", "c", "note"])
NODES: st.SearchStrategy[Json] = st.recursive(
    st.integers(0, 3) | st.text("xyz", max_size=2) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, min_size=1, max_size=3),
    max_leaves=8,
)
TREES = st.dictionaries(NAMES, NODES, max_size=4)
CANARY = "Zebulon Canary"


@given(TREES, TREES)
def test_where_only_one_side_changed_that_side_stands(base: Tree, changed: Tree) -> None:
    assert merge(base, base, changed, KEY).resource == changed
    assert merge(base, changed, base, KEY).resource == changed
    assert merge(base, changed, changed, KEY).resource == changed


@given(TREES, TREES, TREES)
def test_whatever_the_three_a_merge_holds_every_change_or_there_is_a_clash(
    base: Tree, theirs: Tree, ours: Tree
) -> None:
    before = copy.deepcopy((base, theirs, ours))
    found = merge(base, theirs, ours, KEY)
    assert (base, theirs, ours) == before
    assert (found.resource is None) == bool(found.clashes)
    if found.resource is None:
        return
    for name in {*base, *theirs, *ours}:
        one, two, three, merged = (tree.get(name) for tree in (base, theirs, ours, found.resource))
        if two == one:
            assert merged == three
        if three == one:
            assert merged == two


@given(st.lists(st.sampled_from(["p", "q", "r", "s"]), unique=True, min_size=1), st.integers(0, 4))
def test_changes_at_different_paths_both_stand(names: list[str], split: int) -> None:
    base: Tree = {"deep": dict.fromkeys(names, 0), "list": [{"v": 0} for _ in names]}
    theirs, ours = copy.deepcopy(base), copy.deepcopy(base)
    for place, name in enumerate(names):
        side = theirs if place < split else ours
        side["deep"][name] = 1
        side["list"][place]["v"] = 1
    expected = {"deep": dict.fromkeys(names, 1), "list": [{"v": 1} for _ in names]}
    assert merge(base, theirs, ours, KEY).resource == expected


def test_a_clash_names_the_path_and_keyed_hashes_and_no_value() -> None:
    base = {"resourceType": "Observation", "status": "final", "note": [{"text": "first"}]}
    theirs = base | {"note": [{"text": f"{CANARY} says"}]}
    ours = base | {"note": [{"text": f"{CANARY} asks"}], "status": "amended"}
    (clash,) = merge(base, theirs, ours, KEY).clashes
    assert clash.path == "note[0].text"
    assert len({clash.base, clash.theirs, clash.ours}) == 3
    assert CANARY not in str(clash.as_json())
    (other,) = merge(base, theirs, ours, b"another key").clashes
    assert other.theirs != clash.theirs


def test_numbers_of_another_spelling_are_no_change() -> None:
    base, theirs = {"v": {"value": 100, "unit": "mg"}}, {"v": {"value": 100.0, "unit": "mg"}}
    ours = {"v": {"value": 50, "unit": "mg"}}
    assert merge(base, theirs, ours, KEY).resource == ours


def test_an_item_that_one_side_added_stands_and_two_added_ones_are_a_conflict() -> None:
    base = {"note": [{"text": "one"}]}
    theirs = {"note": [{"text": "one"}, {"text": "theirs"}]}
    changed = {"note": [{"text": "one, corrected"}]}
    assert merge(base, theirs, changed, KEY).resource == {"note": [{"text": "one, corrected"}, {"text": "theirs"}]}
    also = {"note": [{"text": "one"}, {"text": "ours"}]}
    assert [one.path for one in merge(base, theirs, also, KEY).clashes] == ["note"]
    assert [one.path for one in merge(base, {"note": []}, changed, KEY).clashes] == ["note"]


def test_labels_that_the_hospital_added_stay_and_its_versions_do_not() -> None:
    mine = {"system": "s", "code": "1"}
    theirs = {"meta": {"versionId": "7", "lastUpdated": "x", "security": [mine, {"system": "s", "code": "their"}]}}
    found = merge({"meta": {"security": [mine]}}, theirs, {"meta": {"security": [mine], "source": "o"}, "a": 1}, KEY)
    assert canonical(found.resource) == canonical(
        {"a": 1, "meta": {"security": [mine, {"system": "s", "code": "their"}], "source": "o"}}
    )
