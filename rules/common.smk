# For all rules. A run is a plain decimal number; the local rules only gather or report and start no worker.
#
# `snakemake --lint` finds two things in each rule. Both are intended:
# - No log directive: the archiver writes one log (app.log_file). A log file per run would double the files of the tree.
# - No conda environment: the rules run the interpreter that runs Snakemake; requirements.lock pins what it needs.


wildcard_constraints:
    run="[1-9][0-9]*",
    fingerprint="(?:[0-9a-f]{8})+",


localrules:
    all,
    import_all,
    migrate_all,
    report,
