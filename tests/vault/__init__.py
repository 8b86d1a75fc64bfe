"""Tests of what is sealed at rest."""
