"""Files other programs open: OBJ, PLY, GLB, and a page to look at."""
