"""The ports of a server of several processes: the parent binds them, its workers serve what comes through them."""
