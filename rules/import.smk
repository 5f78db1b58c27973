rule import_run:
    """Archive one run record in artdaqDB."""
    output:
        marker="markers/import/{run}.json",
    params:
        command=cycle.command("import_runs.py"),
    shell:
        "{params.command:q} {wildcards.run}"
