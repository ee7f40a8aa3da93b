"""Whitening, ICA, consensus, stability, loadings.

- Whitening: `gram`, or `krylov` for many images.
- Algorithms: `algorithms` lists and runs `fastica` and `picard`; `interface` defines what each takes and returns.
- Components: `consensus` combines several starts, `components` fixes order and sign, `loadings` ranks images.
- Stability: `axes` and `stability` resample the collections, `flags` marks unstable components.
- Summary: `summary` describes a decomposition in numbers, and warns if it is weak.
- Number of components: `orders` compares several numbers.
"""
