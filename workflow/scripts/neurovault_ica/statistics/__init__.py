"""P values, surrogate maps, smoothness, mixture models."""
