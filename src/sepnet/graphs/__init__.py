"""What a graph says: questions that several floors ask of it, each answered in one place."""
