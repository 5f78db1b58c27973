rule refresh_run:
    """Archive a record that changed after its run was archived: a new version in both stores."""
    output:
        marker="markers/refresh/{run}-{fingerprint}.json",
    params:
        command=cycle.command("refresh_run.py"),
    shell:
        "{params.command:q} {wildcards.run} {wildcards.fingerprint}"
