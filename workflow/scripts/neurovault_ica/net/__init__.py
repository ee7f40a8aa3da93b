"""An HTTP client: knows nothing of NeuroVault."""
