"""Arrays in, matches in pixels out: this room knows no file, CRS or thread."""
