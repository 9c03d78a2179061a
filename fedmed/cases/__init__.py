"""Patient data at rest: finding, reading, checking and splitting cases. The only room that opens medical files."""
