rule report:
    """Print the status of all runs, and write the status page: what is safe, what is missing, what to do."""
    params:
        command=cycle.command("status_report.py"),
    shell:
        "{params.command:q}"
