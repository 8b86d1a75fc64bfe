"""The synthetic clinic: the same every time, valid in every record, and like a clinic."""
