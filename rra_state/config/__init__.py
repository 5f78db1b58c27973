"""How a YAML file becomes checked settings."""
