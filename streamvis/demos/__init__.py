"""What the demo commands log."""
