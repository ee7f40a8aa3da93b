"""An HTTP client. It knows nothing of NeuroVault."""
