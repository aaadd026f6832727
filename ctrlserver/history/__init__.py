"""Records of runs in SQLite, kept over restarts; and the result documents of ctrlload in the same way."""
