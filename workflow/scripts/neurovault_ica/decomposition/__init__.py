"""Whitening, ICA, consensus, stability, loadings."""
