# What the other rules share: names of markers, target rules.

wildcard_constraints:
    run="[1-9][0-9]*",


localrules:
    all,
    import_all,
    migrate_all,
    report,


rule all:
    """Bring every planned run as far as it is planned to go."""
    default_target: True
    input:
        run.window.targets(),


rule import_all:
    """Bring every planned run into artdaqDB."""
    input:
        run.window.targets("import"),


rule migrate_all:
    """Bring every planned run into UconDB, importing it first where needed."""
    input:
        run.window.targets("migrate"),
