"""Benchmarks: fieldlog beside other clients and libraries, on the same device, bytes and machine, in one run.

Rule of this package: it prints figures and ratios and judges nothing; what a figure must be is said elsewhere. Whatever
is compared is measured within seconds of each other. Every transfer is compared byte by byte before it counts.

    data        the two data sets of the figures, and their blocks
    simulator   the simulated device as a process of its own, and the processor time it takes
    links       the lines that are measured, and how much could pass over them
    stopwatch   what one operation took
    clients     fieldlog's own operations; peers: those of other clients and libraries, the only module that knows them
    goodput     every client over every line; day: a day of readings as a logger has them
    codec, archive, steps, startup: what needs no device
    table       tables in Markdown
"""
