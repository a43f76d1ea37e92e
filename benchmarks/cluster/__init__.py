"""`make bench-cluster`: the cluster profile against the plain design and against PostgreSQL, on real engines."""
