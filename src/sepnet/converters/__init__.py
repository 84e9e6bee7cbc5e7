"""A packed file as a torch program, given to other people's converters.  It needs torch and theirs."""
