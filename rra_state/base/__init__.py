"""What every other room builds on and what knows nothing of archives: errors, files, locks, log, host limits."""
