"""No file, however damaged, ends in anything but an ImageError."""

import re


def test_mutated_files_are_images_or_image_errors(run_script):
    status, out, _ = run_script('fuzz_photos', '--count', 2000)
    read, refused, failed = map(int, re.search(r'(\d+) read, (\d+) refused, (\d+) failed', out).groups())
    assert (status, failed) == (0, 0), out
    assert read + refused == 2000 and 200 < read < 1800  # the mutations are neither harmless nor all deadly
