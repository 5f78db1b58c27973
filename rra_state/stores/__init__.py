"""The two stores, artdaqDB and UconDB: how runs are written, listed and read back there. Neither imports the other."""
