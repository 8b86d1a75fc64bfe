"""The use cases: push records to a site, pull them back."""

from fhirbridge.sync.outcomes import RecordOutcome, Summary
from fhirbridge.sync.pull import Pulled, pull
from fhirbridge.sync.push import push

__all__ = ["Pulled", "RecordOutcome", "Summary", "pull", "push"]
