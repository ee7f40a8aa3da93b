"""An HTTP client that does not depend on NeuroVault."""
