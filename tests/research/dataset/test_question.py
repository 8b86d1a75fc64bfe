"""The example question, answered by the script on a dataset, is the answer that the synthetic clinic knows."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fhirbridge.records import Consent
from fhirbridge.research.deidentify.profile import Profile
from fhirbridge.research.deidentify.records import Deidentifier
from fhirbridge.research.manifest import shown
from fhirbridge.synth import DISSOCIATION_PER_MMHG, Options, truths
from tests.research.dataset.builds import KEY, built
from tests.research.dataset.clinics import clinic_records, resources, write_source

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "question.py"
OPTIONS = Options(16, seed=5, sessions=2, vitals="rems", corrections=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("question")
    return built(write_source(place / "source", resources(OPTIONS, projections=False)), place / "out").folder


@pytest.mark.long
def test_the_answer_is_the_clinics_truth(folder: Path) -> None:
    said = subprocess.run([sys.executable, str(SCRIPT), str(folder)], check=True, capture_output=True, text=True).stdout
    slope = float(said.split()[0])
    assert slope == pytest.approx(slope_of_truth(folder), abs=1e-4)
    # What the clinic was made with, within the noise of few sessions.
    assert slope == pytest.approx(DISSOCIATION_PER_MMHG, abs=0.5)
    withdrawn = {one.patient.identifier.value for one in research() if one.state == "withdrawn"}
    assert withdrawn
    assert f"withdrawn: {shown(len(withdrawn))} patients" in said


def test_the_script_is_short() -> None:
    assert len(SCRIPT.read_text("utf-8").splitlines()) <= 30


def research() -> list[Consent]:
    """The last revision of each research consent of the clinic."""
    found = {one.id: one for one in clinic_records(OPTIONS) if isinstance(one, Consent)}
    return [one for one in found.values() if one.consent_type == "research"]


def slope_of_truth(folder: Path) -> float:
    """The slope within modalities, of the sessions with both numbers recorded, from what the clinic knows."""
    work = Deidentifier(Profile.load("shifted"), KEY)
    included = set(pq.read_table(folder / "patients.parquet").column("patient").to_pylist())
    tables = (("vitals", "systolic", "name", "value"), ("assessments", "cadss", "scale", "score"))
    recorded = [
        {
            row["session"]
            for row in pq.read_table(folder / f"{table}.parquet").to_pylist()
            if row[column] == word and row["timepoint"] == "post_40min" and row[value] is not None
        }
        for table, word, column, value in tables
    ]
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for patient in truths(OPTIONS):
        person = work.person(f"https://clinic.example/sid/patient|{patient.patient}")
        if person.pseudonym not in included:
            continue
        names = work.course(person).names
        for one in patient.sessions:
            if all(names.own("Procedure", one.session) in there for there in recorded):
                groups[one.modality].append((one.systolic_40, one.dissociation_40))
    over = under = 0.0
    for pairs in groups.values():
        x, y = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        over += sum((one - x) * (other - y) for one, other in pairs)
        under += sum((one - x) ** 2 for one, _ in pairs)
    return over / under
