"""Record a run: facts, methods text, bibliography, software."""
