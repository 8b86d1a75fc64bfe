"""Worker and server are killed, and everything is there once; what a server loses is found and mended."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.json import Tree
from tests.acceptance.kills.clinic import Clinic
from tests.acceptance.kills.delivery import Delivery
from tests.acceptance.kills.judge import judge
from tests.acceptance.kills.servers import keep_copy, put_back, serving
from tests.acceptance.kills.trial import Plan, Trial, verify

pytestmark = pytest.mark.slow

_PLAN = Plan(worker_kills=3, server_kills=1, lease=2.0, seed=1)
_RECORDS = 200


def hapi(name: str) -> object:
    """A server of the harness, in the group of the other tests that need so much memory."""
    return pytest.param(name, marks=[pytest.mark.acceptance, pytest.mark.xdist_group(name)])


SERVERS = [pytest.param("sekmet", marks=pytest.mark.sekmet), hapi("hapi-r4"), hapi("hapi-r5")]


@pytest.mark.long
@pytest.mark.parametrize("name", SERVERS)
def test_killed_workers_and_servers_lose_and_double_nothing_and_verify_mends_what_a_server_lost(
    name: str, tmp_path: Path
) -> None:
    """By the server's own word: each resource once, in its newest revision. Then older data are put back: ``verify``
    names exactly what is missing, and after ``verify --repair`` all is there again, once."""
    with serving(name) as server:
        clinic = Clinic(tmp_path, server.base, server.release, _RECORDS, _PLAN.seed)
        trial = Trial(server, clinic, tmp_path, _PLAN)
        stages = list(trial.stages())
    assert trial.is_complete, trial.tally
    assert all(stage.is_good for stage in stages), stages


@pytest.mark.sekmet
def test_the_judge_sees_what_is_missing_older_other_and_there_twice(tmp_path: Path) -> None:
    """So its silence means something: one resource of each sort is spoilt behind fhirbridge's back."""
    with serving("sekmet") as server:
        clinic = Clinic(tmp_path, server.base, server.release, 40, 2)
        clinic.register_patients()
        delivery = Delivery(clinic, server, lease=_PLAN.lease)
        delivery.run(random.Random(2), 0, 0, lambda kill: None)  # noqa: S311 - nothing is left to chance
        assert delivery.tally.ended
        assert judge(clinic, server.release).is_good
        missing, older, other, twice = [one for one in clinic.wanted if one.type == "Observation"][:4]
        with clinic.open() as site:

            def read(address: Address) -> Tree:
                resource = site.client.read(address)
                assert resource is not None
                return resource

            site.client.delete(missing)
            revision = site.mappings.binding.code_system("revision")
            old, foreign = read(older), read(other)
            tags = [tag for tag in old["meta"]["tag"] if tag["system"] != revision]
            site.client.update(old | {"meta": {"tag": [*tags, {"system": revision, "code": "0"}]}})
            site.client.update(foreign | {"note": [{"text": "somebody else's"}]})
            site.client.create({name: value for name, value in read(twice).items() if name != "id"})
        verdict = judge(clinic, server.release)
    assert not verdict.is_good
    assert (*verdict.missing, *verdict.older) == (missing, older)
    assert (*verdict.other, *verdict.twice) == (other, twice)
    # The copy; what was deleted makes room for it in the total.
    assert verdict.surplus == 0


@pytest.mark.sekmet
def test_what_the_hospital_wrote_over_older_data_is_changed_and_left_to_people(tmp_path: Path) -> None:
    """A server that went back to older data gives a version number twice: the hospital's change has the number that
    our correction was acknowledged with. It is told from it, and ``verify --repair`` does not write over it."""
    with serving("sekmet") as server:
        clinic = Clinic(tmp_path, server.base, server.release, 60, 2)
        clinic.register_patients()
        delivery = Delivery(clinic, server, lease=_PLAN.lease)
        everything, clinic.files = clinic.files, clinic.files[:1]
        dice = random.Random(2)  # noqa: S311 - nothing is left to chance
        delivery.run(dice, 0, 0, lambda kill: None)
        server.kill()
        keep_copy(server, tmp_path / "older")
        server.start()
        clinic.files = everything
        delivery.run(dice, 0, 0, lambda kill: None)
        assert judge(clinic, server.release).is_good
        server.kill()
        put_back(server, tmp_path / "older")
        server.start()
        corrected = {address for address, one in clinic.wanted.items() if one.writes > 1}
        theirs, *ours = sorted((one for one in corrected if one.type == "Observation"), key=str)
        assert ours
        with clinic.open() as site:
            resource = site.client.read(theirs)
            assert resource is not None
            assert site.client.update(resource | {"note": [{"text": "the hospital's"}]}).version == "2"
        found = verify(clinic)
        assert found.wrong == {"changed": {theirs}, "older": corrected - {theirs}}
        assert verify(clinic, "--repair").code == 1
        verdict = judge(clinic, server.release)
    assert verdict.older == {theirs}
    assert not verdict.missing | verdict.other | verdict.twice
