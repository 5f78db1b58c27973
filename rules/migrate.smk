rule migrate_run:
    """Store one run as a blob in UconDB, and read it back."""
    input:
        imported=ancient("markers/import/{run}.json"),
    output:
        marker="markers/migrate/{run}.json",
    params:
        command=cycle.command("migrate_runs.py"),
    shell:
        "{params.command:q} {wildcards.run}"
