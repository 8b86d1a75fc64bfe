"""Trails, and events of every sort in them, for the tests of this folder."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from fhirbridge.audit import PURGE, REKEY, Denied, How, Leaving, concerning, files, line
from fhirbridge.audit.auditor import Audit
from fhirbridge.audit.checkpoint import Checkpoints
from fhirbridge.audit.interaction import Masks
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.shape import Shape
from fhirbridge.audit.trail import Trail
from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.client.witness import Request
from fhirbridge.fhir.bundle import Address

CLINIC = "clinic.example"
SECRET, ID_KEY = b"a secret of the tests, for the trail", b"a key for tests, the same in every run"
KEYS = Keys([SECRET, ID_KEY], ID_KEY, CLINIC)
BASE = "https://hospital.example/fhir"
MRN = "MRN-7654321"
LANE = "0123456789abcdef0123456789abcdef"
OURS = "f" + "0123456789abcdef" * 2


def trail_in(
    folder: Path, *, clock: Callable[[], float] = time.time, checkpoints: Path | None = None, every: int = 1_000
) -> Trail:
    """A trail of these tests' clinic."""
    kept = None if checkpoints is None else Checkpoints(checkpoints, KEYS, CLINIC, every)
    return Trail(folder, KEYS, CLINIC, clock=clock, checkpoints=kept)


def audit_in(folder: Path, release: Release = Release.R4) -> Audit:
    """What writes into a trail what happens at a hospital."""
    binding = Binding(Clinic(CLINIC, ID_KEY), release)
    return Audit(trail_in(folder), Shape(binding, "hospital", BASE), Masks(BASE, KEYS), time.time)


def everything(audit: Audit) -> None:
    """One event of every sort, those that have an end ended well."""
    plain = [
        Request("GET", "metadata"),
        Request("GET", f"Patient/{MRN}"),
        Request("GET", f"Observation/{OURS}/_history/2"),
        Request("GET", "Observation?_count=100"),
        Request("POST", "Patient/_search", f"identifier=https%3A%2F%2Fx.example%7C{MRN}&_count=5".encode()),
        Request("POST", "Basic", b"{}"),
        Request("PUT", f"Basic/{MRN}", b"{}"),
        Request("DELETE", f"Basic/{OURS}"),
        Request("POST", BASE, b"{}", [("GET", f"Observation/{OURS}"), ("GET", f"Procedure/{MRN}")]),
        Request("POST", "Observation/$validate", b"{}"),
    ]
    for patient in ("", LANE):
        with concerning(patient):
            for one in plain:
                audit.asks(one).ended(200)
    ways: tuple[How, ...] = ("transaction", "batch", "create", "update", "delete")
    for how in ways:
        for new in (True, False):
            places = [("Observation", OURS)] * (2 if how in ("transaction", "batch") else 1)
            audit.sends(Leaving(uuid.uuid4().hex, how, new, LANE, places)).settled("200", [])
    seen = [Address("Observation", OURS), Address("Observation", MRN)]
    audit.denies([Denied(LANE, "share", "no-consent", 0, [], seen)])
    audit.denies([Denied(LANE, "research", "withdrawn", 3, [Address("Consent", OURS)], seen)])
    audit.hands_out([(LANE, seen), ("", seen)])
    audit.record(PURGE, patient=LANE, details=[("bodies", "17")])
    audit.record(REKEY, details=[("blobs", "1000")])
    audit.close()


def event_text(rng: random.Random) -> bytes:
    """The text of an event; what it says does not matter to the trail."""
    return b'{"resourceType":"AuditEvent","id":"%b"}' % uuid.UUID(int=rng.getrandbits(128)).hex.encode()


def killed(trail: Trail, rng: random.Random) -> None:
    """What SIGKILL leaves: no closing line, and perhaps a line that breaks off anywhere."""
    file, trail._file = trail._file, None
    if file is None:
        return
    if rng.random() < 0.5:
        raw, _ = line.write(file.n + 1, file.mac, "event", event_text(rng), KEYS)
        files.write_all(file.descriptor, raw[: rng.randrange(len(raw))])
    os.close(file.descriptor)


def lived(folder: Path, rng: random.Random, writers: int, steps: int) -> list[Trail]:
    """A folder in which so many writers have written, ended, begun again and been killed; those that still live."""
    trails = [trail_in(folder) for _ in range(writers)]
    for _ in range(steps):
        trail, chance = rng.choice(trails), rng.random()
        if chance < 0.7:
            trail.append("event", event_text(rng))
        elif chance < 0.8:
            trail.append("outcome", b'{"of":"x"}', durable=True)
        elif chance < 0.9:
            trail.close()
        else:
            killed(trail, rng)
    return trails
