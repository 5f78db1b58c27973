rule import_run:
    """Archive one run record in artdaqDB."""
    output:
        marker="markers/import/{run}.json",
    params:
        config=cycle.settings.path,
    script:
        "../scripts/import_runs.py"
