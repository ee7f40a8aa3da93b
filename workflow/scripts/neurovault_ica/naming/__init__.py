"""Find names for the components, and match them with reference networks.

- Sources of names: `sources` lists them, and `evidence` says what each gets and gives. `terms`, `labels` and
  `term_maps` have one source each. `names` decides.
- Reference networks: `references` and `nilearn_atlases` read them, and `networks` matches them. `regions` names places.
- Files of the user: `term_weights`, `term_files`, `name_files`.
"""
