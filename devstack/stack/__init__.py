"""The stack without a container engine: the real servers as native processes in a private folder."""
