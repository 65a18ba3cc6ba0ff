"""One molecule in all its degrees of freedom; with restraints, and paths between its states."""
