"""Whose data a thread is at work on, for whoever writes down what it asks a site."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PATIENT: ContextVar[str] = ContextVar("patient", default="")


@contextmanager
def concerning(patient: str) -> Iterator[None]:
    """For the time of the block, what this thread asks is about the patient with this key (that of the lanes)."""
    token = _PATIENT.set(patient)
    try:
        yield
    finally:
        _PATIENT.reset(token)


def patient_of_thread() -> str:
    """The key of that patient; empty where none is known."""
    return _PATIENT.get()
