"""Files, tables, log, threads, processes: knows nothing of brains."""
