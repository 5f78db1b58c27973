rule report:
    """Print the status of all runs, and write the status page: what is safe, what is missing, what to do."""
    params:
        config=cycle.settings.path,
    script:
        "../scripts/status_report.py"
