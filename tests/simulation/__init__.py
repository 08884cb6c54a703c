"""The real runtime on a virtual clock, between a model broker and a model store, under faults that a seed decides."""
