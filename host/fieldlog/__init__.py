"""fieldlog: flash, configure, read out and plot embedded sensor loggers."""
