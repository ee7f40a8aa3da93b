"""Simulate the archive of the demo, and score the results against its known truth."""
