"""What follows a cycle: metrics, and messages about what changed."""
