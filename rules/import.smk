rule import_run:
    """Archive one run record in artdaqDB."""
    output:
        marker="markers/import/{run}.json",
    params:
        config=run.settings.path,
    script:
        "../scripts/import_runs.py"
