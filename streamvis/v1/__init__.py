"""Generated from streamvis.proto."""
