"""Where images, metadata and term weights come from, and which images are selected.

- Archives: `archive` lists them, and `base` defines their interface. `demo`, `neurovault`, `offline` and `own_table`
  define one archive each.
- NeuroVault: `server` and `server_records` read metadata from the server. `downloads` fills the cache; `cache` and
  `cached_archive` read it. `cache_lock` lets several runs share it.
- The user's own tables: `table_text` reads the lines, `cells` and `field_types` give the cells their types. `own_maps`
  lists the maps to project on components.
- Terms: `neurosynth` requests term weights, `term_answers` reads them. `database_files` and `neurosynth_database`
  find and download a database of coordinates.
- Selection: `filters` and `conditions` make the criteria. `fields` and `seen_values` explain criteria that no record
  can meet. `selection` applies the criteria, and `steps` counts what they drop. `selected_tables` runs the selection,
  and `metadata_tables` writes it.
- Results of a run: `image_status`, `download_reasons`, `lock`. `owner` remembers which archive they come from.
- Updates: `looking_again` looks for new images, and `notices` says when that was last done.
- Disk space: `disk_space` and `download_size` say what a run needs.
"""
