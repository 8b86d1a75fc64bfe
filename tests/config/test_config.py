"""The configuration: everything wrong with it is told at once, and no secret ever shows."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.config import DEMO_ID_KEY, Config, SiteSettings, load, parse
from fhirbridge.errors import ConfigError
from fhirbridge.site import Site, policies

GOOD: dict[str, Any] = {
    "clinic": {"domain": "clinic.example", "id_key": {"env": "FHIRBRIDGE_ID_KEY"}},
    "site": {"hospital": {"base_url": "https://hospital.example/fhir"}},
}
SECRETS = st.text(string.ascii_letters + string.digits, min_size=16, max_size=64)


def refused(tree: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(tree)
    return str(caught.value)


def test_without_a_file_the_demo_clinic_applies_and_says_so(tmp_path: Path) -> None:
    config = load(None, {}, tmp_path)
    assert config.clinic.demo
    assert config.id_key() == DEMO_ID_KEY
    assert any("demo" in warning for warning in config.warnings)


def test_a_real_clinic_has_no_default_id_key() -> None:
    assert "id_key = {env" in refused({"clinic": {"domain": "clinic.example"}})


def test_only_the_address_of_a_site_has_no_default() -> None:
    required = [name for name, field in SiteSettings.model_fields.items() if field.is_required()]
    assert required == ["base_url"]


@given(SECRETS)
def test_a_secret_in_clear_is_refused_without_being_quoted(secret: str) -> None:
    for tree in (
        {"clinic": {"id_key": secret}},
        {**GOOD, "site": {"hospital": {"base_url": "https://h.example", "auth": {"kind": "bearer", "token": secret}}}},
        {"clinic": {"id_key": {"env": f"{secret} with blanks"}}},
        {**GOOD, "site": {"hospital": {"base_url": f"https://user:{secret}@h.example/fhir"}}},
    ):
        assert secret not in refused(tree)


@given(SECRETS)
def test_no_repr_shows_a_secret(secret: str) -> None:
    config = Config(parse(GOOD), Path(), {"FHIRBRIDGE_ID_KEY": secret})
    assert config.id_key() == secret.encode()
    assert secret not in repr(config)


@pytest.mark.parametrize(
    ("tree", "nearest"),
    [
        (
            {"clinic": {"demo": True, "domian": "x"}},
            "clinic.domian: no such key [config.unknown_key] (did you mean domain?",
        ),
        ({**GOOD, "sites": {}}, "did you mean site?"),
        ({**GOOD, "site": {"a": {"base_url": "https://h.example", "relase": "r4"}}}, "did you mean release?"),
        ({**GOOD, "site": {"a": {"base_url": "https://h.example", "can": {"updatecreate": True}}}}, "update_create?"),
        ({**GOOD, "site": {"a": {"base_url": "https://h.example", "overlay": {"us_cor": True}}}}, "us_core?"),
        ({**GOOD, "source": {"a": {"column": {}}}}, "did you mean columns?"),
    ],
)
def test_a_wrong_key_is_an_error_with_the_nearest_right_one(tree: dict[str, Any], nearest: str) -> None:
    assert nearest in refused(tree)


def test_all_faults_are_told_at_once() -> None:
    told = refused(
        {
            "clinic": {"demo": True, "time_zone": "Mars/Olympus", "base": "no address"},
            "site": {"a": {}, "b": {"base_url": "https://h.example/x?y=1", "timeout": 0, "release": "r6"}},
            "source": {"c": {"format": "xml"}},
        }
    )
    for path in ("clinic.time_zone", "clinic.base", "site.a.base_url", "site.b.base_url", "site.b.timeout",
                 "site.b.release", "source.c.format"):  # fmt: skip
        assert path in told


@pytest.mark.parametrize(
    "address",
    [
        "https://h.example/a/../x",
        "https://h.example/%2e%2e/",
        "ftp://h.example",
        "https://",
        "https://h.example:99999/",
    ],
)
def test_an_address_that_could_be_misread_is_refused(address: str) -> None:
    assert "base_url" in refused({**GOOD, "site": {"a": {"base_url": address}}})


def test_a_missing_or_short_id_key_stops_before_anything_is_made() -> None:
    with pytest.raises(ConfigError, match="not set"):
        Config(parse(GOOD), Path(), {}).id_key()
    with pytest.raises(ConfigError, match="shorter"):
        Config(parse(GOOD), Path(), {"FHIRBRIDGE_ID_KEY": "short"}).id_key()


def test_a_secret_file_lies_beside_the_configuration_and_loses_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    (tmp_path / "fhirbridge.toml").write_text('[clinic]\nid_key = {file = "key"}\n')
    assert load(None, {}, tmp_path).id_key() == b"0123456789abcdef"
    assert (
        load(None, {"FHIRBRIDGE_CONFIG": str(tmp_path / "fhirbridge.toml")}, Path("/")).id_key() == b"0123456789abcdef"
    )


def test_broken_toml_and_a_missing_file_are_configuration_errors(tmp_path: Path) -> None:
    (tmp_path / "fhirbridge.toml").write_text("[clinic\n")
    with pytest.raises(ConfigError, match="line 1"):
        load(None, {}, tmp_path)
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "nowhere.toml", {}, tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path / "bytes.toml", {}, tmp_path)


def test_a_site_that_is_not_there_names_the_nearest() -> None:
    config = Config(parse(GOOD), Path(), {})
    with pytest.raises(ConfigError, match="did you mean hospital"):
        config.site("hospitle")
    with pytest.raises(ConfigError, match=r"\[source.NAME\]"):
        config.source("monitor")


HOSPITAL = {"base_url": "https://h.example"}


def test_a_hospitals_system_without_a_crosswalk_to_it_is_refused_with_what_to_add() -> None:
    told = refused({**GOOD, "site": {"a": {**HOSPITAL, "patients": {"system": "urn:oid:1.2"}}}})
    assert "site.a.patients" in told
    assert "[config.crosswalk_missing]" in told
    assert "fhirbridge enrol" in told


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"patients": {"crosswalks": "x.csv"}}, "did you mean crosswalk?"),
        ({"patients": {"system": "has blanks", "crosswalk": "x.csv"}}, "site.a.patients.system"),
        ({"patients": {"system": "https://a|b", "crosswalk": "x.csv"}}, "site.a.patients.system"),
        ({"patients": {"create": True}}, "site.a.patients.create: no such key"),
        ({"directory": {"Practitioner": {"system": "urn:oid:1.2"}}}, "site.a.directory.Practitioner.crosswalk"),
        ({"directory": {"Location": {"crosswalk": "x.csv", "sytem": "urn:x"}}}, "did you mean system?"),
        ({"directory": {"Patient": {"crosswalk": "x.csv"}}}, "site.a.directory.Patient"),
    ],
)
def test_how_a_hospital_knows_whom_is_checked_when_the_file_is_read(table: dict[str, Any], told: str) -> None:
    assert told in refused({**GOOD, "site": {"a": {**HOSPITAL, **table}}})


EXCEPTION = {"name": "fda", "act": "regulatory_report", "kinds": ["adverse_event"], "basis": "21 CFR 312.32"}


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"site": {"a": {**HOSPITAL, "consent": {"recipient": []}}}}, "did you mean recipients?"),
        ({"site": {"a": {**HOSPITAL, "consent": {"act": "sell"}}}}, "site.a.consent.act"),
        ({"site": {"a": {**HOSPITAL, "consent": {"recipients": ["HOSPITAL-1"]}}}}, "site.a.consent.recipients.0"),
        ({"site": {"a": {**HOSPITAL, "consent": {"purposes": ["profit"]}}}}, "site.a.consent.purposes.0"),
        ({"consent": {"exception": []}}, "did you mean exceptions?"),
        ({"consent": {"exceptions": [{**EXCEPTION, "kind": "x"}]}}, "did you mean kinds?"),
        ({"consent": {"exceptions": [{**EXCEPTION, "act": "store"}]}}, "consent.exceptions.0.act"),
        ({"consent": {"exceptions": [{**EXCEPTION, "kinds": []}]}}, "consent.exceptions.0.kinds"),
        ({"consent": {"exceptions": [{**EXCEPTION, "basis": " "}]}}, "consent.exceptions.0.basis"),
        ({"consent": {"labels": [{"label": "secret"}]}}, "consent.labels.0.label"),
        ({"consent": {"labels": [{"label": "substance_use", "code": []}]}}, "did you mean codes?"),
    ],
)
def test_what_decides_about_consent_is_checked_when_the_file_is_read(tree: dict[str, Any], told: str) -> None:
    assert told in refused({**GOOD, **tree})


def test_a_site_that_says_nothing_is_shared_with_and_nobody_is_named(tmp_path: Path) -> None:
    tree = {"clinic": {"demo": True}, "site": {"a": HOSPITAL, "b": {**HOSPITAL, "consent": {"act": "store"}}}}
    config = Config(parse(tree), tmp_path, {})
    with Site.open("a", config, kinds={}) as site:
        assert (site.act.name, site.act.recipients, site.reading.name) == ("share", (), "share")
        assert site.warnings == ()
    with Site.open("b", config, kinds={}) as own:
        (warning,) = own.warnings
        assert "store" in warning


def test_the_clinics_exceptions_and_labels_are_what_decides(tmp_path: Path) -> None:
    label = {"label": "substance_use", "kinds": ["assessment"], "codes": ["http://loinc.org|72109-2"]}
    consent = {"exceptions": [{**EXCEPTION, "recipients": ["urn:x|FDA"]}], "labels": [label]}
    found = policies(Config(parse({"clinic": {"demo": True}, "consent": consent}), tmp_path, {}))
    ((exception,), (rule,)) = found.exceptions, found.labels
    assert (exception.name, exception.act, exception.kinds) == ("fda", "regulatory_report", {"adverse_event"})
    assert [one.identifier.value for one in exception.recipients if one.identifier is not None] == ["FDA"]
    assert (rule.label, rule.kinds, rule.codes) == (
        "substance_use", {"assessment"}, {("http://loinc.org", "72109-2")}
    )  # fmt: skip


def test_a_crosswalk_lies_beside_the_configuration(tmp_path: Path) -> None:
    table = {"crosswalk": "known.csv"}
    tree = {"clinic": {"demo": True}, "site": {"a": {**HOSPITAL, "patients": table, "directory": {"Location": table}}}}
    with Site.open("a", Config(parse(tree), tmp_path, {}), kinds={}) as site:
        assert site.patients.known is not None
        assert site.patients.known.crosswalk.path == tmp_path / "known.csv"
        with pytest.raises(ConfigError, match="fhirbridge enrol"):
            site.check()
