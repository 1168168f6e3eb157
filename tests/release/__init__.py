"""`make release`: the wheels of a version, tried out where there is nothing else of this project."""
