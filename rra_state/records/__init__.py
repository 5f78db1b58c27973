"""Run records: read, convert, pack. Knows no store."""
