"""The simulated archive, and its score."""
