"""What is sealed opens for the same clinic, owner and place with the right key, and otherwise not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.config import Config, parse
from fhirbridge.errors import ConfigError, VaultError
from fhirbridge.vault import Ring, Vault, key_named
from tests.vault.vaults import DOMAIN, SECRETS, ring, vault_of

ID_KEY = b"an id key of a test, no secret"
VAULT = vault_of(ID_KEY)
PLACES: st.SearchStrategy[tuple[Any, ...]] = st.lists(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.floats(allow_nan=False), max_size=6
).map(tuple)


def code_of(vault: Vault, owner: str, place: tuple[Any, ...], sealed: bytes) -> str:
    with pytest.raises(VaultError) as refused:
        vault.open(owner, place, sealed)
    return refused.value.code


@given(st.text(), PLACES, st.binary())
def test_what_was_sealed_comes_back_and_shows_nothing(owner: str, place: tuple[Any, ...], plain: bytes) -> None:
    sealed = VAULT.seal(owner, place, plain)
    assert VAULT.open(owner, place, sealed) == plain
    assert len(plain) < 4 or plain not in sealed
    assert key_named(sealed) == "demo"
    assert sealed.startswith(VAULT.prefix)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_flipped_bit_or_a_cut_anywhere_is_found(plain: bytes, data: st.DataObject) -> None:
    sealed = VAULT.seal("p", ("t", 1), plain)
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    flipped = bytearray(sealed)
    flipped[bit // 8] ^= 1 << bit % 8
    assert code_of(VAULT, "p", ("t", 1), bytes(flipped)) in ("vault.broken", "vault.unknown_key")
    assert code_of(VAULT, "p", ("t", 1), sealed[: data.draw(st.integers(0, len(sealed) - 1))]).startswith("vault.")


@given(st.text(), PLACES, st.text(), PLACES)
def test_it_opens_for_no_other_owner_and_in_no_other_place(
    owner: str, place: tuple[Any, ...], other: str, elsewhere: tuple[Any, ...]
) -> None:
    sealed = VAULT.seal(owner, place, b"x")
    # 1 and 1.0 and True are three things.
    if repr((owner, place)) != repr((other, elsewhere)):
        assert code_of(VAULT, other, elsewhere, sealed) == "vault.broken"


def test_it_opens_for_no_other_clinic_and_with_no_other_secret() -> None:
    sealed = VAULT.seal("p", ("t", 1), b"x")
    for other in (
        Vault(ring(), id_key=ID_KEY, domain="other.example"),
        Vault(Ring("demo", {"demo": b"another secret of thirty-two bytes"}), id_key=ID_KEY, domain=DOMAIN),
    ):
        assert code_of(other, "p", ("t", 1), sealed) == "vault.broken"
    assert code_of(vault_of(ID_KEY, "2026-11"), "p", ("t", 1), sealed) == "vault.unknown_key"
    # What is sealed does not hang on the id key: that is another.
    assert vault_of(b"another id key").open("p", ("t", 1), sealed) == b"x"


def test_an_older_key_in_the_ring_opens_and_the_active_one_seals() -> None:
    sealed = VAULT.seal("p", ("t", 1), b"x")
    later = vault_of(ID_KEY, "2026-11", "demo")
    assert later.open("p", ("t", 1), sealed) == b"x"
    assert key_named(later.seal("p", ("t", 1), b"x")) == "2026-11"


def test_no_nonce_comes_twice_and_the_same_text_never_looks_the_same() -> None:
    assert len({VAULT.seal("p", (), b"the same") for _ in range(10_000)}) == 10_000


def test_tokens_and_marks_hang_on_the_id_key_and_the_clinic_and_not_on_the_ring() -> None:
    said = ("table", 1, None, True, 1.5)
    same, others = vault_of(ID_KEY, "2027-01"), [vault_of(b"another"), Vault(ring(), id_key=ID_KEY, domain="o.example")]
    assert (same.token("c-1"), same.mark(said)) == (VAULT.token("c-1"), VAULT.mark(said))
    assert {one.token("c-1") for one in (VAULT, *others)} == {one.token("c-1") for one in (VAULT, *others)}
    assert len({one.token("c-1") for one in (VAULT, *others)}) == 3
    assert len({one.mark(said) for one in (VAULT, *others)}) == 3
    assert VAULT.marked(said, VAULT.mark(said))
    assert not any(VAULT.marked(said, one) for one in (None, b"", bytes(16), VAULT.mark((*said[:-1], 2.5))))


@given(PLACES, PLACES)
def test_different_things_have_different_marks(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert (VAULT.mark(one) == VAULT.mark(other)) == (repr(one) == repr(other))


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "ä", "a" * 33, "a/b"])
def test_a_name_that_could_not_stand_in_front_is_refused(name: str) -> None:
    with pytest.raises(VaultError) as refused:
        Ring(name, {name: b"a secret of thirty-two bytes and more"})
    assert refused.value.code == "vault.name"


def test_a_short_secret_a_missing_key_and_the_id_key_itself_are_refused_and_none_is_quoted() -> None:
    for make, code in (
        (lambda: Ring("a", {"a": b"Zebra 77"}), "vault.weak_key"),
        (lambda: Ring("a", {"b": SECRETS["demo"]}), "vault.unknown_key"),
        (lambda: Vault(ring(), id_key=SECRETS["demo"], domain=DOMAIN), "vault.same_key"),
    ):
        with pytest.raises(VaultError) as refused:
            make()
        assert refused.value.code == code
        assert not any(
            one in str(refused.value) for one in ("Zebra 77", *(known.decode() for known in SECRETS.values()))
        )


def test_nothing_secret_is_in_a_repr() -> None:
    shown = repr(VAULT) + repr(ring("demo", "2026-11"))
    assert not any(secret.decode() in shown for secret in SECRETS.values())


def config(vault: dict[str, Any] | None, **environ: str) -> Config:
    tree: dict[str, Any] = {"clinic": {"domain": DOMAIN, "id_key": {"env": "ID"}}} | ({"vault": vault} if vault else {})
    return Config(parse(tree), Path(), {"ID": ID_KEY.decode(), **environ})


def test_a_real_clinic_has_no_default_vault_key_and_is_told_how_to_make_one() -> None:
    with pytest.raises(ConfigError) as refused:
        config(None).vault()
    assert refused.value.code == "config.vault"
    assert "fhirbridge keys secret" in refused.value.hint


def test_the_keys_of_the_configuration_are_those_of_the_vault() -> None:
    table = {"active": "b", "key": {"a": {"env": "A"}, "b": {"env": "B"}}}
    found = config(table, A="a" * 32, B="b" * 32).vault()
    assert (found.active, found.names) == ("b", ("a", "b"))


@pytest.mark.parametrize(
    ("table", "environ"),
    [
        ({"active": "a", "key": {"a": {"env": "A"}}}, {"A": "Zebra 77"}),
        ({"active": "a", "key": {"a": {"env": "ID"}}}, {"ID": "x" * 40}),
    ],
)
def test_a_vault_key_that_is_too_short_or_the_id_key_too_is_refused(table: Any, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as refused:
        config(table, **environ).vault()
    assert refused.value.code == "config.vault_key"
    assert not any(one in str(refused.value) for one in environ.values())


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"active": "b", "key": {"a": {"env": "A"}}}, "config.vault_active"),
        ({"active": "a", "key": {}}, "vault.key"),
        ({"active": "a", "key": {"a": "in clear"}}, "config.secret_in_clear"),
        ({"active": "A!", "key": {"A!": {"env": "A"}}}, "vault"),
        ({"activ": "a", "active": "a", "key": {"a": {"env": "A"}}}, "did you mean active?"),
        ({"active": "a", "key": {"a": {"envv": "A"}}}, "did you mean env?"),
    ],
)
def test_a_fault_of_the_table_is_told_by_its_path(table: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(table)
    assert said in str(refused.value)
    assert "in clear" not in str(refused.value)
