"""Render the report page of a run."""
