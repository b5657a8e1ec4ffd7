"""The seam to BasicSR, below everything else: repairs, option files, errors, processes, seeds, devices."""
