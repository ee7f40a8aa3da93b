"""Where images, metadata and term weights come from, and which images are selected.

- Archives: `archive` lists them, and `base` says what each of them offers. `demo`, `neurovault`, `offline` and
  `own_table` have one archive each.
- NeuroVault: `server` and `server_records` ask the server. `downloads` fills the cache, `cache` and `cached_archive`
  read it. `neurosynth` and `term_answers` are about term weights.
- Selection: `filters` and `conditions` make the criteria, `fields` checks their names, `selection` applies them.
  `steps` counts what they drop, and `metadata_tables` writes the result.
- What a run found: `image_status`, `download_reasons`, `lock`.
"""
