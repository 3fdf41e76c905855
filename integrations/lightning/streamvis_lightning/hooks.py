"""What this package adds to streamvis; it imports no framework."""
