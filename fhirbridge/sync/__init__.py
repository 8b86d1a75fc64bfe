"""The use cases: push records to a site, pull them back."""

from fhirbridge.sync.outcomes import RecordOutcome, Summary
from fhirbridge.sync.pull import Pulled, pull
from fhirbridge.sync.push import How, push
from fhirbridge.sync.worker import Settings, Worker

__all__ = ["How", "Pulled", "RecordOutcome", "Settings", "Summary", "Worker", "pull", "push"]
