"""Whitening, ICA, consensus, stability, loadings.

- Whitening: `gram`, or `krylov` for many images.
- Algorithms: `algorithms` lists and runs them, and `interface` says what each takes and returns. `fastica` is one.
- Components: `consensus` of several starts, `components` in their final order and sign, `loadings`.
- Stability: `axes` and `stability` resample the collections, `flags` judges. `orders` compares numbers of components.
"""
