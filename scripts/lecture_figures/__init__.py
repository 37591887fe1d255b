"""The figures of the lectures, a module per deck; each module lists its figures in `FIGURES`."""
