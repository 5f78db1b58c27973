rule refresh_run:
    """Archive a record that changed after its run was archived: a new version in both stores."""
    output:
        marker="markers/refresh/{run}-{fingerprint}.json",
    params:
        config=cycle.settings.path,
    script:
        "../scripts/refresh_run.py"
