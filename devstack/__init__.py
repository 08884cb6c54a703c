"""For development and trying out: the servers as native processes, and the demo. No image has it."""
