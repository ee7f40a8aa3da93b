"""NIfTI files, resampling, masks, quality, duplicates, the matrix on disk."""
