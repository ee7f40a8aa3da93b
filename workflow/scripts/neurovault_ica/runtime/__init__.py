"""Files, tables, log, threads, processes and recovery. Nothing here is about brains."""
