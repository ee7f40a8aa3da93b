"""P values, surrogate maps, smoothness, mixture models, parallel analysis.

- Tests: `permuted_collections`, `random_maps`, `surrogates` (with `autocorrelation` and `lattice`), `p_values`.
- Thresholds of maps: `thresholds`, `mixture`, `smoothness`.
- Number of components: `parallel_analysis`.
"""
