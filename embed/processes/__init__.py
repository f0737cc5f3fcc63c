"""Several processes on one machine, each with a share of the images and a device of its own, or a part of one."""
