"""Writes the ISO of a folder with pycdlib: Rock Ridge and Joliet names, as the other rows.

usage: pycdlib_iso.py OUTPUT FOLDER
"""

import os
import sys

import pycdlib

output, folder = sys.argv[1:]
iso = pycdlib.PyCdlib()
iso.new(interchange_level=3, rock_ridge="1.12", joliet=3)
for number, (place, folders, files) in enumerate(sorted(os.walk(folder))):
    within = os.path.relpath(place, folder)
    plain = "" if within == "." else "/" + within.upper()
    joliet = "" if within == "." else "/" + within
    if plain:
        iso.add_directory(plain, rr_name=os.path.basename(within), joliet_path=joliet)
    for name in sorted(files):
        iso.add_file(
            os.path.join(place, name),
            f"{plain}/{name.upper()}.;1",
            rr_name=name,
            joliet_path=f"{joliet}/{name}",
        )
iso.write(output)
iso.close()
