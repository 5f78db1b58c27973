"""Run records: read them, judge them, convert them to FHiCL, pack them as a blob. Nothing here accesses a store."""
