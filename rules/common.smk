# What the rules share. A run is a plain decimal number; these rules only gather or report and start no worker.


wildcard_constraints:
    run="[1-9][0-9]*",
    fingerprint="(?:[0-9a-f]{8})+",


localrules:
    all,
    import_all,
    migrate_all,
    report,
