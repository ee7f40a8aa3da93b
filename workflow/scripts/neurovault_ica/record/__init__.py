"""Record a run: its numbers, methods text, bibliography and software."""
