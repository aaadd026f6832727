"""Side by side with peers: `make bench` or `python -m benchmarks`.

Rules: ours and the peer are measured in turn, in one run, on one machine, by one load; counts are checked before a
speed is printed; a speed never fails the run, a count that differs always does; a peer that is missing is named.

`bench.py` is the command line, `rows.py` the pairs, `tools.py` those with programs that people know, `figures.py` what
has no peer, `decode.py` and `reading.py` the pairs in this process, `pairs.py` the measuring and its arithmetic,
`programs.py` the processes. `peers/` holds the programs we compare with, `scripts2013/` the pair of scripts that this
project began with, written anew.
"""
